"""A slide's `cells.parquet` for other programs, a piece at a time: a million cells need no more memory than a thousand.

    cells.geojson    QuPath detections, a FeatureCollection with one feature a line
    coco.json        a COCO data set: the slide as its image, the cells as annotations
    cells.csv        one row a cell
    cells.dcm        DICOM Microscopy Bulk Simple Annotations; these take all cells at once, some 100 bytes each

Coordinates are pixels of level 0 from the slide's top left corner, to a hundredth.
"""

import csv
import json
import logging
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TextIO

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.detections import Detections
from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import CellClass
from marrowscope.detect.bulk_annotations import AnnotatedSlide, Finder, source_image, write_bulk_annotations
from marrowscope.detect.outputs import qupath_feature
from marrowscope.detect.saved import as_json, printable
from marrowscope.detect.slide_table import CellsFile
from marrowscope.slide.marks import dicom_files, head_of, is_dicom

log = logging.getLogger(__name__)

Cell = tuple[list[float], CellClass, float]
"""Box, class and score."""


class SlideFormat(StrEnum):
    """What can be written beside `cells.parquet`."""

    GEOJSON = "geojson"
    COCO = "coco"
    CSV = "csv"
    DICOM = "dicom"


def export_cells(
    cells: CellsFile, folder: Path, formats: Collection[SlideFormat], *, slide: Path | None = None
) -> list[Path]:
    """Write the formats asked for into the folder, each whole or not at all; their paths.

    slide: its own file or folder, to which DICOM annotations refer if it is DICOM. No such annotations can be made of
    no cell: then none are, and the log says so.
    """
    written = []
    for kind in dict.fromkeys(formats):
        if kind is SlideFormat.DICOM:
            if not len(cells):
                log.warning("%s: no cell was found, so there are no DICOM annotations", cells.head.name)
                continue
            _write_dicom(cells, folder / "cells.dcm", slide)
            written.append(folder / "cells.dcm")
            continue
        name, write = _WRITERS[kind]
        with replacing(folder / name) as aside, aside.open("w", encoding="utf-8", newline="") as out:
            write(cells, out)
        written.append(folder / name)
    return written


def _rows(cells: CellsFile) -> Iterator[Cell]:
    taxonomy = cells.head.taxonomy
    for rows in cells.batches():
        # A float32 printed at its own shortest length stays 0.9.
        scores = [float(text) for text in rows.scores.astype("U")]
        boxes = np.round(rows.boxes, 2).tolist()
        for box, label, score in zip(boxes, rows.labels.tolist(), scores, strict=True):
            yield box, taxonomy[label], score


def _write_geojson(cells: CellsFile, out: TextIO) -> None:
    name = printable(cells.head.name)
    out.write('{"type": "FeatureCollection", "features": [')
    for n, (box, cell, score) in enumerate(_rows(cells)):
        feature = qupath_feature(f"{name} {cell.code} {box}", cell, score, box)
        out.write((",\n" if n else "\n") + json.dumps(feature, ensure_ascii=False))
    out.write("\n]}\n")


def _write_coco(cells: CellsFile, out: TextIO) -> None:
    head = cells.head
    image = {"id": 1, "file_name": printable(head.name), "width": head.width, "height": head.height}
    kinds = [{"id": n, "name": c.name, "supercategory": str(c.lineage)} for n, c in enumerate(head.taxonomy, 1)]
    number = {cell.code: n for n, cell in enumerate(head.taxonomy, 1)}
    opening = {"info": {"description": "marrowscope detections"}, "images": [image], "categories": kinds}
    out.write(as_json(opening)[:-1] + ', "annotations": [')
    for n, (box, cell, score) in enumerate(_rows(cells), 1):
        x1, y1, x2, y2 = box
        width, height = round(x2 - x1, 2), round(y2 - y1, 2)
        annotation = {"id": n, "image_id": 1, "category_id": number[cell.code], "bbox": [x1, y1, width, height]}
        annotation |= {"area": width * height, "iscrowd": 0, "score": score}
        out.write((",\n" if n > 1 else "\n") + json.dumps(annotation))
    out.write("\n]}\n")


def _write_csv(cells: CellsFile, out: TextIO) -> None:
    name = printable(cells.head.name)
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["slide", "class", "code", "lineage", "score", "x1", "y1", "x2", "y2"])
    write.writerows([name, c.name, c.code, str(c.lineage), score, *box] for box, c, score in _rows(cells))


def _write_dicom(cells: CellsFile, path: Path, slide: Path | None) -> None:
    head = cells.head
    rows = list(cells.batches())
    found = Detections(
        as_boxes(np.concatenate([r.boxes for r in rows])),
        np.concatenate([r.labels for r in rows]),
        np.concatenate([r.scores for r in rows]),
        head.taxonomy,
    )
    about = AnnotatedSlide(head.name, head.width, head.height, head.um_per_px)
    model = head.about["model"]
    source = source_image(files, about) if (files := _dicom_files(slide)) else None
    finder = Finder(str(model["checkpoint"]), str(model["weights"]))
    write_bulk_annotations(path, found, about, finder=finder, made_at=datetime.now(UTC), source=source)


def _dicom_files(slide: Path | None) -> list[Path]:
    """The files of a DICOM slide; none for a slide of another format."""
    if slide is None or not slide.exists():
        return []
    if slide.is_dir():
        return dicom_files(slide)
    return dicom_files(slide.parent) if is_dicom(head_of(slide)) else []


_WRITERS: dict[SlideFormat, tuple[str, Callable[[CellsFile, TextIO], None]]] = {
    SlideFormat.GEOJSON: ("cells.geojson", _write_geojson),
    SlideFormat.COCO: ("coco.json", _write_coco),
    SlideFormat.CSV: ("cells.csv", _write_csv),
}
