"""GenICam cameras, on the virtual producer that comes inside the `genicam` wheel."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.errors import CameraLost
from marrowscope.instrument.genicam import GenicamCamera, to_rgb

genicam = pytest.importorskip("genicam", reason="the extra `genicam` is not installed")
PRODUCER = Path(genicam.__file__).parent / "viky.cti"


def mosaic(kind: str, colour: tuple[int, int, int], side: int = 16) -> np.ndarray:
    """What a sensor with this colour filter makes of an even picture: `RG` names the first two pixels."""
    first = kind[5:7]
    second = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[first]
    of = dict(zip("RGB", colour, strict=True))
    tile = np.asarray([[of[c] for c in first], [of[c] for c in second]], np.uint8)
    return np.tile(tile, (side // 2, side // 2)).reshape(-1)


@pytest.mark.parametrize("kind", ["BayerRG8", "BayerGR8", "BayerGB8", "BayerBG8"])
@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_an_even_colour_comes_back_from_every_colour_filter(kind: str, colour: tuple[int, int, int]) -> None:
    picture = to_rgb(mosaic(kind, colour), kind, 16, 16)
    assert np.abs(picture[4:12, 4:12].astype(int) - np.asarray(colour)).max() <= 1


@pytest.mark.parametrize(("kind", "channels"), [("RGB8", [1, 2, 3]), ("BGR8", [3, 2, 1]), ("RGBa8", [1, 2, 3, 9])])
def test_packed_colours_come_out_as_rgb(kind: str, channels: list[int]) -> None:
    picture = to_rgb(np.tile(np.asarray(channels, np.uint8), 6), kind, 3, 2)
    assert picture.shape == (2, 3, 3)
    assert (picture == [1, 2, 3]).all()


def test_grey_becomes_three_equal_channels() -> None:
    picture = to_rgb(np.arange(6, dtype=np.uint8), "Mono8", 3, 2)
    assert (picture == np.arange(6).reshape(2, 3, 1)).all()


@pytest.mark.parametrize("kind", ["Mono12", "RGB8"])
def test_a_format_that_is_not_understood_is_named(kind: str) -> None:
    with pytest.raises(CameraLost, match=kind):
        to_rgb(np.zeros(6, np.uint8), kind, 3, 2)


def test_a_camera_that_the_producer_does_not_see_is_named_beside_those_it_sees() -> None:
    with pytest.raises(CameraLost, match=r"(?s)VikyTL_DEV_red.*VikyTL_DEV_blue"), GenicamCamera(PRODUCER, "no such"):
        pass


def test_a_missing_producer_is_named() -> None:
    with pytest.raises(CameraLost, match=r"nowhere\.cti"), GenicamCamera(Path("nowhere.cti")):
        pass


@pytest.mark.parametrize("device", ["1", "VikyTL_DEV_green"])
def test_a_camera_is_found_by_number_and_by_id(device: str) -> None:
    with GenicamCamera(PRODUCER, device) as camera:
        frame = next(camera.frames())
        assert (camera.info.serial, camera.info.width, camera.info.height) == ("1", 400, 400)
        assert frame.pixels.shape == (400, 400, 3)
        # The green one of the three: its ball is green, whatever its background.
        assert frame.pixels[..., 1].max() > 0
