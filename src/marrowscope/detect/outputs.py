"""Detections for other programs: CSV, Pascal VOC, COCO, YOLO, QuPath. `saved` writes our own JSON.

    detections.csv           one row a cell
    voc/NAME.xml             one file a field, 1-based inclusive pixels (`data.voc`)
    coco/dataset.json        images, categories and the detections as annotations, for labelling tools
    coco/results.json        the plain result list that COCO evaluation reads
    yolo/NAME.txt            class, centre x, centre y, width, height as shares of the field, confidence
    yolo/classes.txt         class names, one a line, in the order of the class numbers
    geojson/NAME.geojson     QuPath objects

Formats of one file a field are written as each field is done; the others at the end.
"""

import csv
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.cells.detections import Detections
from marrowscope.cells.files import replacing, write_atomically
from marrowscope.cells.taxonomy import CellClass, Taxonomy
from marrowscope.data.voc_xml import annotation_xml, from_edges
from marrowscope.detect.palette import LINEAGE_COLOURS
from marrowscope.detect.saved import DetectedField, as_json, printable
from marrowscope.errors import BadInput

# Ids of QuPath objects are derived from it, so that the same cell keeps its id when a run is repeated.
_NAMESPACE = uuid.UUID("6f0e0a52-6d55-5b0c-9a39-6f8f0f0c1b7e")


class Format(StrEnum):
    """What can be written beside `detections.json`."""

    CSV = "csv"
    VOC = "voc"
    COCO = "coco"
    YOLO = "yolo"
    GEOJSON = "geojson"


def write_field(found: DetectedField, folder: Path, formats: Iterable[Format]) -> None:
    """Write what has one file a field."""
    for kind in formats:
        if kind is Format.VOC:
            write_atomically(folder / "voc" / f"{found.name}.xml", voc_xml(found))
        elif kind is Format.YOLO:
            write_atomically(folder / "yolo" / f"{found.name}.txt", yolo_text(found))
        elif kind is Format.GEOJSON:
            write_atomically(folder / "geojson" / f"{found.name}.geojson", as_json(qupath_geojson(found)) + "\n")


def write_run(fields: Sequence[DetectedField], taxonomy: Taxonomy, folder: Path, formats: Iterable[Format]) -> None:
    """Write what has one file for the whole run."""
    for kind in formats:
        if kind is Format.CSV:
            with replacing(folder / "detections.csv") as aside, aside.open("w", encoding="utf-8", newline="") as out:
                csv.writer(out).writerows(csv_rows(fields))
        elif kind is Format.COCO:
            write_atomically(folder / "coco" / "dataset.json", as_json(coco_dataset(fields, taxonomy)) + "\n")
            write_atomically(folder / "coco" / "results.json", as_json(list(coco_results(fields))) + "\n")
        elif kind is Format.YOLO:
            write_atomically(folder / "yolo" / "classes.txt", "".join(f"{name}\n" for name in taxonomy.names))


def voc_xml(found: DetectedField) -> str:
    """The field as a VOC annotation, to be corrected in a labelling tool. VOC has no place for scores.

    Boxes are rounded to whole pixels; one of less than two pixels, which VOC cannot hold, is left out.
    """
    claims = found.detections
    pixels = np.asarray([from_edges(*box) for box in claims.boxes.tolist()], np.int64).reshape(-1, 4)
    held = (pixels[:, 0] < pixels[:, 2]) & (pixels[:, 1] < pixels[:, 3])
    names = [claims.taxonomy[int(label)].name for label in claims.labels[held]]
    # XML holds no control characters, not even escaped ones; file names may.
    image = "".join(c if c.isprintable() else "_" for c in printable(found.path.name))
    return annotation_xml(image, found.width, found.height, claims.boxes[held], names)


def csv_rows(fields: Iterable[DetectedField]) -> Iterator[list[str]]:
    """Heading, then one row a cell."""
    yield ["path", "name", "class", "code", "lineage", "score", "x1", "y1", "x2", "y2"]
    for found in fields:
        claims = found.detections
        numbers = np.concatenate((claims.scores[:, None], claims.boxes), axis=1).astype("U")
        for label, row in zip(claims.labels, numbers, strict=True):
            cell = claims.taxonomy[int(label)]
            yield [
                printable(found.path),
                printable(found.name),
                cell.name,
                cell.code,
                str(cell.lineage),
                *(str(x) for x in row),
            ]


