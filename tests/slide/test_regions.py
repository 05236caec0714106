from itertools import combinations

import numpy as np
import pytest

from helpers.smear_zones import BLOCK_UM, GOOD, INKED, PLAN, UM_PER_PX, ZONE_UM, kinds_in, slide_of, zone
from marrowscope.slide.array_slide import ArraySlide
from marrowscope.slide.regions import USABLE, Rectangle, Region, choose_regions, everything, judge_places
from marrowscope.slide.slide import WholeSlide
from marrowscope.slide.tissue import find_tissue

SIDE = round(ZONE_UM / UM_PER_PX)


@pytest.fixture(scope="module")
def slide() -> ArraySlide:
    return slide_of(PLAN)


@pytest.fixture(scope="module")
def judged(slide: ArraySlide) -> list[Region]:
    return list(judge_places(slide, find_tissue(slide), size_um=BLOCK_UM))


@pytest.fixture(scope="module")
def all_chosen(slide: ArraySlide) -> list[Region]:
    """More cells are wanted than there are."""
    return choose_regions(slide, 10_000, size_um=BLOCK_UM)


def _choose(slide: WholeSlide, cells: int = 60, **options: int) -> list[Region]:
    return choose_regions(slide, cells, size_um=BLOCK_UM, **options)


def _kinds(place: Rectangle) -> set[str]:
    return kinds_in(place.x, place.y, place.width, place.height)


def test_every_chosen_region_lies_where_the_smear_is_good(all_chosen: list[Region]) -> None:
    assert len(all_chosen) > 20
    for region in all_chosen:
        assert _kinds(region) <= set(GOOD), region


def test_places_are_usable_where_the_smear_is_good_and_nowhere_else(judged: list[Region]) -> None:
    for place in judged:
        assert (place.quality >= USABLE) == (_kinds(place) <= set(GOOD)), place
    zones = {(p.x // SIDE, p.y // SIDE) for p in judged if p.quality >= USABLE}
    good = {(x, y) for y, row in enumerate(PLAN) for x, kind in enumerate(row) if kind in GOOD}
    assert zones == good


def test_regions_are_enough_for_the_count_and_not_many_more(slide: ArraySlide) -> None:
    regions = _choose(slide, 60)
    cells = sum(region.nuclei for region in regions)
    assert 60 <= cells < 60 + max(region.nuclei for region in regions)


def test_so_many_regions_as_asked_whatever_is_in_them(slide: ArraySlide) -> None:
    assert len(_choose(slide, 1, count=5)) == 5
    with pytest.raises(ValueError, match="count"):
        _choose(slide, count=0)


def test_regions_come_best_first_and_none_overlap(all_chosen: list[Region]) -> None:
    qualities = [round(region.quality, 1) for region in all_chosen]
    assert qualities == sorted(qualities, reverse=True)
    for a, b in combinations(all_chosen, 2):
        assert a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


def test_regions_come_from_all_over_the_slide(slide: ArraySlide) -> None:
    good = sum(kind in GOOD for row in PLAN for kind in row)
    regions = _choose(slide, count=good)
    assert len({(r.x // SIDE, r.y // SIDE) for r in regions}) >= good - 2


@pytest.mark.parametrize("levels", [1, 3])
def test_places_are_judged_the_same_whatever_scales_are_stored(judged: list[Region], levels: int) -> None:
    slide = slide_of(PLAN, levels=levels)
    again = {(p.x, p.y): p for p in judge_places(slide, find_tissue(slide), size_um=BLOCK_UM)}
    for place in judged:
        if place.quality >= USABLE:
            assert again[place.x, place.y].quality == pytest.approx(place.quality, abs=0.1)
            assert again[place.x, place.y].nuclei == place.nuclei


def test_regions_lie_where_the_smear_is_good_under_a_dim_lamp() -> None:
    dim = _choose(slide_of(PLAN, brightness=0.75))
    assert all(_kinds(region) <= set(GOOD) for region in dim)
    assert len(dim) == pytest.approx(60 / 7, abs=2)


def test_on_a_slide_of_heaps_nothing_is_chosen() -> None:
    assert _choose(slide_of((("thick", "thick"), ("thick", "thick")))) == []


def test_on_bare_glass_nothing_is_chosen_and_there_is_no_tissue() -> None:
    bare = slide_of((("empty", "empty"),))
    assert _choose(bare) == []
    assert everything(bare) == []


@pytest.mark.parametrize("pen", INKED)
def test_nothing_under_a_pen_mark_is_tissue(pen: str) -> None:
    tissue = find_tissue(slide_of((("good", "empty", "empty", pen, "empty", "good"),)))
    columns = tissue.mask.shape[1] // 6
    assert tissue.ink[:, 3 * columns : 4 * columns].all()
    assert not tissue.mask[:, 3 * columns - 5 : 4 * columns + 5].any()
    assert tissue.mask[:, :columns].mean() > 0.95


@pytest.mark.parametrize("kind", ["good", "thick", "blurred"])
def test_stained_cells_are_never_taken_for_ink(kind: str) -> None:
    assert not find_tissue(slide_of(((kind, "empty"),))).ink.any()


def test_everything_is_every_piece_of_tissue_once() -> None:
    slide = slide_of((("good", "empty", "good"), ("empty", "empty", "good")))
    large, small = everything(slide)
    assert large.width * large.height > small.width * small.height
    for piece, left, high in ((large, 2 * SIDE, 2 * SIDE), (small, 0, SIDE)):
        assert piece.x <= left + 40
        assert piece.y == 0
        assert piece.x + piece.width >= left + SIDE - 40
        assert piece.y + piece.height >= high - 40


def test_a_slide_of_a_single_field_is_one_region() -> None:
    field = ArraySlide(zone("good"), um_per_px=UM_PER_PX)
    (region,) = choose_regions(field, 20)
    assert (region.x, region.y, region.width, region.height) == (0, 0, SIDE, SIDE)


def test_what_the_scanner_left_out_is_neither_white_nor_tissue() -> None:
    dim = np.asarray(zone("good") * 0.8, np.uint8)
    left_out = np.full_like(dim, 255)
    slide = ArraySlide(np.concatenate([dim, left_out, left_out], axis=1), um_per_px=UM_PER_PX)
    tissue = find_tissue(slide)
    assert tissue.white == pytest.approx(np.percentile(dim.reshape(-1, 3), 98, axis=0), abs=4)
    assert not tissue.mask[:, tissue.mask.shape[1] // 2 :].any()


def test_progress_counts_up_to_what_was_promised() -> None:
    told: list[tuple[int, int]] = []
    choose_regions(slide_of((("good",),)), size_um=BLOCK_UM, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
