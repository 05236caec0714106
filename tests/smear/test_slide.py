"""Laws of a drawn slide: one glass whatever one looks at first, no seams, and its truth is true."""

import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.smear.cell import morphology_of, outline_of, paint_cell
from marrowscope.smear.slide import SmearSlide
from marrowscope.smear.slide_plan import BLOCK_UM, GlassCell, SlidePlan
from marrowscope.smear.slide_tile import TILE_PX, TilePainter
from marrowscope.smear.stain import Stain

PX = 0.069
SIDE_UM = 6000.0


@pytest.fixture(scope="module")
def slide() -> Iterator[SmearSlide]:
    with SmearSlide(5, width_um=SIDE_UM, height_um=SIDE_UM) as made:
        yield made


@pytest.fixture(scope="module")
def plan() -> SlidePlan:
    return SlidePlan(5, SIDE_UM, SIDE_UM, load_taxonomy("liu2022"))


def some_cells(plan: SlidePlan, first: int, last: int) -> list[GlassCell]:
    return [c for row in range(first, last) for column in range(first, last) for c in plan.cells((column, row))]


def test_the_same_seed_gives_the_same_glass_in_whatever_order_one_looks():
    one, other = (SmearSlide(8, width_um=SIDE_UM, height_um=SIDE_UM) for _ in range(2))
    places = [(3000.0, 3000.0), (3060.0, 2990.0), (2400.0, 3500.0)]
    there = [one.view(x, y, 320, 240, PX) for x, y in places]
    back = [other.view(x, y, 320, 240, PX) for x, y in reversed(places)][::-1]
    for a, b in zip(there, back, strict=True):
        np.testing.assert_array_equal(a, b)
    for x, y in places:
        np.testing.assert_array_equal(one.cells_in(x, y, 200, 200).boxes_um, other.cells_in(x, y, 200, 200).boxes_um)


def test_truth_does_not_depend_on_the_order_in_which_blocks_are_asked_for():
    forward, backward = (SlidePlan(2, SIDE_UM, SIDE_UM, load_taxonomy("liu2022")) for _ in range(2))
    blocks = [(column, row) for row in range(20, 26) for column in range(20, 26)]
    first = {b: (forward.cells(b), forward.red_cells(b).tolist(), forward.extras(b)) for b in blocks}
    second = {b: (backward.cells(b), backward.red_cells(b).tolist(), backward.extras(b)) for b in reversed(blocks)}
    assert first == second


def test_slides_of_different_seeds_differ_in_cells_and_stain():
    one, other = SmearSlide(1, width_um=SIDE_UM, height_um=SIDE_UM), SmearSlide(2, width_um=SIDE_UM, height_um=SIDE_UM)
    assert not np.array_equal(one.view(3000, 3000, 64, 64, PX), other.view(3000, 3000, 64, 64, PX))
    assert not np.allclose(one.stain.density, other.stain.density)
    a, b = one.cells_in(3000, 3000, 300, 300), other.cells_in(3000, 3000, 300, 300)
    assert a.boxes_um.tolist() != b.boxes_um.tolist()


