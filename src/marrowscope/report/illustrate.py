"""The view of a report with its pictures: what both the PDF and the print page are set from."""

import base64
import binascii
from collections.abc import Callable

from marrowscope.report.content import Language, ReportContent
from marrowscope.report.pictures import Album, Assets, decode, windows
from marrowscope.report.view import View, view_of

_SHORT_REASON = 150
"""Letters of the reason that the head of every page repeats; the first page says all of a longer one."""

Keep = Callable[[str, bytes], str]
"""(file name, bytes) -> what the template calls the picture."""


def illustrated(content: ReportContent, assets: Assets, keep: Keep) -> View:
    """The view with what `keep` returned for every picture; None for one that is not there."""
    view, album = view_of(content), Album(assets)

    def kept(name: str, data: bytes | None) -> str | None:
        return None if data is None else keep(name, data)

    for number, picture in enumerate(view["pictures"]):
        picture["file"] = kept(f"field-{number}.jpg", album.field(picture["image"]))
    crops: dict[int, str | None] = {}
    sizes = windows(content.gallery)
    # Field by field, so that each is decoded once.
    for number in sorted(range(len(sizes)), key=lambda n: content.gallery[n].image):
        cell = content.gallery[number]
        data = album.cell(cell.image, cell.box, sizes[number], (cell.width, cell.height))
        crops[number] = kept(f"cell-{number}.jpg", data)
    for group in view["gallery"]:
        for cell in group["cells"]:
            cell["file"] = crops[cell["place"]]
    if view["amendment"]:
        reason = view["amendment"]["reason"]
        long = len(reason) > _SHORT_REASON
        view["amendment"] |= {"short": reason[:_SHORT_REASON].rstrip() + " …" if long else reason, "long": long}
    logo = logo_bytes(content)
    return view | {
        "author": content.signature.name if content.signature else content.letterhead.laboratory,
        "logo": keep(f"logo.{picture_kind(logo)}", logo) if logo else None,
        "draft_mark": "草稿" if content.language is Language.CHINESE else "DRAFT",
        "any_unreviewed": any(not cell.reviewed for cell in content.gallery),
    }


def logo_bytes(content: ReportContent) -> bytes | None:
    """The logo's PNG or JPEG bytes; None where there is none that can be drawn."""
    try:
        data = base64.b64decode(content.letterhead.logo, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if picture_kind(data) and decode(data) is not None else None


def picture_kind(data: bytes | None) -> str:
    """`png` or `jpg` by the first bytes; empty for anything else."""
    if data and data.startswith(b"\x89PNG\r\n"):
        return "png"
    return "jpg" if data and data.startswith(b"\xff\xd8") else ""
