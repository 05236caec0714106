"""Content -> a page to read on a screen or print from a browser: one file, no script, nothing fetched.

It is made from the same view as the PDF. Jinja escapes every text. Its Chinese takes the fonts of the reader's machine;
the PDF is the one that looks the same everywhere.
"""

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from marrowscope.report.content import ReportContent
from marrowscope.report.illustrate import illustrated, picture_kind
from marrowscope.report.pictures import Assets

CONTENT_SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""All that the page needs."""


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("marrowscope.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def html(content: ReportContent, assets: Assets | None = None) -> str:
    """The report as one HTML page with its pictures inside."""
    view = illustrated(content, assets or Assets(), _inline)
    return _template().render(d=view, l=view["labels"])


def _inline(name: str, data: bytes) -> str:
    kind = "png" if picture_kind(data) == "png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
