"""Where the microscope looks, from pictures alone: drawn glass, of which every view's place is known."""

from functools import cache
from itertools import count

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from marrowscope.smear.field import draw_field
from marrowscope.station.tracking import Fix, Tracker
from marrowscope.station.tracking_shift import Prepared, Shift, find_shift, glance_of, refine_shift

WIDTH, HEIGHT, UM_PER_PX = 640, 360, 0.2
"""A view of 128 x 72 um, as through a 1000x, in few pixels."""
Pixels = NDArray[np.uint8]


@cache
def glass(seed: int) -> Pixels:
    field, _ = draw_field(seed, width=2200, height=1500, um_per_px=UM_PER_PX)
    return field.pixels


def view(
    x: int, y: int, *, slide: int = 1, blur: float = 0.0, gain: float = 1.0, noise: float = 3.0, seed: int = 0
) -> Pixels:
    """What lies with its corner at (x, y), through a vignetting lens and a noisy camera."""
    light = glass(slide)[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)
    if blur:
        light = cv2.GaussianBlur(light, (0, 0), blur)
    across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    lamp = 1 - 0.2 * (across**2 + down**2) / 2
    grain = np.random.default_rng([seed, x, y]).normal(0, noise, (HEIGHT, WIDTH, 1))
    return np.clip(light * lamp[..., None] * gain + grain, 0, 255).astype(np.uint8)


def shift_between(first: Pixels, second: Pixels) -> Shift:
    a, b = glance_of(first), glance_of(second)
    return refine_shift(a, b, find_shift(Prepared(a), Prepared(b)))


corner = st.tuples(st.integers(0, 2200 - WIDTH), st.integers(0, 1500 - HEIGHT))
far = st.tuples(st.integers(-380, 380), st.integers(-200, 200))


def moved(x: int, y: int, by: tuple[int, int]) -> tuple[int, int]:
    return min(max(x + by[0], 0), 2200 - WIDTH), min(max(y + by[1], 0), 1500 - HEIGHT)


@settings(max_examples=30)
@given(corner, far, st.floats(0, 3), st.floats(0.5, 1.15), st.floats(0, 6))
def test_any_shift_is_found_to_a_fraction_of_a_pixel(
    place: tuple[int, int], by: tuple[int, int], blur: float, gain: float, noise: float
) -> None:
    there = moved(*place, by)
    found = shift_between(view(*place), view(*there, blur=blur, gain=gain, noise=noise, seed=1))
    assert found.dx == pytest.approx(there[0] - place[0], abs=0.75)
    assert found.dy == pytest.approx(there[1] - place[1], abs=0.75)
    assert found.agreement > 0.6


@settings(max_examples=15)
@given(corner, far)
def test_there_and_back_are_opposite(place: tuple[int, int], by: tuple[int, int]) -> None:
    first, second = view(*place), view(*moved(*place, by), seed=1)
    there, back = shift_between(first, second), shift_between(second, first)
    assert there.dx == pytest.approx(-back.dx, abs=0.3)
    assert there.dy == pytest.approx(-back.dy, abs=0.3)


