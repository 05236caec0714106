"""What is drawn on a field, and what stays visible."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Lineage, load_taxonomy
from marrowscope.detect.overlay import Picture, draw_comparison, draw_overlay
from marrowscope.detect.palette import LINEAGE_COLOURS, ink_on, luminance

TAXONOMY = load_taxonomy("liu2022")
GROUND = (236, 222, 232)


def ground(width: int, height: int) -> Picture:
    return np.full((height, width, 3), GROUND, np.uint8)


def claims(boxes: list[list[float]], names: list[str]) -> Detections:
    scores = np.linspace(0.95, 0.5, len(boxes))
    return Detections(boxes, np.asarray([TAXONOMY.index(n) for n in names]), scores, TAXONOMY)


def changed(before: Picture, after: Picture) -> np.ndarray:
    return (before != after).any(axis=2)


def test_the_picture_given_is_left_alone() -> None:
    image = ground(400, 300)
    draw_overlay(image, claims([[50, 50, 150, 150]], ["myeloblast"]))
    assert_array_equal(image, ground(400, 300))


@pytest.mark.parametrize("size", [(640, 480), (4000, 3000), (300, 900)])
def test_a_field_without_cells_is_unchanged(size: tuple[int, int]) -> None:
    assert_array_equal(draw_overlay(ground(*size), Detections.none(TAXONOMY)), ground(*size))


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_edges_have_the_colour_of_the_lineage_and_the_inside_is_not_hidden(scale: int) -> None:
    image = ground(800 * scale, 600 * scale)
    box = [300 * scale, 200 * scale, 420 * scale, 330 * scale]
    picture = draw_overlay(image, claims([box], ["basophilic erythroblast"]))
    x1, y1, x2, y2 = box
    for x, y in ((x1, (y1 + y2) // 2), (x2 - 1, (y1 + y2) // 2), ((x1 + x2) // 2, y1), ((x1 + x2) // 2, y2 - 1)):
        assert tuple(picture[y, x]) == LINEAGE_COLOURS[Lineage.ERYTHROID]
    inset = 6 * scale
    inside = changed(image, picture)[y1 + inset : y2 - inset, x1 + inset : x2 - inset]
    assert not inside.any()


def test_writing_grows_with_the_picture() -> None:
    def plate_rows(scale: int) -> int:
        image = ground(800 * scale, 600 * scale)
        box = [300 * scale, 300 * scale, 420 * scale, 430 * scale]
        picture = draw_overlay(image, claims([box], ["promyelocyte"]), legend=False)
        return int(changed(image, picture)[: 295 * scale].any(axis=1).sum())

    assert plate_rows(5) > 3 * plate_rows(1) > 0


@pytest.mark.parametrize(
    "box", [[0, 0, 100, 90], [700, 0, 800, 80], [0, 500, 90, 600], [705, 510, 800, 600], [0, 0, 800, 600]]
)
def test_a_box_at_the_edge_keeps_its_name_inside_the_picture(box: list[float]) -> None:
    def plate_area(box: list[float]) -> int:
        picture = draw_overlay(ground(800, 600), claims([box], ["promyelocyte"]), legend=False)
        blue = (picture == LINEAGE_COLOURS[Lineage.GRANULOCYTIC]).all(axis=2)
        x1, y1, x2, y2 = (int(v) for v in box)
        for edge in (np.s_[:, max(0, x1 - 4) : x1 + 4], np.s_[:, max(0, x2 - 4) : x2 + 4]):
            blue[edge] = False
        for edge in (np.s_[max(0, y1 - 4) : y1 + 4], np.s_[max(0, y2 - 4) : y2 + 4]):
            blue[edge] = False
        return int(blue.sum())

    # About as much plate as for a cell of this width at half height, with room above: no writing is cut off. (A plate
    # that had to move onto the outline loses what this test leaves out of account there.)
    assert plate_area(box) > 0.6 * plate_area([box[0], 250, box[2], 340])


def test_a_fine_outline_runs_over_the_first_and_the_last_pixel_of_the_cell() -> None:
    picture = draw_overlay(ground(400, 300), claims([[100, 100, 160, 150]], ["promyelocyte"]), legend=False)
    blue = (picture[130] == LINEAGE_COLOURS[Lineage.GRANULOCYTIC]).all(axis=1)
    assert np.flatnonzero(blue).tolist() == [100, 159]


def test_a_name_steps_aside_for_the_cell_above() -> None:
    above, below = [300.0, 150.0, 420.0, 270.0], [300.0, 275.0, 420.0, 395.0]
    image = ground(800, 600)
    picture = draw_overlay(image, claims([below, above], ["promyelocyte", "myeloblast"]), legend=False)
    for x1, y1, x2, y2 in (above, below):
        inside = changed(image, picture)[int(y1) + 5 : int(y2) - 5, int(x1) + 5 : int(x2) - 5]
        assert not inside.any()


def test_a_crowded_field_is_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, (700, 500), (150, 2))
    boxes = np.concatenate((corners, corners + 90), axis=1).tolist()
    names = [TAXONOMY.names[i] for i in rng.integers(0, len(TAXONOMY), 150)]
    picture = draw_overlay(ground(800, 600), claims(boxes, names))
    assert picture.shape == (600, 800, 3)
    assert picture.dtype == np.uint8


def test_a_picture_smaller_than_its_writing_is_survived() -> None:
    for size in ((1, 1), (20, 8), (8, 40)):
        picture = draw_overlay(ground(*size), claims([[0, 0, *size]], ["neutrophilic metamyelocyte"]))
        assert picture.shape == (size[1], size[0], 3)


def test_the_legend_names_only_lineages_that_occur() -> None:
    one = draw_overlay(ground(800, 600), claims([[350, 250, 450, 340]], ["promyelocyte"]))
    lower_left = one[500:, :300].reshape(-1, 3)
    assert (lower_left == LINEAGE_COLOURS[Lineage.GRANULOCYTIC]).all(axis=1).any()
    for lineage in set(Lineage) - {Lineage.GRANULOCYTIC, Lineage.OTHER}:
        assert not (lower_left == LINEAGE_COLOURS[lineage]).all(axis=1).any()


def test_pictures_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(h, w, 3\) uint8 RGB"):
        draw_overlay(np.zeros((10, 10), np.uint8), Detections.none(TAXONOMY))  # type: ignore[arg-type]


def dashes(picture: Picture, box: list[float]) -> bool:
    """Whether the top edge of the box alternates between white and not."""
    edge = (picture[int(box[1]), int(box[0]) : int(box[2])] == 255).all(axis=1)
    return int(np.abs(np.diff(edge.astype(int))).sum()) >= 4


def test_truth_is_dashed_and_every_kind_of_error_is_named() -> None:
    right, confused, missed, spurious = ([100.0 + 170 * k, 250.0, 200.0 + 170 * k, 350.0] for k in range(4))
    labels = np.asarray([TAXONOMY.index(n) for n in ("promyelocyte", "myeloblast", "lymphoblast")])
    truth = GroundTruth(np.asarray([right, confused, missed]), labels, TAXONOMY)
    found = claims([right, confused, spurious], ["promyelocyte", "basophilic erythroblast", "monoblast"])
    image = ground(800, 600)
    picture = draw_comparison(image, truth, found)
    marked = changed(image, picture)
    assert all(dashes(picture, b) for b in (right, confused, missed))
    assert not dashes(picture, spurious)
    plate = {tuple(b): marked[190:240, int(b[0]) : int(b[2])].any() for b in (right, confused, missed, spurious)}
    assert list(plate.values()) == [False, True, True, True]


def test_each_true_cell_is_paired_once() -> None:
    box = [300.0, 250.0, 400.0, 350.0]
    truth = GroundTruth(np.asarray([box]), np.asarray([TAXONOMY.index("myeloblast")]), TAXONOMY)
    once = draw_comparison(ground(800, 600), truth, claims([box], ["myeloblast"]))
    twice = draw_comparison(ground(800, 600), truth, claims([box, box], ["myeloblast"] * 2))
    assert changed(once, twice)[:250].any(), "the second is named as no such cell"


def test_a_comparison_of_nothing_with_nothing_only_has_a_tally() -> None:
    truth = GroundTruth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), TAXONOMY)
    picture = draw_comparison(ground(800, 600), truth, Detections.none(TAXONOMY))
    assert not changed(ground(800, 600), picture)[:500].any()


def test_ink_can_be_read_on_every_plate() -> None:
    for colour in LINEAGE_COLOURS.values():
        lights = sorted((luminance(colour), luminance(ink_on(colour))))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, "WCAG AA"
