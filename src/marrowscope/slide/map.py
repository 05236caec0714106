"""A map of a slide to look at: the slide at low power, with regions outlined in the colour of their quality.

Colours run from orange (useless) over yellow and green to blue (as good as any), of Okabe and Ito's palette, which
people with every common form of colour vision tell apart.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from marrowscope.cells.files import replacing
from marrowscope.errors import BadInput
from marrowscope.slide.regions import Rectangle, Region
from marrowscope.slide.slide import WholeSlide
from marrowscope.slide.view import overview, scale_of

Colour = tuple[int, int, int]

_INK, _PALE, _PAPER = (40, 40, 46), (120, 120, 128), (255, 255, 255)
_QUALITIES = (0.0, 0.5, 0.75, 1.0)
_COLOURS = np.asarray([(213, 94, 0), (240, 228, 66), (0, 158, 115), (0, 114, 178)], np.float64)
_SUFFIXES = (".jpg", ".jpeg", ".png")
# More numbers than these hide one another.
_MOST_NUMBERS = 99
_LEAST_WIDE = 720


def draw_map(
    slide: WholeSlide, regions: Sequence[Rectangle], *, longest_px: int = 1600, um_per_px: float | None = None
) -> NDArray[np.uint8]:
    """The slide with its regions numbered in the order given, a legend below it: (h, w, 3) uint8 RGB.

    Rectangles that nobody judged are outlined in grey. longest_px: the longer side of the slide in the picture.
    um_per_px: of level 0, where the file does not say. BadSlide: the slide is too coarse.
    """
    scale = scale_of(slide, um_per_px)
    whole = slide.levels[0]
    zoom = max(max(whole.width, whole.height) / longest_px, 1.0)
    seen = overview(slide, zoom)
    text = max(round(max(seen.shape[:2]) / 95), 11)
    # Paler, so that outlines stand out from what they lie on.
    pale = Image.fromarray(np.asarray(255 - (255 - seen.astype(np.uint16)) * 7 // 10, np.uint8))
    edge = 2 * text
    picture = Image.new("RGB", (max(pale.width, _LEAST_WIDE) + 2 * edge, pale.height + 2 * edge + 4 * text), _PAPER)
    corner = (picture.width - pale.width) // 2, edge
    picture.paste(pale, corner)
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.rectangle(_around(corner[0], corner[1], pale.width, pale.height, 1), outline=_PALE)
    for number, region in reversed(list(enumerate(regions, 1))):
        _outline(draw, region, number if len(regions) <= _MOST_NUMBERS else None, corner, zoom, text)
    _legend(draw, slide.name, regions, (edge, edge + pale.height + text), picture.width - 2 * edge, text, zoom * scale)
    return np.array(picture, np.uint8)


def write_map(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a map as JPEG or PNG, by the suffix of its name. BadInput: another suffix."""
    check_map_name(path)
    with replacing(path) as aside:
        Image.fromarray(pixels).save(aside, quality=92)


def check_map_name(path: Path) -> None:
    """BadInput where a map cannot be written under that name: better known before the slide is read."""
    if path.suffix.lower() not in _SUFFIXES:
        raise BadInput(f"{path}: a map is a picture. Call it .jpg or .png.")


def quality_colour(quality: float) -> Colour:
    """The colour of a quality 0..1."""
    red, green, blue = (round(float(np.interp(quality, _QUALITIES, _COLOURS[:, c]))) for c in range(3))
    return red, green, blue


def _outline(
    draw: ImageDraw.ImageDraw, region: Rectangle, number: int | None, corner: tuple[int, int], zoom: float, text: int
) -> None:
    colour = quality_colour(region.quality) if isinstance(region, Region) else _PALE
    left, top = corner[0] + round(region.x / zoom), corner[1] + round(region.y / zoom)
    width, height = max(round(region.width / zoom), 3), max(round(region.height / zoom), 3)
    line = max(round(text / 6), 2)
    draw.rectangle(_around(left, top, width, height, 1), outline=_PAPER)
    fill = (*colour, 40) if isinstance(region, Region) else None
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=fill, outline=colour, width=line)
    if number is None or not isinstance(region, Region):
        return
    font = _font(text)
    x1, y1, x2, y2 = font.getbbox(str(number))
    # In the region's own corner where it has room, else above it.
    plate = x2 - x1 + text * 0.6, y2 - y1 + text * 0.5
    inside = width > 1.6 * plate[0] and height > 1.6 * plate[1]
    at = left, top if inside else top - plate[1]
    draw.rectangle((at[0], at[1], at[0] + plate[0], at[1] + plate[1]), fill=colour)
    ink = _PAPER if sum(colour) < 380 else _INK
    draw.text((at[0] + text * 0.3 - x1, at[1] + text * 0.25 - y1), str(number), font=font, fill=ink)


def _legend(
    draw: ImageDraw.ImageDraw,
    name: str,
    regions: Sequence[Rectangle],
    at: tuple[int, int],
    width: int,
    text: int,
    um_per_px: float,
) -> None:
    """One line of words, the scale bar at the left below it, and the colours at the right."""
    left, top = at
    font = _font(text)
    draw.text((left, top), _words(name, regions), font=_font(round(text * 1.15)), fill=_INK)
    length_um = _round_length(width * um_per_px / 5)
    below, bar = top + 2 * text, length_um / um_per_px
    draw.rectangle((left, below + text * 0.45, left + bar, below + text * 0.7), fill=_INK)
    told = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    draw.text((left + bar + text * 0.6, below), told, font=font, fill=_INK)
    if not any(isinstance(region, Region) for region in regions):
        return
    ramp, right = 10 * text, left + width
    one, nothing = font.getlength("1"), font.getlength("quality 0")
    start = right - one - ramp - text * 0.5
    draw.text((start - nothing - text * 0.5, below), "quality 0", font=font, fill=_INK)
    for n in range(ramp):
        colour = quality_colour(n / (ramp - 1))
        draw.rectangle((start + n, below + text * 0.2, start + n + 1, below + text * 0.95), fill=colour)
    draw.text((right - one, below), "1", font=font, fill=_INK)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings DejaVu Sans with it: the same letters on every machine, and names of slides in most scripts.
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _words(name: str, regions: Sequence[Rectangle]) -> str:
    judged = [region for region in regions if isinstance(region, Region)]
    if not judged:
        return f"{name}: {len(regions)} {'piece' if len(regions) == 1 else 'pieces'} of tissue"
    cells = round(sum(region.nuclei for region in judged))
    regions_word = "region" if len(judged) == 1 else "regions"
    return f"{name}: {len(judged)} {regions_word}, about {cells} nucleated cells"


def _around(left: float, top: float, width: float, height: float, by: int) -> tuple[float, float, float, float]:
    return left - by, top - by, left + width - 1 + by, top + height - 1 + by


def _round_length(um: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is not longer."""
    ten = 10.0 ** np.floor(np.log10(um))
    return float(max(step * ten for step in (1, 2, 5) if step * ten <= um))
