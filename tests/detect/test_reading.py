"""Cells cut out and named again: geometry by painted discs, naming by laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tiny import TAXONOMY
from marrowscope.cells.field import FieldImage
from marrowscope.detect.field_detector import FieldDetector
from marrowscope.detect.reading import cells_of, cut_cells, detector_opinion, name_again
from marrowscope.detect.runtime import Found
from marrowscope.model.config import InputScale, ReaderRecipe
from marrowscope.model.traits import Traits


def disc(cx, cy, r, width=200, height=150):
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.full((height, width, 3), 230, np.uint8)
    image[np.hypot(x - cx, y - cy) <= r] = 10
    return image


def found(*rows):
    """Rows of (x1, y1, x2, y2, label, score), best first."""
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return Found(table[:, :4].astype(np.float32), table[:, 4].astype(np.int64), table[:, 5].astype(np.float32))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(centre=st.tuples(st.floats(50, 150), st.floats(50, 100)), radius=st.floats(8, 30))
def test_a_cell_fills_the_same_part_of_its_crop_whatever_its_size(centre, radius):
    (cx, cy), r = centre, radius
    box = np.array([[cx - r, cy - r, cx + r, cy + r]], np.float32)
    (crop,) = cut_cells(disc(cx, cy, r), box, side_px=64, context=1.25)
    dark = crop[..., 0] < 120
    # A disc of 1/1.25 of the side.
    assert dark.mean() == pytest.approx(np.pi / 4 / 1.25**2, abs=0.06)
    rows, columns = np.nonzero(dark)
    assert rows.mean() == pytest.approx(31.5, abs=2.5)
    assert columns.mean() == pytest.approx(31.5, abs=2.5)


def test_what_lies_outside_the_picture_is_grey_and_the_cell_keeps_its_place():
    image = disc(0, 75, 20)
    (crop,) = cut_cells(image, np.array([[-20, 55, 20, 95]], np.float32), side_px=50, context=1.0)
    assert (crop[:, :24] == 128).all()
    assert (crop[20:30, 27:45] < 60).all()


@pytest.mark.parametrize("box", [[-80, -80, -20, -20], [300, 20, 340, 60], [10, 10, 10, 10]])
def test_a_box_without_pixels_gives_a_crop_all_the_same(box):
    crops = cut_cells(disc(50, 50, 20), np.array([box], np.float32), side_px=32, context=1.25)
    assert crops.shape == (1, 32, 32, 3)


def test_names_of_one_place_are_one_cell_and_the_unsure_is_none():
    names = found(
        (10, 10, 50, 50, 0, 0.9), (100, 10, 140, 50, 1, 0.8), (11, 10, 50, 51, 1, 0.6), (150, 100, 190, 140, 0, 0.01)
    )
    boxes, scores, cell_of = cells_of(names)
    # Both names of the first cell vote on its box.
    np.testing.assert_allclose(boxes[0], [10.4, 10, 50, 50.4], atol=1e-4)
    np.testing.assert_array_equal(boxes[1], names.boxes[1])
    np.testing.assert_allclose(scores, [0.9, 0.8])
    np.testing.assert_array_equal(cell_of, [0, 1, 0, -1])
    opinion = detector_opinion(names, cell_of, 2, 2)
    np.testing.assert_allclose(opinion.sum(axis=1), 1)
    np.testing.assert_allclose(opinion[0], [0.6, 0.4])
    assert opinion[1, 1] > 0.95


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), cells=st.integers(0, 6), share=st.floats(0, 1))
def test_a_cells_names_share_its_score_and_come_best_first(seed, cells, share):
    rng = np.random.default_rng(seed)
    boxes = np.arange(cells)[:, None] * 100 + np.array([[0, 0, 50, 50]])
    scores = rng.uniform(0.05, 1, cells).astype(np.float32)
    opinion, reading = (rng.dirichlet(np.ones(4), cells).reshape(cells, 4) for _ in range(2))
    said = name_again(boxes.astype(np.float32), scores, opinion, reading.astype(np.float32), reader_share=share)
    assert (np.diff(said.scores) <= 0).all()
    for box, score in zip(boxes, scores, strict=True):
        own = said.scores[(said.boxes == box).all(axis=1)]
        # Names not worth saying are missing from the sum: at most K - 1 of them, of 1 % each.
        assert 0.96 * score <= own.sum() <= score * (1 + 1e-5)


def test_alone_either_opinion_decides():
    boxes, scores = np.array([[0, 0, 9, 9]], np.float32), np.array([1], np.float32)
    opinion, reading = np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]], np.float32)
    np.testing.assert_allclose(name_again(boxes, scores, opinion, reading, reader_share=1).scores, [0.8, 0.2])
    np.testing.assert_allclose(name_again(boxes, scores, opinion, reading, reader_share=0).scores, [0.9, 0.1])


class OneDisc:
    """A runtime that finds the dark disc of a picture, surely an eosinophil, and reads it as a lymphocyte."""

    name = "one disc"

    def __init__(self, score=0.9):
        self.score = score
        self.sure = 0.999
        self.reads: list[int] = []
        self.looked_at: list[tuple[int, int]] = []
        self.crops = np.zeros((0, 1, 1, 3), np.uint8)

    def find(self, picture):
        self.looked_at.append(picture.shape[1::-1])
        rows, columns = np.nonzero(picture[..., 0] < 120)
        if not len(rows):
            return found()
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return found((*box, 1, self.score))

    def read(self, crops):
        self.crops = crops
        self.reads.append(len(crops))
        return np.tile(np.array([[self.sure, 1 - self.sure]], np.float32), (len(crops), 1))


def traits(*, cell_px=40.0, factor=0.5, reader=None):
    return Traits(TAXONOMY, (200, 150), InputScale(factor=factor, cell_px=cell_px), reader)


def test_a_small_picture_is_not_enlarged_beyond_the_scale_of_training():
    runtime = OneDisc()
    FieldDetector(runtime, traits()).detect([FieldImage(disc(60, 60, 40, 120, 120), "tile")])
    assert runtime.looked_at == [(60, 60)]


@pytest.mark.parametrize(("radius", "sizes"), [(10, [(100, 75), (200, 150)]), (70, [(100, 75), (57, 43)])])
def test_cells_far_too_small_or_large_have_the_field_fitted_anew(radius, sizes):
    runtime = OneDisc()
    field = FieldImage(disc(100, 75, radius), "field")
    (seen,) = FieldDetector(runtime, traits()).detect([field])
    np.testing.assert_allclose(runtime.looked_at, sizes, atol=1)
    np.testing.assert_allclose(seen.boxes[0], [100 - radius, 75 - radius, 100 + radius, 75 + radius], atol=4)


def test_an_unsure_find_does_not_change_the_magnification():
    runtime = OneDisc(score=0.4)
    FieldDetector(runtime, traits()).detect([FieldImage(disc(100, 75, 10), "field")])
    assert len(runtime.looked_at) == 1


def test_the_reader_sees_the_cell_large_and_its_name_wins():
    runtime = OneDisc()
    reader = ReaderRecipe(crop_px=64, context=1.25)
    detector = FieldDetector(runtime, traits(reader=reader))
    (seen,) = detector.detect([FieldImage(disc(100, 75, 40), "field")])
    assert runtime.crops.shape == (1, 64, 64, 3)
    assert (runtime.crops[0, ..., 0] < 120).mean() == pytest.approx(np.pi / 4 / 1.25**2, abs=0.05)
    assert seen.taxonomy[int(seen.labels[0])].name == "lymphocyte"
    assert detector.input_size == (256, 192)  # 64 / (1.25 * 40) = 1.28 times the network's


def test_a_cell_that_leaves_doubt_is_read_in_its_other_views_too():
    runtime = OneDisc()
    runtime.sure = 0.7
    detector = FieldDetector(runtime, traits(reader=ReaderRecipe(crop_px=64, views=3)))
    detector.detect([FieldImage(disc(110, 75, 40), "field")])
    assert runtime.reads == [1, 2]
    (first,) = cut_cells(disc(110, 75, 40), np.array([[70, 35, 150, 115]], np.float32), side_px=64, context=1.25)
    assert np.abs(runtime.crops[0].astype(int) - first[::-1]).mean() < 8
    assert np.abs(runtime.crops[1].astype(int) - first[:, ::-1]).mean() < 8


class ManyDiscs(OneDisc):
    """Finds a hundred cells, and says of each crop how light it is."""

    def __init__(self):
        super().__init__()
        self.asked: list[int] = []

    def find(self, picture):
        return found(*[(2 * x, 70, 2 * x + 2, 72, 0, 0.9) for x in range(100)])

    def read(self, crops):
        self.asked.append(len(crops))
        light = crops.mean(axis=(1, 2, 3), dtype=np.float64)[:, None] / 255
        return np.concatenate([light, 1 - light], axis=1).astype(np.float32)


def test_many_cells_are_read_in_parts_and_each_keeps_its_own_reading():
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (150, 1, 3))
    runtime = ManyDiscs()
    reader = ReaderRecipe(crop_px=8, context=1.0, views=3)
    (seen,) = FieldDetector(runtime, traits(reader=reader)).detect([FieldImage(ramp, "ramp")])
    light = [max(x, 1 - x) for x in (np.arange(100) + 0.5) / 100]
    assert sum(runtime.asked) == pytest.approx(100 + 2 * sum(x < 0.8 for x in light), abs=8)
    assert max(runtime.asked) <= 64
    first = seen.labels == 0
    order = np.argsort(seen.boxes[first, 0])
    # The further right, the lighter, the likelier the first name.
    assert (np.diff(seen.scores[first][order]) > -1e-3).all()
    assert np.ptp(seen.scores[first]) > 0.5


def test_a_field_without_cells_is_not_read():
    runtime = OneDisc()
    empty = FieldImage(np.full((150, 200, 3), 230, np.uint8), "empty")
    (seen,) = FieldDetector(runtime, traits(reader=ReaderRecipe(crop_px=64))).detect([empty])
    assert len(seen) == 0
    assert not len(runtime.crops)