@settings(max_examples=25)
@given(corner, corner)
def test_other_glass_is_never_taken_for_the_same(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = (Prepared(glance_of(p)) for p in (view(*one, slide=1), view(*other, slide=2)))
    assert Tracker._shift(first, second, 0.45, 5.0) is None


def follow(tracker: Tracker, places: list[tuple[int, int]], **how: float) -> list[Fix]:
    return [
        tracker.see(view(x, y, seed=n, **how), UM_PER_PX)  # type: ignore[arg-type]
        for n, (x, y) in enumerate(places)
    ]


def errors_px(fixes: list[Fix], places: list[tuple[int, int]]) -> NDArray[np.float64]:
    found = np.asarray([(f.x_um, f.y_um) for f in fixes]) / UM_PER_PX
    true = np.asarray(places, float)
    return np.hypot(*((found - found[0]) - (true - true[0])).T)


def loop(step: int = 70) -> list[tuple[int, int]]:
    """Around the glass and back to the start."""
    right, down = 2200 - WIDTH, 1500 - HEIGHT
    across, along = list(range(0, right + 1, step)), list(range(0, down + 1, step))
    way = [(x, 0) for x in across] + [(across[-1], y) for y in along[1:]]
    way += [(x, along[-1]) for x in reversed(across[:-1])] + [(0, y) for y in reversed(along[:-1])]
    return way


def test_a_long_way_round_ends_where_it_began() -> None:
    places = loop()
    fixes = follow(Tracker(), places)
    wrong = errors_px(fixes, places)
    assert not any(f.lost for f in fixes[1:])
    assert len({f.visit for f in fixes}) == 1
    assert wrong.max() < 3
    assert wrong[-1] < 1


def test_a_jump_to_new_glass_is_another_visit_and_back_on_known_glass_the_first_goes_on() -> None:
    tracker = Tracker()
    here = [(x, 100) for x in range(100, 400, 60)]
    first = follow(tracker, here)
    tracker.claim()
    away = follow(tracker, [(1400, 900), (1430, 920)])
    tracker.claim()
    back = follow(tracker, [(250, 130)])
    assert away[0].lost
    assert {f.visit for f in first} != {f.visit for f in away}
    assert back[0].visit == first[0].visit
    assert back[0].x_um - first[0].x_um == pytest.approx(150 * UM_PER_PX, abs=UM_PER_PX)
    assert back[0].y_um - first[0].y_um == pytest.approx(30 * UM_PER_PX, abs=UM_PER_PX)


def test_a_visit_that_reaches_known_glass_becomes_part_of_the_first() -> None:
    tracker = Tracker()
    first = follow(tracker, [(x, 100) for x in range(0, 300, 60)])
    tracker.claim()
    places = [(x, 140) for x in range(1300, 200, -90)]
    fixes = follow(tracker, places)
    joined = [f.joined for f in fixes if f.joined is not None]
    assert fixes[0].visit != first[0].visit
    assert fixes[-1].visit == first[0].visit
    assert len(joined) == 1
    assert (joined[0].old, joined[0].new) == (fixes[0].visit, first[0].visit)
    # The places of before, moved as told, continue those of the first visit.
    x = fixes[0].x_um + joined[0].dx_um - first[0].x_um
    y = fixes[0].y_um + joined[0].dy_um - first[0].y_um
    assert (x, y) == (pytest.approx(1300 * UM_PER_PX, abs=0.4), pytest.approx(40 * UM_PER_PX, abs=0.4))


def test_three_visits_of_one_glass_become_one() -> None:
    """Two that never met are both met by the third."""
    tracker = Tracker()
    first = follow(tracker, [(100, 100), (160, 100)])
    tracker.claim()
    second = follow(tracker, [(1300, 700), (1240, 700)])
    tracker.claim()
    assert first[0].visit != second[0].visit
    way = [(1300 - 100 * n, 700 - 50 * n) for n in range(1, 12)]
    last = follow(tracker, [*way, (160, 100)])
    assert list(tracker.visited) == [last[-1].visit]
    between = np.asarray([last[-1].x_um - last[0].x_um, last[-1].y_um - last[0].y_um])
    moves = [f.joined for f in last[1:] if f.joined is not None]
    assert len(moves) == 1
    between -= (moves[0].dx_um, moves[0].dy_um)
    assert between == pytest.approx(np.asarray([160 - 1200, 100 - 650]) * UM_PER_PX, abs=0.5)


def test_a_defocused_moment_does_not_lose_the_place() -> None:
    tracker = Tracker()
    sharp = follow(tracker, [(300, 300), (320, 300)])
    tracker.claim()
    gone = follow(tracker, [(320, 300)] * 3, blur=80.0)
    tracker.claim()
    again = follow(tracker, [(330, 310)])
    assert again[0].visit == sharp[0].visit
    assert again[0].x_um - sharp[0].x_um == pytest.approx(30 * UM_PER_PX, abs=UM_PER_PX)
    assert not any(f.placed for f in gone)


def test_empty_glass_has_no_place_and_leaves_no_trail_of_visits() -> None:
    words = (f"visit {n}" for n in count())
    tracker = Tracker(word=lambda: next(words))
    blank = np.full((HEIGHT, WIDTH, 3), 230, np.uint8)
    fixes = [tracker.see(blank, UM_PER_PX) for _ in range(5)]
    assert not any(f.placed for f in fixes)
    assert {f.visit for f in fixes} == {"visit 0"}


def test_a_hand_that_moves_too_fast_leaves_no_trail_of_visits() -> None:
    words = (f"visit {n}" for n in count())
    tracker = Tracker(word=lambda: next(words))
    follow(tracker, [(0, 0), (30, 0), (200, 0)])
    tracker.claim()
    racing = follow(tracker, [(700, 400), (1400, 0), (0, 1000), (1500, 1100), (800, 0)])
    assert {f.visit for f in racing} == {"visit 1"}


def test_a_sharp_picture_takes_the_place_of_a_blurred_key_frame() -> None:
    tracker = Tracker()
    follow(tracker, [(400, 400)], blur=4.0)
    blurred = next(iter(tracker._visits.values())).frames[0].contrast
    follow(tracker, [(402, 400)])
    (frame,) = next(iter(tracker._visits.values())).frames
    assert frame.contrast > 1.3 * blurred


def test_memory_for_key_frames_is_bounded() -> None:
    tracker = Tracker(most_key_frames=5)
    fixes = follow(tracker, loop(300))
    assert sum(len(places) for places in tracker.visited.values()) <= 5
    assert fixes[-1].placed


def test_another_objective_is_another_world() -> None:
    tracker = Tracker()
    first = follow(tracker, [(100, 100)])[0]
    tracker.claim()
    second = tracker.see(view(100, 100), 2 * UM_PER_PX)
    assert second.visit != first.visit


def test_a_visit_begins_where_it_is_told() -> None:
    tracker = Tracker()
    first = tracker.see(view(100, 100), UM_PER_PX, origin=lambda: (1000.0, 2000.0))
    second = tracker.see(view(150, 100), UM_PER_PX, origin=lambda: (0.0, 0.0))
    assert (first.x_um, first.y_um) == (1000, 2000)
    assert second.x_um == pytest.approx(1000 + 50 * UM_PER_PX, abs=UM_PER_PX)


def test_pictures_of_two_sizes_cannot_be_compared() -> None:
    small = Prepared(glance_of(view(0, 0)[:200]))
    with pytest.raises(ValueError, match="one shape"):
        find_shift(Prepared(glance_of(view(0, 0))), small)