@settings(max_examples=12)
@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(8, 200), st.integers(8, 200))
def test_a_view_is_what_a_larger_view_shows_there(slide: SmearSlide, dx: int, dy: int, width: int, height: int):
    whole = slide.view(3000, 3000, 1000, 1000, PX)
    x, y = 500 + dx, 500 + dy
    # The middle of a view of even size lies between pixels.
    width, height = 2 * (width // 2), 2 * (height // 2)
    part = slide.view(3000 + dx * PX, 3000 + dy * PX, width, height, PX)
    np.testing.assert_array_equal(part, whole[y - height // 2 : y + height // 2, x - width // 2 : x + width // 2])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_is_cut_or_doubled_where_tiles_meet(plan: SlidePlan, level: int):
    """Four tiles around a corner, against one picture painted across that corner in one go."""
    stain = Stain.of_specimen(np.random.default_rng(3))
    column = int(3000 / (PX * 2**level) / TILE_PX)
    painter = TilePainter(plan, stain, PX)
    tiles = [[painter.paint((level, column + i, column + j)) for i in (0, 1)] for j in (0, 1)]
    around = np.vstack([np.hstack(row) for row in tiles])[TILE_PX // 2 : -TILE_PX // 2, TILE_PX // 2 : -TILE_PX // 2]
    start = column * TILE_PX + TILE_PX // 2
    across = TilePainter(plan, stain, PX).paint_square(level, start, start, TILE_PX)
    assert np.abs(around.astype(int) - across).max() <= 1
    # And there was something to cut: the corner's cross is not all background.
    assert (across[TILE_PX // 2] < 200).any()
    assert (across[:, TILE_PX // 2] < 200).any()


def test_cells_do_not_thin_out_or_crowd_where_blocks_meet(plan: SlidePlan):
    cells, reds = [], []
    for row in range(20, 50):
        for column in range(35, 55):
            cells += [(c.x_um % BLOCK_UM, c.y_um % BLOCK_UM) for c in plan.cells((column, row))]
            reds.append(plan.red_cells((column, row))[:, :2] % BLOCK_UM)
    for places in (np.asarray(cells), np.concatenate(reds)):
        near_border = (np.minimum(places, BLOCK_UM - places) < 6.0).mean(axis=0)
        expected = 12.0 / BLOCK_UM
        spread = np.sqrt(expected * (1 - expected) / len(places))
        assert (np.abs(near_border - expected) < 5 * spread + 0.01).all(), near_border


def test_nucleated_cells_hardly_overlap_also_across_blocks(plan: SlidePlan):
    cells = some_cells(plan, 35, 50)
    discs = np.asarray([(c.x_um, c.y_um, c.radius_um) for c in cells])
    apart = np.hypot(*(discs[:, None, :2] - discs[None, :, :2]).transpose(2, 0, 1))
    least = 0.88 * (discs[:, None, 2] + discs[None, :, 2])
    np.fill_diagonal(apart, np.inf)
    assert len(cells) > 300
    assert (apart >= least - 1e-6).all()


def test_red_cells_keep_out_of_the_middle_of_nucleated_cells_of_the_next_block(plan: SlidePlan):
    discs = np.asarray([(c.x_um, c.y_um, c.radius_um) for c in some_cells(plan, 38, 48)])
    reds = np.concatenate([plan.red_cells((c, r)) for r in range(39, 47) for c in range(39, 47)])[:, :2]
    gaps = np.hypot(*(reds[:, None] - discs[None, :, :2]).transpose(2, 0, 1)) - discs[None, :, 2]
    assert gaps.min() > 1.5


def test_a_box_fits_what_is_painted(plan: SlidePlan):
    stain, differences = Stain.reference(), []
    for cell in some_cells(plan, 40, 44):
        kind = morphology_of(plan.taxonomy[cell.label].code)
        painted = paint_cell(kind, np.random.default_rng(cell.seed), PX, stain)
        ys, xs = np.nonzero(painted.mask)
        half = len(painted.cover) / 2
        seen = (np.asarray([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) - half) * PX
        differences.append(np.abs(np.asarray(cell.box_um) - np.asarray([cell.x_um, cell.y_um] * 2) - seen))
    # The painter frays edges, by less than the lens resolves but for a spur here and there.
    assert np.mean(differences) < 0.12
    assert np.max(differences) < 0.6


def test_an_outline_is_that_of_the_painted_cell():
    for code in ("MYELO", "NEU_SEG", "LYM"):
        kind = morphology_of(code)
        painted = paint_cell(kind, np.random.default_rng([3, 4]), 0.2, Stain.reference())
        np.testing.assert_array_equal(outline_of(kind, np.random.default_rng([3, 4])).radii, painted.outline.radii)


def test_truth_lies_where_the_picture_has_a_nucleus(slide: SmearSlide):
    truth = slide.cells_in(3000, 3000, 250, 180)
    assert len(truth) > 25
    for box in truth.boxes_um:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        inside = slide.view(x, y, round((box[2] - box[0]) / PX), round((box[3] - box[1]) / PX), PX)
        green = inside[..., 1].astype(float)
        middle = green[len(green) // 5 : -len(green) // 5, green.shape[1] // 5 : -green.shape[1] // 5]
        assert np.percentile(middle, 25) < 135, "no nucleus here"


def test_what_is_dark_as_a_nucleus_lies_in_a_true_box_or_is_a_platelet(slide: SmearSlide):
    pixels = slide.view(3000, 3000, 1600, 1200, PX)
    dark = (pixels[..., 1] < 95).astype(np.uint8)
    boxes = (slide.cells_in(3000, 3000, 1600 * PX, 1200 * PX).boxes_um - [3000, 3000] * 2) / PX + [800, 600] * 2
    for x1, y1, x2, y2 in np.clip(boxes, 0, 2000).astype(int).tolist():
        dark[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4] = 0
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark)
    largest_um2 = max((s[cv2.CC_STAT_AREA] for s in stats[1:]), default=0) * PX**2
    assert largest_um2 < 15


@settings(max_examples=25)
@given(st.floats(200, 5800), st.floats(200, 5800), st.floats(20, 300), st.floats(0.1, 0.9))
def test_truth_of_a_region_is_that_of_its_parts(slide: SmearSlide, x: float, y: float, width: float, share: float):
    whole = slide.cells_in(x, y, width, 150)
    assert len(set(whole.ids.tolist())) == len(whole)
    left = slide.cells_in(x - width * (1 - share) / 2, y, width * share, 150)
    right = slide.cells_in(x + width * share / 2, y, width * (1 - share), 150)
    assert set(whole.ids.tolist()) == set(left.ids.tolist()) | set(right.ids.tolist())
    known = {i: (box.tolist(), label) for i, box, label in zip(whole.ids, whole.boxes_um, whole.labels, strict=True)}
    for part in (left, right):
        for i, box, label in zip(part.ids, part.boxes_um, part.labels, strict=True):
            assert known[i] == (box.tolist(), label)


def test_a_monolayer_field_holds_about_as_many_cells_as_a_real_one():
    counts = []
    for seed in range(4):
        with SmearSlide(seed) as slide:
            counts += [len(slide.cells_in(9500 + 150 * n, 10_000, 132, 99)) for n in range(8)]
    # 14 with their middle inside, and those cut by the border.
    assert 10 < np.mean(counts) < 24


def test_the_smear_thins_along_its_length_and_ends_before_the_glass_does(plan: SlidePlan):
    across = np.linspace(0, SIDE_UM, 40)
    mean = np.asarray([plan.thickness(np.full(30, x), np.linspace(600, 5400, 30)).mean() for x in across])
    assert mean[0] == mean[-1] == 0
    assert mean[8] > mean[20] > mean[31] > 0
    with SmearSlide(5, width_um=SIDE_UM, height_um=SIDE_UM) as slide:
        assert (slide.view(60, 60, 200, 200, PX) == 255).all()
        assert (slide.view(-500, 3000, 200, 200, PX) == 255).all()
        assert len(slide.cells_in(60, 3000, 100, 6000)) == 0
        thick, thin = (slide.view(x, 3000, 600, 600, 4 * PX).mean() for x in (1300, 4900))
        assert thick < thin - 5


def test_the_edge_of_the_smear_cuts_no_cell(slide: SmearSlide):
    everything = slide.cells_in(SIDE_UM / 2, SIDE_UM / 2, SIDE_UM, 250)
    assert (everything.boxes_um >= 0).all()
    assert (everything.boxes_um <= SIDE_UM).all()


@pytest.mark.parametrize("times", [2, 4, 3])
def test_a_coarser_view_shows_the_same_cells(slide: SmearSlide, times: int):
    fine = slide.view(3000, 3000, 240 * times, 240 * times, PX)
    coarse = slide.view(3000, 3000, 240, 240, PX * times)
    shrunk = cv2.resize(fine, (240, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(coarse.astype(float) - shrunk).mean() < 6
    # Not so with any other place.
    elsewhere = slide.view(3200, 3000, 240, 240, PX * times)
    assert np.abs(elsewhere.astype(float) - shrunk).mean() > 15


def test_a_glance_is_bare_at_first_then_coarse_and_then_becomes_the_view():
    with SmearSlide(4, width_um=SIDE_UM, height_um=SIDE_UM) as slide:
        glances = [slide.glance(3000, 3000, 900, 700, PX)]
        until = time.monotonic() + 60
        while not glances[-1][1] and time.monotonic() < until:
            time.sleep(0.002)
            latest = slide.glance(3000, 3000, 900, 700, PX)
            if latest[1] or not np.array_equal(latest[0], glances[-1][0]):
                glances.append(latest)
        assert [sharp for _, sharp in glances] == [False] * (len(glances) - 1) + [True]
        view = slide.view(3000, 3000, 900, 700, PX)
    off = [float(np.abs(pixels.astype(float) - view).mean()) for pixels, _ in glances]
    assert len(np.unique(glances[0][0].reshape(-1, 3), axis=0)) == 1
    # Every change brings it nearer.
    assert off == sorted(off, reverse=True)
    assert off[-1] == 0


def test_a_draft_shows_the_cells_of_the_tile(plan: SlidePlan):
    painter = TilePainter(plan, Stain.reference(), PX)
    for column in (80, 81):
        tile, draft = painter.paint((0, column, 85)).astype(float), painter.draft((0, column, 85))
        assert 0 < np.abs(tile - draft).mean() < 8


def test_a_glance_that_travels_finds_the_glass_ahead_drawn():
    with SmearSlide(4, width_um=SIDE_UM, height_um=SIDE_UM) as slide:
        step = TILE_PX * PX
        slide.view(3000, 3000, 400, 400, PX)
        slide.glance(3000, 3000, 400, 400, PX)
        slide.view(3000 + step, 3000, 400, 400, PX)
        slide.glance(3000 + step, 3000, 400, 400, PX)
        until = time.monotonic() + 60
        ahead = (3000 + 2 * step, 3000, 400, 400, PX)
        while not slide.is_drawn(*ahead) and time.monotonic() < until:
            time.sleep(0.01)
        assert slide.is_drawn(*ahead)
        assert not slide.is_drawn(3000, 3000 + 6 * step, 400, 400, PX)


def test_memory_is_bounded_and_forgotten_glass_comes_back_the_same():
    with SmearSlide(4, width_um=SIDE_UM, height_um=SIDE_UM, memory_mb=1) as slide:
        before = slide.view(3000, 3000, 100, 100, PX)
        for n in range(60):
            slide.view(800 + n * 36, 5750, 16, 16, PX)
        assert not slide.is_drawn(3000, 3000, 100, 100, PX)
        assert slide.tiles_kept < 60
        np.testing.assert_array_equal(slide.view(3000, 3000, 100, 100, PX), before)


def test_a_closed_slide_can_still_be_viewed_and_closing_twice_is_fine():
    slide = SmearSlide(4, width_um=SIDE_UM, height_um=SIDE_UM)
    slide.glance(3000, 3000, 64, 64, PX)
    slide.close()
    slide.close()
    assert slide.view(3000, 3000, 64, 64, PX).shape == (64, 64, 3)
    assert slide.glance(3500, 3000, 64, 64, PX)[0].shape == (64, 64, 3)


def test_a_slide_of_another_scheme_speaks_that_scheme():
    taxonomy = load_taxonomy("clinical")
    with SmearSlide(4, width_um=SIDE_UM, height_um=SIDE_UM, taxonomy=taxonomy) as slide:
        cells = slide.cells_in(3000, 3000, 500, 500)
        assert cells.taxonomy is taxonomy
        assert len(np.unique(cells.labels)) > 5


@pytest.mark.parametrize("bad", [{"seed": -1}, {"seed": 1, "width_um": 10}, {"seed": 1, "um_per_px": 0}])
def test_an_impossible_slide_is_refused(bad: dict[str, float]):
    with pytest.raises(ValueError, match="must"):
        SmearSlide(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_an_impossible_scale_is_refused(slide: SmearSlide, scale: float):
    with pytest.raises(ValueError, match="um_per_px"):
        slide.view(0, 0, 10, 10, scale)