def coco_results(fields: Iterable[DetectedField]) -> Iterator[dict[str, Any]]:
    """The result list; images and categories are numbered from 1 in the order of run and taxonomy."""
    for image, found in enumerate(fields, 1):
        claims = found.detections
        corners = claims.boxes.astype(float)
        for label, score, (x1, y1, x2, y2) in zip(claims.labels, claims.scores, corners.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            yield {"image_id": image, "category_id": int(label) + 1, "bbox": box, "score": float(score)}


def coco_dataset(fields: Sequence[DetectedField], taxonomy: Taxonomy) -> dict[str, Any]:
    """A COCO data set whose annotations are the detections: what a labelling tool imports to be corrected."""
    claims = coco_results(fields)
    return {
        "info": {"description": "marrowscope detections"},
        "images": [
            {"id": n, "file_name": printable(f.path), "width": f.width, "height": f.height}
            for n, f in enumerate(fields, 1)
        ],
        "categories": [{"id": n, "name": c.name, "supercategory": str(c.lineage)} for n, c in enumerate(taxonomy, 1)],
        "annotations": [
            {"id": n, **c, "area": c["bbox"][2] * c["bbox"][3], "iscrowd": 0} for n, c in enumerate(claims, 1)
        ],
    }


def yolo_text(found: DetectedField) -> str:
    """One line a cell: class number, centre x, centre y, width, height (shares of the field), confidence."""
    claims = found.detections
    x1, y1, x2, y2 = claims.boxes.astype(float).T
    shares = np.stack(
        ((x1 + x2) / 2 / found.width, (y1 + y2) / 2 / found.height, (x2 - x1) / found.width, (y2 - y1) / found.height),
        axis=1,
    )
    return "".join(
        f"{label} {x:.8f} {y:.8f} {w:.8f} {h:.8f} {score:.6f}\n"
        for label, (x, y, w, h), score in zip(claims.labels, shares, claims.scores, strict=True)
    )


def qupath_geojson(found: DetectedField) -> dict[str, Any]:
    """The field as a GeoJSON FeatureCollection of QuPath detections (QuPath 0.4 and later).

    Each has an `id`, `objectType`, `classification` with its colour, and `measurements` as a plain map. Coordinates
    are pixels of the full image from its top left corner, as in QuPath.
    """
    claims = found.detections
    features = []
    seen: Counter[str] = Counter()
    for label, score, box in zip(claims.labels, claims.scores, claims.boxes.tolist(), strict=True):
        cell = claims.taxonomy[int(label)]
        what = printable(f"{found.name} {cell.code} {box}")
        seen[what] += 1
        features.append(qupath_feature(f"{what} {seen[what]}", cell, float(score), box))
    return {"type": "FeatureCollection", "features": features}


def qupath_feature(identity: str, cell: CellClass, score: float, box: Sequence[float]) -> dict[str, Any]:
    """One cell as a QuPath detection. identity: what its `id` is derived from, unique in the file."""
    x1, y1, x2, y2 = box
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": {"type": "Polygon", "coordinates": [[[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": cell.name, "color": list(LINEAGE_COLOURS[cell.lineage])},
            "measurements": {"score": score},
        },
    }


def read_qupath_geojson(values: Any, taxonomy: Taxonomy, where: str = "GeoJSON") -> Detections:
    """Detections from QuPath objects, ours or QuPath's own: of any outline the bounding box, score 1 if not measured.

    Objects without a class are not cells and are passed over; BadInput names an object that cannot be used.
    """
    boxes, labels, scores = [], [], []
    # QuPath writes a FeatureCollection, a list of Features, or for one object the Feature alone.
    features = values.get("features", [values]) if isinstance(values, dict) else values
    for n, feature in enumerate(features, 1):
        try:
            properties = feature["properties"]
            classification = properties.get("classification")
            if not classification:
                continue
            corners = np.asarray(feature["geometry"]["coordinates"][0], float)
            boxes.append([*corners.min(axis=0), *corners.max(axis=0)])
            labels.append(taxonomy.index(classification["name"]))
            scores.append(properties.get("measurements", {}).get("score", 1.0))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadInput(f"{where}, object {n}: {error!r}. Give polygons with a classification.") from None
    return Detections(
        np.asarray(boxes, np.float32), np.asarray(labels, np.int64), np.asarray(scores, np.float32), taxonomy
    )
