from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.smear_zones import UM_PER_PX, block, blurred, exposed, good_light, layers, white, zone
from marrowscope.data.images import read_image
from marrowscope.slide.density import white_of
from marrowscope.slide.quality import READ_UM_PER_PX, USUAL_RED_CELL, Quality, judge


def _judged(pixels: np.ndarray) -> Quality:
    return judge(pixels, UM_PER_PX, white(), USUAL_RED_CELL)


@pytest.mark.parametrize(
    ("kind", "part", "why"),
    [
        ("thick", "thickness", "cells lie on one another"),
        ("thin", "thickness", "few cells, or pale ones"),
        ("blurred", "focus", "out of focus"),
        ("pale", "thickness", "few cells, or pale ones"),
        ("blue", "stain", "red cells are blue"),
        ("empty", "stain", "no pink red cells"),
    ],
)
def test_what_is_wrong_with_a_place_is_told(kind: str, part: str, why: str) -> None:
    judged = _judged(zone(kind))
    assert getattr(judged, part) == judged.quality < 0.2
    # Bare glass lacks everything.
    assert judged.why == why or kind == "empty"


def test_a_monolayer_in_focus_is_as_good_as_any_and_readable() -> None:
    judged = _judged(zone("good"))
    assert judged.quality > 0.9
    assert judged.why == "readable"


@given(sigmas=st.lists(st.floats(0.1, 2.5), min_size=2, max_size=3))
@settings(max_examples=5)
def test_more_blur_never_raises_focus(sigmas: list[float]) -> None:
    light = good_light()[:400, :400]
    scores = [_judged(exposed(blurred(light, sigma))).focus for sigma in [0.0, *sorted(sigmas)]]
    # A camera's whole grey levels leave a little room.
    assert all(after <= before + 0.005 for before, after in pairwise(scores))


def test_more_layers_never_raise_thickness() -> None:
    scores = [_judged(exposed(layers(good_light()[:400, :400], count))).thickness for count in range(1, 7)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] == 0


@pytest.mark.parametrize("kind", ["good", "thick", "blurred"])
@pytest.mark.parametrize("brightness", [0.7, 0.85])
def test_quality_is_of_the_smear_and_not_of_the_lamp(kind: str, brightness: float) -> None:
    bright = _judged(zone(kind))
    dim = judge(cv2.convertScaleAbs(zone(kind), alpha=brightness), UM_PER_PX, white() * brightness, USUAL_RED_CELL)
    for part in ("focus", "thickness", "stain"):
        assert getattr(dim, part) == pytest.approx(getattr(bright, part), abs=0.1)
    assert dim.nuclei == pytest.approx(bright.nuclei, rel=0.25)


def test_a_place_is_as_good_as_its_worst_quarter() -> None:
    half = zone("good").copy()
    side = len(half) // 2
    half[:side, :side] = zone("thick")[:side, :side]
    assert _judged(half).thickness < 0.2
    half[:side, :side] = zone("blurred")[:side, :side]
    assert _judged(half).focus < 0.2


def test_nucleated_cells_are_about_as_many_as_there_are() -> None:
    pixels, cells = block()
    assert _judged(pixels).nuclei == pytest.approx(cells, abs=2)
    assert _judged(zone("good")).nuclei == pytest.approx(4 * cells, rel=0.35)


def test_turning_or_mirroring_a_place_changes_nothing() -> None:
    judged = _judged(zone("good"))
    for turned in (zone("good")[::-1], np.rot90(zone("good"))):
        again = _judged(np.ascontiguousarray(turned))
        assert again.quality == pytest.approx(judged.quality, abs=0.02)
        assert again.nuclei == pytest.approx(judged.nuclei, rel=0.1)


@pytest.mark.parametrize(("folder", "um_per_px"), [("bccd/BCCD", 0.069), ("pbc_fields", 0.104)])
def test_real_fields_are_readable_and_blurred_they_are_less_so(data_root: Path, folder: str, um_per_px: float) -> None:
    paths = sorted((data_root / folder / "JPEGImages").glob("*.jpg"))[::100]
    readable = 0
    for path in paths:
        zoom = um_per_px / READ_UM_PER_PX
        pixels = cv2.resize(read_image(path).pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(pixels, (0, 0), 1.0 / READ_UM_PER_PX)
        sharp = judge(pixels, READ_UM_PER_PX, white_of([pixels]), USUAL_RED_CELL)
        readable += sharp.quality >= 0.75
        assert judge(soft, READ_UM_PER_PX, white_of([soft]), USUAL_RED_CELL).focus < sharp.focus - 0.3
    assert readable >= 0.8 * len(paths)
