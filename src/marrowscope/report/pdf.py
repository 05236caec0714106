"""Content -> PDF, by Typst. The same content and pictures give the same bytes, on any machine.

Texts reach Typst as JSON, so nothing that a person typed is ever read as markup. Fonts are those of the package alone;
the PDF's own date is the report's; Typst's document id is a hash. The result is PDF/A-2b, made to be kept.
"""

import json
import logging
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import typst

from marrowscope.report.content import ReportContent
from marrowscope.report.fonts import FAMILIES, font_folder, printable
from marrowscope.report.illustrate import illustrated
from marrowscope.report.pictures import Assets

_log = logging.getLogger(__name__)


def pdf(content: ReportContent, assets: Assets | None = None) -> bytes:
    """The report as it is printed. MissingExtra where the fonts are not installed."""
    fonts = font_folder()
    with tempfile.TemporaryDirectory(prefix="marrowscope-report-") as scratch:
        folder = Path(scratch)
        view = illustrated(content, assets or Assets(), _kept(folder)) | {"fonts": list(FAMILIES)}
        view = _settable(view)
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


def _settable(value: Any) -> Any:
    """Every text of the view with what no font has written by its number: a PDF/A must have a glyph for all."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _settable(inner) for key, inner in value.items()}
    return [_settable(inner) for inner in value] if isinstance(value, list) else value


def _kept(folder: Path) -> Callable[[str, bytes], str]:
    """Pictures become files beside the template, named in the view."""

    def keep(name: str, data: bytes) -> str:
        (folder / name).write_bytes(data)
        return name

    return keep
