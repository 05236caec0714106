"""Detection in a process of its own: the same answers, politely, and no field lost without a word."""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import numpy as np
import psutil
import pytest

from helpers.station import blobs
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.errors import BadCheckpoint, InstrumentError
from marrowscope.station.detecting import DetectionProcess, that_count
from marrowscope.station.detecting_child import Found
from oracles.blob_detector import SHADES, BlobDetector

SOON = 120
"""Seconds; a busy machine takes its time to start a process."""


class Moody(BlobDetector):
    """Dies of a black field, fails on a white one."""

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        if all(not f.pixels.any() for f in fields):
            os._exit(3)
        if all((f.pixels == 255).all() for f in fields):
            raise ZeroDivisionError("nothing but light")
        return super().detect(fields)


class NeedsLuck:
    """A detector with a score of its own, as `assemble` opens it."""

    detector = BlobDetector()
    score_threshold = 0.625


def not_there() -> BlobDetector:
    raise BadCheckpoint("models/none: no such checkpoint. Give another.")


def test_the_child_finds_what_the_detector_finds_here() -> None:
    fields = [blobs(seed) for seed in range(3)] + [blobs(4, width=500, height=400)]
    with DetectionProcess(partial(BlobDetector, (320, 240))) as process:
        answers = [process.detect(pixels) for pixels in fields]
        found = [answer.result(SOON).detections for answer in answers]
    here = BlobDetector((320, 240)).detect([FieldImage(pixels, "here") for pixels in fields])
    for there, expected in zip(found, here, strict=True):
        assert len(expected) > 0
        assert np.array_equal(there.boxes, expected.boxes)
        assert np.array_equal(there.labels, expected.labels)
        assert np.array_equal(there.scores, expected.scores)
        assert there.taxonomy.names == SHADES.names


def test_the_child_is_another_process_politer_than_this_one_and_gone_afterwards() -> None:
    process = DetectionProcess(NeedsLuck)
    with process:
        assert process.wait_open(SOON)
        assert process.pid is not None
        child = psutil.Process(process.pid)
        assert child.pid != os.getpid()
        assert child.nice() > psutil.Process().nice()
        assert process.score == 0.625
        assert process.taxonomy is not None
        assert process.taxonomy.names == SHADES.names
        assert process.idle
    assert not psutil.pid_exists(child.pid)
    assert process.pid is None


def test_a_child_that_was_killed_is_started_again_and_the_next_field_is_looked_at() -> None:
    with DetectionProcess(BlobDetector) as process:
        assert process.wait_open(SOON)
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        found = process.detect(blobs()).result(SOON)
        assert process.pid != first
    assert len(found.detections) > 0


def test_a_field_that_kills_the_detector_fails_loudly_and_the_next_one_is_looked_at() -> None:
    with DetectionProcess(Moody) as process:
        deadly = process.detect(np.zeros((60, 80, 3), np.uint8))
        good = process.detect(blobs())
        with pytest.raises(InstrumentError, match="ended"):
            deadly.result(SOON)
        assert len(good.result(SOON).detections) > 0


def test_an_error_of_the_detector_is_told_and_is_not_its_end() -> None:
    with DetectionProcess(Moody) as process:
        failed = process.detect(np.full((60, 80, 3), 255, np.uint8))
        with pytest.raises(InstrumentError, match="nothing but light"):
            failed.result(SOON)
        before = process.pid
        process.detect(blobs()).result(SOON)
        assert process.pid == before


def test_a_detector_that_cannot_be_opened_says_why_to_whoever_asks() -> None:
    with DetectionProcess(not_there) as process:
        answer: Future[Found] = process.detect(blobs())
        with pytest.raises(InstrumentError, match="no such checkpoint"):
            answer.result(SOON)
        assert not process.idle


def test_a_source_that_cannot_travel_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        DetectionProcess(lambda: BlobDetector())


def test_nobody_waits_for_a_closed_detector() -> None:
    process = DetectionProcess(BlobDetector)
    process.start()
    waiting = [process.detect(blobs(seed)) for seed in range(5)]
    process.close()
    late = process.detect(blobs())
    for answer in [*waiting, late]:
        assert answer.done()
    with pytest.raises(InstrumentError):
        late.result()


def test_what_counts_keeps_the_lesser_names_of_its_cells() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]], np.float32)
    found = Detections(boxes, np.asarray([0, 1, 0]), np.asarray([0.8, 0.3, 0.2], np.float32), SHADES)
    counting = that_count(found, 0.5)
    assert counting.scores.tolist() == pytest.approx([0.8, 0.3])
    assert len(one_name_per_cell(counting)) == 1
