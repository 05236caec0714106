"""Content -> PDF, by Typst. The same content and pictures give the same bytes, on any machine.

Texts reach Typst as JSON, so nothing that a person typed is ever read as markup. Fonts are those of the package alone;
the PDF's own date is the report's; Typst's document id is a hash. The result is PDF/A-2b, made to be kept.
"""

import base64
import binascii
import json
import logging
import tempfile
from importlib import resources
from pathlib import Path

import typst

from marrowscope.report.content import Language, ReportContent
from marrowscope.report.fonts import FAMILIES, font_folder
from marrowscope.report.pictures import Album, Assets, decode, windows
from marrowscope.report.view import View, view_of

_SHORT_REASON = 150
_log = logging.getLogger(__name__)


def pdf(content: ReportContent, assets: Assets | None = None) -> bytes:
    """The report as it is printed. MissingExtra where the fonts are not installed."""
    fonts = font_folder()
    with tempfile.TemporaryDirectory(prefix="marrowscope-report-") as scratch:
        folder = Path(scratch)
        view = _with_pictures(content, assets or Assets(), folder)
        (folder / "report.json").write_text(json.dumps(view, ensure_ascii=False, sort_keys=True), encoding="utf-8")
        template = resources.files("marrowscope.report") / "templates" / "report.typ"
        (folder / "report.typ").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        made, warnings = typst.compile_with_warnings(
            str(folder / "report.typ"),
            root=scratch,
            font_paths=[str(fonts)],
            ignore_system_fonts=True,
            pdf_standards=["a-2b"],
            timestamp=int(content.made_at.timestamp()),
        )
    for warning in warnings:
        _log.warning("report: %s", warning)
    return bytes(made)


def _with_pictures(content: ReportContent, assets: Assets, folder: Path) -> View:
    """The view, with names of picture files written beside it instead of digests."""
    view, album = view_of(content), Album(assets)

    def keep(name: str, data: bytes | None) -> str | None:
        if data is None:
            return None
        (folder / name).write_bytes(data)
        return name

    for number, picture in enumerate(view["pictures"]):
        picture["file"] = keep(f"field-{number}.jpg", album.field(picture["image"]))
    crops = []
    for number, (cell, window) in enumerate(zip(content.gallery, windows(content.gallery), strict=True)):
        data = album.cell(cell.image, cell.box, window, (cell.width, cell.height))
        crops.append(keep(f"cell-{number}.jpg", data))
    for group in view["gallery"]:
        for cell in group["cells"]:
            cell["file"] = crops[cell["place"]]
    if view["amendment"]:
        reason = view["amendment"]["reason"]
        view["amendment"]["short"] = reason if len(reason) <= _SHORT_REASON else reason[:_SHORT_REASON].rstrip() + " …"
    logo = logo_bytes(content)
    view |= {
        "fonts": list(FAMILIES),
        "author": content.signature.name if content.signature else content.letterhead.laboratory,
        "logo": keep(f"logo.{_kind(logo)}", logo) if logo else None,
        "draft_mark": "草稿" if content.language is Language.CHINESE else "DRAFT",
        "any_unreviewed": any(not cell.reviewed for cell in content.gallery),
    }
    return view


def logo_bytes(content: ReportContent) -> bytes | None:
    """The logo's PNG or JPEG bytes; None where there is none that can be drawn."""
    try:
        data = base64.b64decode(content.letterhead.logo, validate=True)
    except binascii.Error:
        return None
    return data if _kind(data) and decode(data) is not None else None


def _kind(data: bytes | None) -> str:
    if data and data.startswith(b"\x89PNG\r\n"):
        return "png"
    return "jpg" if data and data.startswith(b"\xff\xd8") else ""
