"""Detections on disk as `detections.json`, the format that others script against.

    {"marrowscope": "0.1.0", "checkpoint": ..., "score_threshold": 0.5, "taxonomy": {...}, "differential": {...},
     "fields": [
      {"path": "a/1.jpg", "name": "1", "width": 4000, "height": 3000, "detections": [
       {"class": "myeloblast", "lineage": "granulocytic", "score": 0.9, "box": [x1, y1, x2, y2]}, ...]}, ...],
     "unreadable": [{"path": "a/2.jpg", "reason": "..."}]}

Boxes are 0-based pixel edges of the original image. Numbers are written so that they read back as the same float32:
a table made from the file is the table made from the model. One field stands on one line.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.cells.detections import Detections
from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.detect.sources import Unreadable
from marrowscope.errors import BadInput, BadTaxonomy


@dataclass(frozen=True, eq=False)
class DetectedField:
    """What was found in one field. `name` is unique within a run and names the field's files; size in pixels."""

    path: Path
    name: str
    width: int
    height: int
    detections: Detections


@dataclass(frozen=True, eq=False)
class SavedDetections:
    """A whole run: every field with its detections, what could not be read, and what else the run says of itself."""

    taxonomy: Taxonomy
    fields: tuple[DetectedField, ...]
    unreadable: tuple[Unreadable, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


def field_record(found: DetectedField) -> dict[str, Any]:
    """One field as the plain values of the file."""
    claims = found.detections
    # A float32 printed at its own shortest length reads back exactly, and 0.9 stays 0.9.
    scores = claims.scores.astype("U")
    boxes = claims.boxes.astype("U")
    cells = [
        {
            "class": (cell := claims.taxonomy[int(label)]).name,
            "lineage": str(cell.lineage),
            "score": float(score),
            "box": [float(edge) for edge in box],
        }
        for label, score, box in zip(claims.labels, scores, boxes, strict=True)
    ]
    return {
        "path": str(found.path),
        "name": found.name,
        "width": found.width,
        "height": found.height,
        "detections": cells,
    }


def write_detections(path: Path, saved: SavedDetections) -> None:
    """Write the file, field by field: the text of a thousand fields is never in memory at once."""
    head = {"marrowscope": __version__, **saved.about, "taxonomy": saved.taxonomy.to_dict()}
    lost = [{"path": str(u.path), "reason": u.reason} for u in saved.unreadable]
    with replacing(path) as aside, aside.open("w", encoding="utf-8") as out:
        out.write(as_json(head)[:-1] + ',\n"fields": [')
        for n, found in enumerate(saved.fields):
            out.write((",\n" if n else "\n") + as_json(field_record(found)))
        out.write(f'\n],\n"unreadable": {as_json(lost)}}}\n')


def as_json(value: Any) -> str:
    """JSON on one line. File names that are no UTF-8 are written as escapes, which read back to the same name."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if printable(text) == text else json.dumps(value, allow_nan=False)


def printable(text: str | Path) -> str:
    """The text with what no encoding can hold spelled out: bytes of a file name from an older system."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def read_detections(path: Path) -> SavedDetections:
    """Read a `detections.json`, ours or one that has only the required keys.

    Without a taxonomy in the file its classes are those that occur, in alphabetical order. BadInput names the field
    and the detection that cannot be used.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file. Give a detections.json as `detect` writes it.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: not readable as JSON: {error}.") from None
    if not isinstance(values, dict) or not isinstance(values.get("fields"), list):
        raise BadInput(f"{path}: has no list `fields`. Give a detections.json as `detect` writes it.")
    if "taxonomy" in values:
        taxonomy = Taxonomy.from_dict(values["taxonomy"], where=f"{path}, taxonomy")
    else:
        taxonomy = Taxonomy.from_labels(_class_names(values["fields"]) or ["cell"])
    fields = tuple(_read_field(f, taxonomy, f"{path}, field {n}") for n, f in enumerate(values["fields"], 1))
    lost = tuple(Unreadable(Path(u["path"]), str(u["reason"])) for u in values.get("unreadable", ()))
    about = {k: v for k, v in values.items() if k not in ("marrowscope", "taxonomy", "fields", "unreadable")}
    return SavedDetections(taxonomy, fields, lost, about)


def _class_names(records: Sequence[Any]) -> list[str]:
    """Every class that occurs; records that are wrong are named later, when they are read."""
    cells: Iterable[Any] = (c for r in records if isinstance(r, dict) for c in r.get("detections", ()))
    return sorted({str(c["class"]) for c in cells if isinstance(c, dict) and "class" in c})


def _read_field(record: Any, taxonomy: Taxonomy, where: str) -> DetectedField:
    try:
        path = Path(record["path"])
        where = f"{where} ({path.name})"
        cells = record["detections"]
        labels = np.asarray([taxonomy.index(c["class"]) for c in cells], np.int64)
        scores = np.asarray([c["score"] for c in cells], np.float32)
        boxes = np.asarray([c["box"] for c in cells], np.float32).reshape(-1, 4)
        found = Detections(boxes, labels, scores, taxonomy)
        return DetectedField(path, record.get("name", path.stem), int(record["width"]), int(record["height"]), found)
    except KeyError as error:
        raise BadInput(f"{where}: {error} is missing. A field has path, width, height and detections.") from None
    except BadTaxonomy as error:
        raise BadInput(f"{where}: {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{where}: {error}. A detection has class, score 0..1 and box [x1, y1, x2, y2].") from None
