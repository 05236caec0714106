"""A class is taught at the station: made in a process of its own, as the station itself has no torch in its memory."""

import hashlib
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

from marrowscope.assemble.detectors import open_detector
from marrowscope.cells.files import replacing
from marrowscope.data.voc import read_voc
from marrowscope.errors import BadInput
from marrowscope.station.promotion import Contestant, compare
from marrowscope.station.retraining import FIXED
from marrowscope.station.teaching import Learned, Lesson


def learn(lesson: Lesson, *, models: Path, runtime: str) -> Learned:
    """Make the candidate below `models`. What the parts raise (BadCheckpoint for a model without a reader)."""
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as apart:
            return apart.submit(_learn, lesson, models, runtime).result()
    except BrokenProcessPool:
        raise BadInput("the process that learns ended early; there may be too little memory. Try again.") from None


def _learn(lesson: Lesson, models: Path, runtime: str) -> Learned:
    from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
    from marrowscope.training.few_shot import Eye, add_class, is_named, known_cells, see_fields

    start = load_checkpoint(lesson.model.path)
    eye = Eye(start)
    is_new = is_named(lesson.cell.name)
    seen = see_fields(eye, lesson.fields, well=is_new, on_field=lambda: None)
    others = seen.named(lambda name: not is_new(name))
    memory = start.known or known_cells(seen, start.taxonomy)
    made, told = add_class(start, eye, lesson.cell, seen.named(is_new), memory, others)
    # The address of a model is its digest, which is known once it is written.
    with TemporaryDirectory(dir=models) as aside:
        save_checkpoint(Path(aside), made)
        digest = hashlib.sha256((Path(aside) / WEIGHTS).read_bytes()).hexdigest()
        place = models / digest[:12]
        with replacing(place / WEIGHTS) as target:
            shutil.copyfile(Path(aside) / WEIGHTS, target)
    return Learned(place, digest, told.to_dict() | _beside(lesson, place, runtime))


def _beside(lesson: Lesson, candidate: Path, runtime: str) -> dict[str, object]:
    """What `compare` says of the candidate beside the model in service, where there are fields to compare on."""
    if lesson.fixed is None:
        return {"verdict": "not compared: no field of a held-out patient is reviewed throughout"}
    fixed = read_voc(lesson.fixed, split=FIXED).fields

    def contestant(name: str, path: str | Path) -> Contestant:
        opened = open_detector(path, device="cpu", runtime=runtime)
        return Contestant(name, opened.detector, opened.score_threshold)

    serving = contestant(lesson.model.name, lesson.model.path)
    comparison = compare(serving, contestant(lesson.cell.name, candidate), fixed, lesson.scheme)
    return {"verdict": comparison.verdict.value, "reasons": "; ".join(comparison.reasons), "fixed_fields": len(fixed)}
