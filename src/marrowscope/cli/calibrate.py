"""`marrowscope calibrate`: a checkpoint whose scores are probabilities on the fields of this laboratory."""

from pathlib import Path
from typing import Annotated

import typer

from marrowscope.cli.terminal import Device, Quiet, SkipBad, Terminal, Threads, make_folder


def calibrate(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder (RUN/best), or a shipped model by name.")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled fields that it was not trained on.")],
    out: Annotated[Path, typer.Option(help="Folder to write the calibrated checkpoint to.")],
    split: Annotated[str, typer.Option(help="Which list of the folder; `all` takes every field.")] = "val",
    device: Device = "auto",
    threads: Threads = 0,
    skip_bad: SkipBad = True,
    quiet: Quiet = False,
) -> None:
    """Fit scores to the truth of labelled fields: class by class, so that of detections scored .8, 80 % are right.

    The threshold is chosen anew, and the confusion of the classes is kept, by which `detect` corrects differentials.
    So is what these fields look like, by which `drift` and `detect` notice others.
    Training does the same by itself; this is for other fields, or for a checkpoint of an older version.

    \b
    Examples:
      marrowscope calibrate runs/first/best my_fields --out runs/first/calibrated
      marrowscope calibrate received_model our_fields --split all --out our_model
    """  # noqa: D301 (\b keeps the lines)
    from dataclasses import replace

    from marrowscope.assemble.detectors import open_detector, use_threads
    from marrowscope.cli.evaluate import detect_split
    from marrowscope.detect.field_detector import FieldDetector
    from marrowscope.detect.watched import Watched
    from marrowscope.errors import BadInput
    from marrowscope.evaluation.calibration import apply_calibration
    from marrowscope.evaluation.matching import pool_fields
    from marrowscope.evaluation.reliability import calibration_error, judge
    from marrowscope.model.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
    from marrowscope.training.calibrating import calibrated

    terminal = Terminal(quiet)
    use_threads(threads)
    opened = open_detector(checkpoint, device=device)
    if not isinstance(opened.detector, FieldDetector):
        raise BadInput(f"{checkpoint}: is a saved run and has no scores of its own to calibrate. Give a checkpoint.")
    bare = FieldDetector(opened.detector.runtime, replace(opened.detector.traits, calibration=None))
    watched = Watched(bare, opened.score_threshold)
    _, pairs = detect_split(terminal, replace(opened, detector=watched), data, split, skip_bad=skip_bad)
    made = calibrated(replace(load_checkpoint(opened.path), fields_seen=watched.seen()), pairs)
    if made.calibration is None:
        raise BadInput(f"{data}: nothing was detected in split '{split}', so there is nothing to calibrate by.")
    make_folder(out)
    save_checkpoint(out, made)
    before, after = (
        calibration_error(judge(pool_fields(fields))) for fields in (pairs, apply_calibration(pairs, made.calibration))
    )
    rows = [("uncalibrated", before), ("calibrated", after), ("on fields left out", made.metrics.get("val_ece"))]
    terminal.table(("scores", "expected calibration error"), rows, title=f"{len(pairs)} fields")
    terminal.say(f"score threshold {made.score_threshold:.3f}, macro F1 {made.metrics['val_f1']:.3f}")
    terminal.say(f"{out / WEIGHTS}     the calibrated checkpoint")
    terminal.say(f"Next: marrowscope evaluate {out} {data} --split {split}")
