"""What the file of a model says of itself in its header; torch is not asked for that, nor are the weights read."""

import json
from pathlib import Path
from typing import Any

from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.cells.specimen import ModelVersion
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadCheckpoint
from marrowscope.station.drift import Training

WEIGHTS = "model.safetensors"


def header_of(path: Path) -> dict[str, Any]:
    """The header of a checkpoint (its folder or its file), as plain values. BadCheckpoint where it cannot be read."""
    file = path / WEIGHTS if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            # What is no checkpoint may state any length.
            header = opened.read(min(int.from_bytes(opened.read(8), "little"), file.stat().st_size))
        said: dict[str, Any] = json.loads(json.loads(header)["__metadata__"]["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from None
    return said


def classes_of(model: ModelVersion) -> Taxonomy:
    """The classes of a model. BadCheckpoint where they cannot be read."""
    said = header_of(Path(model.path))
    try:
        return Taxonomy.from_dict(said["taxonomy"], where=model.path)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(Path(model.path), error) from None


def training_of(model: ModelVersion) -> Training | None:
    """What a model was trained on, as far as drift asks; None where it does not know. BadCheckpoint as above."""
    said = header_of(Path(model.path))
    if said.get("fields_seen") is None:
        return None
    try:
        seen = FieldsSeen.from_dict(said["fields_seen"])
        return Training(classes_of(model), float(said["score_threshold"]), seen)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(Path(model.path), error) from None


def _unreadable(file: Path, error: Exception) -> BadCheckpoint:
    return BadCheckpoint(f"{file}: what it says of itself cannot be read ({error}). Fetch the model anew.")
