"""One field of a Pascal VOC folder: `Annotations/<name>.xml` in and out.

This is the one place that knows how VOC counts (VOC2012 development kit, 6.1): pixels from 1, both ends included. A
box from pixel xmin to pixel xmax therefore has the edges x1 = xmin - 1 and x2 = xmax.

By that letter xmin = xmax is a box one pixel wide. No cell is: it is what a click without a drag leaves behind (BCCD
has two), so it is treated as a box without area.
"""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import defusedxml
import defusedxml.ElementTree
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import Boxes, as_boxes
from marrowscope.data.intake import (
    SKIP,
    SKIP_FIELD,
    Edges,
    find_image,
    judge_box,
    safe_path,
    size_of_image,
    specimen_of,
)
from marrowscope.data.labelled import LabelledField
from marrowscope.data.problems import ProblemKind, ProblemLog, quote
from marrowscope.errors import BadAnnotation

EDGES = ("xmin", "ymin", "xmax", "ymax")
MAX_XML_BYTES = 16_000_000
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_edges(xmin: float, ymin: float, xmax: float, ymax: float) -> Edges:
    """VOC's pixels, counted from 1 and inclusive -> edges counted from 0."""
    return xmin - 1, ymin - 1, xmax, ymax


def from_edges(x1: float, y1: float, x2: float, y2: float) -> tuple[int, int, int, int]:
    """Edges -> VOC's whole pixels; a fractional edge goes to the nearest."""
    return round(x1) + 1, round(y1) + 1, round(x2), round(y2)


def read_voc_field(folder: Path, name: str, specimens: dict[str, str], log: ProblemLog) -> LabelledField | None:
    """One field of a VOC folder; None, with a problem, where it cannot be used."""
    where = f"{name}.xml"
    root = _parse(folder / "Annotations" / where, where, log)
    image_path = None if root is None else _image_path(folder, name, root, where, log)
    size = None if image_path is None else size_of_image(image_path, where, log)
    if root is None or image_path is None or size is None or not _size_agrees(root, size, where, log):
        return None
    boxes, labels, difficult = [], [], []
    for number, entry in enumerate(root.iterfind("object"), 1):
        place = f"{where}, object {number}"
        label = (entry.findtext("name") or "").strip()
        if not label:
            log.add(ProblemKind.MISSING_VALUE, place, "has no name", "Name the cell, or pass --skip-bad.")
            continue
        if (box := _box(entry, size, place, log)) is not None:
            boxes.append(box)
            labels.append(label)
            difficult.append((entry.findtext("difficult") or "").strip() not in ("", "0", "false", "False"))
    specimen = specimen_of(name, specimens, root.findtext("source/specimen"))
    return LabelledField(
        name, image_path, *size, as_boxes(boxes), tuple(labels), np.asarray(difficult, np.bool_), specimen
    )


def _parse(path: Path, where: str, log: ProblemLog) -> ElementTree.Element | None:
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            log.add(ProblemKind.MALFORMED_FILE, where, f"is larger than {MAX_XML_BYTES} bytes", SKIP_FIELD)
            return None
        root: ElementTree.Element = defusedxml.ElementTree.fromstring(path.read_bytes(), forbid_dtd=True)
    except FileNotFoundError:
        log.add(ProblemKind.MISSING_FIELD, where, "does not exist", SKIP_FIELD)
    except defusedxml.DefusedXmlException as e:
        what = f"declares entities or a DTD ({type(e).__name__}), as no label file needs"
        log.add(ProblemKind.FORBIDDEN_XML, where, what, "Do not trust the file; export the labels again.")
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as e:
        log.add(ProblemKind.MALFORMED_FILE, where, f"is not readable as XML ({e})", SKIP_FIELD)
    else:
        if root.tag == "annotation":
            return root
        log.add(ProblemKind.MALFORMED_FILE, where, f"is no VOC annotation but {quote(root.tag)}", SKIP_FIELD)
    return None


