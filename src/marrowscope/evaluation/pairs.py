"""What is true of a field beside what the model claims about it: the only thing the scales weigh.

A run's pairs are saved once, in one file, so that every table and figure can be made again without the model. The file
is a NumPy archive (`.npz`): boxes and scores come back bit for bit, and it is read without unpickling anything.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput, BadTaxonomy

FORMAT = "marrowscope pairs 1"


@dataclass(frozen=True, eq=False)
class EvaluatedField:
    """One field: its name (as a person finds it again), the labelled cells, the detections; both of one taxonomy."""

    name: str
    truth: GroundTruth
    detections: Detections

    def __post_init__(self) -> None:
        ours, theirs = self.truth.taxonomy, self.detections.taxonomy
        if ours is not theirs and ours != theirs:
            raise BadTaxonomy(
                f"field '{self.name}': truth is of scheme '{ours.name}' ({len(ours)} classes), detections of "
                f"'{theirs.name}' ({len(theirs)} classes). Map one to the other first."
            )

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes that both sides speak of."""
        return self.truth.taxonomy


def common_taxonomy(pairs: Sequence[EvaluatedField]) -> Taxonomy:
    """The one taxonomy of all fields. BadInput without any field, BadTaxonomy where two differ."""
    if not pairs:
        raise BadInput("nothing to evaluate: no field was given. Check the split's name and the folder.")
    first = pairs[0].taxonomy
    for pair in pairs:
        if pair.taxonomy is not first and pair.taxonomy != first:
            raise BadTaxonomy(
                f"field '{pair.name}' is of scheme '{pair.taxonomy.name}', '{pairs[0].name}' of '{first.name}'. "
                "Evaluate fields of one scheme at a time."
            )
    return first


def save_pairs(path: Path, pairs: Sequence[EvaluatedField]) -> None:
    """Write all fields to one `.npz` file, aside and renamed. All must share a taxonomy."""
    taxonomy = common_taxonomy(pairs)
    truths, claims = [p.truth for p in pairs], [p.detections for p in pairs]
    head = {"format": FORMAT, "names": [p.name for p in pairs], "taxonomy": taxonomy.to_dict()}
    with replacing(Path(path)) as aside, aside.open("wb") as file:
        np.savez_compressed(
            file,
            head=np.asarray(json.dumps(head, ensure_ascii=False)),
            truth_count=np.asarray([len(t) for t in truths], np.int64),
            truth_boxes=np.concatenate([t.boxes for t in truths]),
            truth_labels=np.concatenate([t.labels for t in truths]),
            truth_difficult=np.concatenate([np.asarray(t.difficult) for t in truths]),
            detection_count=np.asarray([len(d) for d in claims], np.int64),
            detection_boxes=np.concatenate([d.boxes for d in claims]),
            detection_labels=np.concatenate([d.labels for d in claims]),
            detection_scores=np.concatenate([d.scores for d in claims]),
        )


def load_pairs(path: Path) -> tuple[EvaluatedField, ...]:
    """Read what `save_pairs` wrote. BadInput for a file that is missing, cut short, or something else."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            stored: dict[str, Any] = {key: archive[key] for key in archive.files}
        head = json.loads(str(stored["head"]))
        if head["format"] != FORMAT:
            raise ValueError(f"format is '{head['format']}', not '{FORMAT}'")
        taxonomy = Taxonomy.from_dict(head["taxonomy"], where=str(path))
        truth_ends = np.cumsum(stored["truth_count"])[:-1]
        detection_ends = np.cumsum(stored["detection_count"])[:-1]
        truths = [
            GroundTruth(boxes, labels, taxonomy, difficult)
            for boxes, labels, difficult in zip(
                *(np.split(stored[f"truth_{key}"], truth_ends) for key in ("boxes", "labels", "difficult")), strict=True
            )
        ]
        claims = [
            Detections(boxes, labels, scores, taxonomy)
            for boxes, labels, scores in zip(
                *(np.split(stored[f"detection_{key}"], detection_ends) for key in ("boxes", "labels", "scores")),
                strict=True,
            )
        ]
        return tuple(EvaluatedField(*row) for row in zip(head["names"], truths, claims, strict=True))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file. Evaluate a checkpoint first; it saves its pairs.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as e:
        raise BadInput(f"{path}: not a file of evaluated fields ({e}). Evaluate again to write a new one.") from None
