"""The third journey in one function: paths -> fields -> detections -> files, and a differential over all of it.

OUT/detections.json               always (`saved`)
OUT/differential.{json,csv,md}    always (`summary`)
OUT/{detections.csv,voc,coco,yolo,geojson}    as asked (`outputs`)
OUT/overlays/NAME.jpg             as asked (`overlay`)
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import simplejpeg

from marrowscope.cells.adjusted import AdjustedDifferential, Confusion, adjust
from marrowscope.cells.detections import Detections
from marrowscope.cells.differential import Differential, count_detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.files import write_atomically
from marrowscope.data.images import read_image
from marrowscope.detect.detector import Detector, one_name_per_cell
from marrowscope.detect.outputs import Format, write_field, write_run
from marrowscope.detect.overlay import draw_overlay
from marrowscope.detect.saved import DetectedField, SavedDetections, write_detections
from marrowscope.detect.sources import Unreadable, read_fields, unique_names
from marrowscope.detect.summary import differential_values, write_differential
from marrowscope.errors import BadInput

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (files done, files in all) after each batch."""


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What a run did. A command should exit with an error status if `failed` is not 0.

    adjusted: the differential corrected for known confusion, where a confusion was given and a cell counted.
    """

    fields: int
    cells: int
    differential: Differential
    seconds: float
    unreadable: tuple[Unreadable, ...] = ()
    adjusted: AdjustedDifferential | None = None

    @property
    def failed(self) -> int:
        """Files that could not be read; each was named in the log and in `detections.json`."""
        return len(self.unreadable)


def detect_paths(
    detector: Detector,
    paths: Sequence[Path],
    out: Path,
    *,
    formats: Collection[Format] = (),
    score: float = 0.5,
    batch: int = 1,
    overlay: bool = False,
    confusion: Confusion | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Find the cells of every file and write the results below the folder `out`.

    paths: files, as `sources.find_images` lists them. score: detections below it are dropped everywhere. Of
    several names for one cell the best scored is counted, drawn and written (`one_name_per_cell`); `detections.json`
    alone keeps them all, so that it can be evaluated like the model. batch: fields handed to the detector at once.
    confusion: how the detector names cells counted at this very score; the differential is then also given corrected
    (`cells.adjusted`). about: what else `detections.json` should say, such as the checkpoint.
    A file that cannot be read is reported and skipped. BadInput if `out` cannot be a folder.
    """
    if not 0 <= score <= 1:
        raise BadInput(f"score {score} does not lie in 0..1. Give a threshold such as 0.5.")
    if batch < 1:
        raise BadInput(f"batch {batch} is not at least 1. Give the number of fields to detect at once.")
    _make_folder(out)
    started = time.monotonic()
    names = dict(zip(paths, unique_names(paths), strict=True))
    counted: list[DetectedField] = []
    claimed: list[DetectedField] = []
    lost: list[Unreadable] = []
    with _Drawing(out / "overlays") as drawing:
        fields = read_fields(paths, at_least=detector.input_size, ahead=2 * batch + 2)
        for part in _batches(fields, batch):
            readable = [f for f in part if isinstance(f, FieldImage)]
            for bad in (f for f in part if isinstance(f, Unreadable)):
                log.warning("skipped %s", bad.reason)
                lost.append(bad)
            for field, claims in zip(readable, detector.detect(readable), strict=True):
                above = claims.above(score)
                found = _record(field, one_name_per_cell(above), names)
                write_field(found, out, formats)
                if overlay:
                    drawing.add(found)
                counted.append(found)
                claimed.append(_record(field, above, names))
            if progress:
                progress(len(counted) + len(lost), len(paths))
    differential = count_detections((f.detections for f in counted), detector.taxonomy)
    adjusted = None if confusion is None else adjust(differential, confusion)
    said = {**(about or {}), "score_threshold": score, "differential": differential_values(differential, adjusted)}
    write_run(counted, detector.taxonomy, out, formats)
    write_differential(differential, out, adjusted)
    write_detections(out / "detections.json", SavedDetections(detector.taxonomy, tuple(claimed), tuple(lost), said))
    cells = sum(len(f.detections) for f in counted)
    return RunSummary(len(counted), cells, differential, time.monotonic() - started, tuple(lost), adjusted)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out}: cannot be made a folder: {error}. Give another place for the results.") from None


def _batches(fields: Iterable[FieldImage | Unreadable], size: int) -> Iterator[list[FieldImage | Unreadable]]:
    """Groups with `size` readable fields each; what is unreadable among them does not make a batch smaller."""
    group: list[FieldImage | Unreadable] = []
    readable = 0
    for field in fields:
        group.append(field)
        readable += isinstance(field, FieldImage)
        if readable == size:
            yield group
            group, readable = [], 0
    if group:
        yield group


def _record(field: FieldImage, claims: Detections, names: Mapping[Path, str]) -> DetectedField:
    path = field.origin.path
    if path is None:
        raise ValueError(f"field {field.name} came from no file")
    return DetectedField(path, names[path], field.width, field.height, claims)


class _Drawing:
    """Draws overlays in a thread of its own, a few behind the detector.

    The file is decoded once more, at full size: what the detector sees, and so what it finds, must not depend on
    whether a picture is wanted.
    """

    def __init__(self, folder: Path, waiting: int = 2) -> None:
        self._folder = folder
        self._waiting = waiting
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="overlay")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> "_Drawing":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self._settle(0)

    def add(self, found: DetectedField) -> None:
        self._pending.append(self._pool.submit(self._draw, found))
        self._settle(self._waiting)

    def _settle(self, left: int) -> None:
        while len(self._pending) > left:
            self._pending.pop(0).result()

    def _draw(self, found: DetectedField) -> None:
        picture = draw_overlay(read_image(found.path).pixels, found.detections)
        jpeg = simplejpeg.encode_jpeg(picture, quality=90)
        write_atomically(self._folder / f"{found.name}.jpg", jpeg)