def _image_path(folder: Path, name: str, root: ElementTree.Element, where: str, log: ProblemLog) -> Path | None:
    """The named file beside the field's subfolder or below JPEGImages; else the image called like the field."""
    images = folder / "JPEGImages"
    written = (root.findtext("filename") or "").strip()
    if written:
        relative = safe_path(written)
        if relative is None:
            what = f"filename {quote(written)} leads out of the folder"
            log.add(ProblemKind.UNSAFE_PATH, where, what, "Write the image's name alone.")
            return None
        for candidate in (images / PurePosixPath(name).parent / relative, images / relative):
            if candidate.is_file():
                return candidate
    if (found := find_image(images, name)) is None:
        what = f"image {quote(written or name)} is not in JPEGImages"
        log.add(ProblemKind.MISSING_IMAGE, where, what, "Restore it, or pass --skip-bad to leave the field out.")
    return found


def _size_agrees(root: ElementTree.Element, size: tuple[int, int], where: str, log: ProblemLog) -> bool:
    """The written size, where there is one, must be that of the image: else the boxes are another image's."""
    written = tuple((root.findtext(f"size/{side}") or "").strip() for side in ("width", "height"))
    if written in (("", ""), ("0", "0"), tuple(str(side) for side in size)):
        return True
    what = f"says {quote(' x '.join(written))[1:-1]} pixels but the image has {size[0]} x {size[1]}"
    log.add(ProblemKind.SIZE_MISMATCH, where, what, "Restore the image that was labelled, or pass --skip-bad.")
    return False


def _box(entry: ElementTree.Element, size: tuple[int, int], where: str, log: ProblemLog) -> Edges | None:
    written = [(entry.findtext(f"bndbox/{edge}") or "").strip() for edge in EDGES]
    if missing := [edge for edge, text in zip(EDGES, written, strict=True) if not text]:
        what = f"has no {', '.join(missing)}"
        log.add(ProblemKind.MISSING_VALUE, where, what, "Complete the box, or pass --skip-bad.")
        return None
    numbers = [_number(text) for text in written]
    if any(math.isnan(value) for value in numbers):
        what = f"box ({', '.join(quote(text) for text in written)}) is not four numbers"
        log.add(ProblemKind.NOT_A_NUMBER, where, what, SKIP)
        return None
    xmin, ymin, xmax, ymax = numbers
    if any(value != round(value) for value in numbers if abs(value) < 1e9):
        what = f"box ({', '.join(written)}) is not in whole pixels"
        log.add(
            ProblemKind.FRACTIONAL_PIXEL, where, quote(what)[1:-1], "VOC counts whole pixels; it was used as it is."
        )
    # Judged by what is written, so that xmin = xmax is a box without area.
    edges = to_edges(xmin, ymin, xmax, ymax)
    return judge_box(edges, size, where, log, written=numbers, names=EDGES)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def annotation_xml(
    image_name: str,
    width: int,
    height: int,
    boxes: Boxes,
    labels: Sequence[str],
    *,
    difficult: NDArray[np.bool_] | None = None,
    specimen: str | None = None,
) -> str:
    """The XML of one field. Fractional edges go to the nearest whole pixel, as VOC has no others.

    BadAnnotation for a box that would be less than two pixels wide or high (it could not be read back), and for a name
    with characters that XML forbids.
    """
    source = f"  <source><specimen>{_text(specimen, image_name)}</specimen></source>\n" if specimen else ""
    lines = [
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{_text(image_name, image_name)}</filename>\n{source}"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n  <segmented>0</segmented>\n"
    ]
    marks = np.zeros(len(boxes), np.bool_) if difficult is None else difficult
    for number, (box, label, mark) in enumerate(zip(as_boxes(boxes).tolist(), labels, marks, strict=True), 1):
        pixels = from_edges(*box)
        if pixels[0] >= pixels[2] or pixels[1] >= pixels[3]:
            raise BadAnnotation(
                f"{image_name}, object {number}: box ({', '.join(f'{v:g}' for v in box)}) is less than two pixels "
                "wide or high and cannot be written as VOC. Leave it out, or write COCO."
            )
        corners = "".join(f"<{edge}>{pixel}</{edge}>" for edge, pixel in zip(EDGES, pixels, strict=True))
        lines.append(
            f"  <object>\n    <name>{_text(label, image_name)}</name>\n    <difficult>{int(mark)}</difficult>\n"
            f"    <bndbox>{corners}</bndbox>\n  </object>\n"
        )
    return "".join([*lines, "</annotation>\n"])


def _text(value: str, where: str) -> str:
    if _NOT_XML.search(value):
        raise BadAnnotation(f"{where}: {quote(value)} has characters that XML forbids. Rename it.")
    return escape(value, {"\r": "&#13;"})
