"""Fields are brought to the stain of a reference; what has no stain stays as it is."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.tiny import TAXONOMY, paint
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage, Origin
from marrowscope.data.looks import swatch_of
from marrowscope.detect.detector import Detector
from marrowscope.detect.stain import LIGHT, StainMethod, StainNormalised, change_of, has_stain, slides_of
from marrowscope.detect.watched import Watched
from marrowscope.errors import BadInput

torchstain = pytest.importorskip("torchstain.base.normalizers")
BOTH = pytest.mark.parametrize("method", list(StainMethod))
AZURE, EOSIN = np.array([0.50, 0.86, 0.12]), np.array([0.30, 0.60, 0.74])


class Mean:
    """A detector that says of a field how bright it is."""

    taxonomy, input_size = TAXONOMY, (64, 64)

    def detect(self, fields):
        return [Detections([[0, 0, 9, 9]], [0], [field.pixels.mean() / 255], TAXONOMY) for field in fields]


def smear(seed, *, azure=1.0, eosin=1.0, light=(255, 240, 215), size=96):
    """Glass, red cells and nuclei, by Beer and Lambert."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.3, 1, (2, size, size)) * (rng.random((size, size)) < [[[0.25]], [[0.5]]])
    density = azure * amounts[0, ..., None] * AZURE * 2 + eosin * amounts[1, ..., None] * EOSIN
    return FieldImage((np.asarray(light) * np.exp(-density)).round().astype(np.uint8), f"smear_{seed}")


def far(a, b):
    return np.abs(a.pixels.mean(axis=(0, 1)) - b.pixels.mean(axis=(0, 1))).max()


@BOTH
def test_another_stain_in_another_light_comes_to_look_like_the_reference(method):
    reference = smear(0)
    other = smear(1, azure=0.6, eosin=1.4, light=(190, 200, 210))
    done = StainNormalised(Mean(), method, swatch_of([reference])).normalised(other)
    assert far(other, reference) > 25
    assert far(done, reference) < 5


@BOTH
def test_the_references_own_stain_stays_as_it_is(method):
    field = smear(2)
    done = StainNormalised(Mean(), method, swatch_of([field])).normalised(field)
    assert np.abs(done.pixels.astype(int) - field.pixels).max() <= 2


def test_reinhard_is_that_of_torchstain():
    reference, field = smear(0), smear(1, azure=0.7, eosin=1.2)
    theirs = torchstain.ReinhardNormalizer(backend="numpy")
    theirs.fit(reference.pixels)
    change = change_of(field.pixels.reshape(-1, 3), reference.pixels.reshape(-1, 3), StainMethod.REINHARD)
    assert np.abs(change(field.pixels).astype(int) - theirs.normalize(field.pixels)).max() <= 2


def test_macenko_is_that_of_torchstain_where_it_measures_the_same_pixels():
    def mixed(seed, azure, eosin):
        """Two stains in white light, every pixel stained."""
        amounts = np.random.default_rng(seed).uniform(0.2, 1, (4096, 2)) * (azure, eosin)
        density = amounts @ np.stack([[0.5, 0.86, 0.0], [0.0, 0.6, 0.8]])
        return (LIGHT * np.exp(-density) - 1).round().astype(np.uint8)

    reference, field = mixed(0, 1.2, 0.8), mixed(1, 0.8, 1.1)
    theirs = torchstain.MacenkoNormalizer(backend="numpy")
    theirs.fit(reference[:, None], Io=LIGHT, beta=-np.inf)
    wanted, _, _ = theirs.normalize(field[:, None], Io=LIGHT, beta=-np.inf, stains=False)
    # Ours knows the light by empty places, and leaves them out itself.
    glass = np.full((500, 3), LIGHT - 1, np.uint8)
    change = change_of(np.concatenate([glass, field]), np.concatenate([glass, reference]), StainMethod.MACENKO)
    assert np.abs(change(field[:, None]).astype(int) - wanted).max() <= 3


@BOTH
@pytest.mark.parametrize(
    "pixels",
    [
        np.full((40, 40, 3), 255),
        np.zeros((30, 30, 3)),
        np.full((64, 64, 3), (120, 60, 140)),
        np.zeros((1, 1, 3)),
        np.random.default_rng(0).integers(225, 229, (50, 50, 3)),
    ],
    ids=["white", "black", "one colour", "one pixel", "noise on glass"],
)
def test_a_field_without_stain_is_left_as_it_is_and_that_is_said_once(method, pixels, caplog):
    field = FieldImage(pixels.astype(np.uint8), "empty")
    normalised = StainNormalised(Mean(), method, swatch_of([smear(0)]))
    with caplog.at_level(logging.WARNING):
        normalised.detect([field, field])
        assert normalised.normalised(field) is field
    assert len(caplog.records) == 1
    assert "empty" in caplog.text


@BOTH
def test_no_picture_whatever_ends_in_an_error_or_a_warning(method):
    normalised = StainNormalised(Mean(), method, swatch_of([smear(0)]))
    rng = np.random.default_rng(1)
    for shape in ((2, 2), (7, 300), (64, 64)):
        for low, high in ((0, 256), (0, 3), (100, 104)):
            pixels = rng.integers(low, high, (*shape, 3)).astype(np.uint8)
            assert normalised.normalised(FieldImage(pixels, "any")).pixels.shape == pixels.shape
    assert normalised.normalised(FieldImage(np.eye(64, dtype=np.uint8)[..., None].repeat(3, 2) * 255, "line"))


def test_a_reference_without_stain_is_refused():
    with pytest.raises(BadInput, match="no stained cell"):
        StainNormalised(Mean(), StainMethod.REINHARD, np.full((500, 3), 250, np.uint8))
    assert not has_stain(np.zeros((0, 3), np.uint8))


def test_fields_of_one_folder_are_changed_alike_whatever_is_in_each(tmp_path):
    paths = []
    for number, field in enumerate([smear(3, azure=0.6), FieldImage(np.full((96, 96, 3), 240, np.uint8), "glass")]):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), field.pixels[..., ::-1])
    slides = slides_of(paths)
    assert list(slides) == [tmp_path]
    normalised = StainNormalised(Mean(), StainMethod.REINHARD, swatch_of([smear(0)]), slides)
    glass = FieldImage(np.full((9, 9, 3), 240, np.uint8), "glass", origin=Origin(tmp_path / "1.png"))
    assert normalised.normalised(glass) is not glass
    elsewhere = FieldImage(glass.pixels, "glass", origin=Origin(Path("elsewhere/1.png")))
    assert normalised.normalised(elsewhere) is elsewhere


def test_both_are_detectors_and_the_watched_one_remembers_what_passed():
    inner = StainNormalised(Mean(), StainMethod.REINHARD, swatch_of([smear(0)]))
    watched = Watched(inner, 0.5)
    assert isinstance(inner, Detector)
    assert isinstance(watched, Detector)
    fields = [smear(seed, azure=0.5) for seed in (4, 5)] + [paint(0)[0]]
    told = watched.detect(fields)
    assert [d.scores.tolist() for d in told] == [d.scores.tolist() for d in inner.detect(fields)]
    seen = watched.seen()
    assert [len(values) for values in seen.looks.values()] == [3] * 7
    assert len(seen.mix) == 3
    assert seen.finds["score"] == pytest.approx([float(d.scores[0]) for d in told], rel=1e-3)
