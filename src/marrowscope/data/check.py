"""Everything wrong with a labelled VOC folder, in one report: nothing stops at the first defect.

Each image is really decoded, as half a JPEG still has a good header. Boxes are judged by eye as well as by number: two
boxes on one cell, a box far smaller or larger than a cell ever is. And what spoils an evaluation without being wrong in
any one file: a field, or the same picture under two names, in two splits.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import ImageTooLarge, read_image
from marrowscope.data.intake import list_images, read_specimens, without_suffix
from marrowscope.data.labelled import LabelledField
from marrowscope.data.problems import Problem, ProblemKind, ProblemLog, Severity, quote
from marrowscope.data.voc import annotation_names, split_names, voc_splits
from marrowscope.data.voc_xml import from_edges, read_voc_field
from marrowscope.errors import BadAnnotation, BadImage

OVERLAP_IOU = 0.9
"""Two boxes that overlap more than this are two labels of one cell."""
TINY_PX, HUGE_SHARE = 6, 0.5
"""A side below this many pixels, or an area above this share of the field, is hardly a cell."""
_DECODERS = 2


@dataclass(frozen=True)
class Report:
    """What `check_folder` found. fields, cells: those that can be used. problems: by place, errors and warnings."""

    folder: Path
    fields: int
    cells: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What has to be left out or mended."""
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What a person should look at."""
        return tuple(p for p in self.problems if p.severity is Severity.WARNING)

    @property
    def counts(self) -> dict[ProblemKind, int]:
        """Problems of each kind that occurs, errors first."""
        found = Counter(p.kind for p in self.problems)
        return {kind: found[kind] for kind in ProblemKind if found[kind]}

    def to_text(self) -> str:
        """A line of sums, a line for each kind, a line for each problem."""
        lines = [
            f"{self.folder}: {self.fields} fields with {self.cells} cells can be used; "
            f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        ]
        lines += [f"  {count:6d} {kind.severity.value}: {kind.value}" for kind, count in self.counts.items()]
        lines += [f"{p.severity.value}: {p}" for p in (*self.errors, *self.warnings)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """The same, for a program."""
        content = {
            "folder": str(self.folder),
            "fields": self.fields,
            "cells": self.cells,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "problems": [dict(zip(_COLUMNS, _row(p), strict=True)) for p in self.problems],
        }
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"

    def to_csv(self) -> str:
        """One line a problem."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_row(p) for p in self.problems)
        return out.getvalue()


_COLUMNS = ("severity", "kind", "where", "what", "remedy")


def _row(problem: Problem) -> tuple[str, str, str, str, str]:
    return problem.severity.value, problem.kind.value, problem.where, problem.what, problem.remedy


def check_folder(
    folder: Path, *, taxonomy: Taxonomy | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Check labels, images and splits of a VOC folder.

    taxonomy: also warn of labels that it does not know. progress: called with (images done, of all), from this thread.
    BadAnnotation only where there is no `Annotations` folder.
    """
    folder = Path(folder)
    if not (folder / "Annotations").is_dir():
        raise BadAnnotation(f"{folder}: has no folder Annotations. Give the folder that holds it and JPEGImages.")
    log = ProblemLog(skip_bad=True)
    specimens = read_specimens(folder, log)
    read = [read_voc_field(folder, name, specimens, log) for name in annotation_names(folder)]
    fields = {field.name: field for field in read if field is not None}
    for field in fields.values():
        _check_cells(field, taxonomy, log)
    splits = _read_splits(folder, log)
    images = list_images(folder / "JPEGImages")
    digests, corrupt = _check_images(folder, images, progress, log)
    _check_unlabelled(folder, images, {f.image_path for f in fields.values()}, log)
    _check_splits(set(fields), splits, log)
    _check_same_image(fields.values(), digests, splits, log)
    usable = [field for field in fields.values() if field.image_path not in corrupt]
    problems = sorted(dict.fromkeys(log.found), key=lambda p: (p.where.split(",")[0], p.where, p.kind.value))
    return Report(folder, len(usable), sum(len(f) for f in usable), tuple(problems))


def _check_cells(field: LabelledField, taxonomy: Taxonomy | None, log: ProblemLog) -> None:
    where = f"{field.name}.xml"
    if not len(field):
        log.add(ProblemKind.EMPTY_FIELD, where, "has no usable cell", "Label it, or leave it out of training.")
    sides = field.boxes[:, 2:] - field.boxes[:, :2]
    for label, box, (width, height) in zip(field.labels, field.boxes, sides.tolist(), strict=True):
        what = f"{quote(label)} at {_as_written(box)} of {width:g} x {height:g} pixels"
        if min(width, height) < TINY_PX:
            log.add(ProblemKind.TINY_BOX, where, f"{what} is hardly a cell", "Look at the box.")
        if width * height > HUGE_SHARE * field.width * field.height:
            log.add(ProblemKind.HUGE_BOX, where, f"{what} covers most of the field", "Look at the box.")
    for label, count in Counter(field.labels).items():
        if taxonomy is not None and taxonomy.find(label) is None:
            what = f"{count} cells are called {quote(label)}, no class of scheme {quote(taxonomy.name)}"
            log.add(ProblemKind.UNKNOWN_CLASS, where, what, "Add an alias to the scheme, or correct the label.")
    overlaps = np.argwhere(np.triu(iou_matrix(field.boxes, field.boxes), 1) > OVERLAP_IOU)
    for first, second in overlaps.tolist():
        place = _as_written(field.boxes[second])
        names = f"{quote(field.labels[first])} and {quote(field.labels[second])}"
        if (field.boxes[first] == field.boxes[second]).all() and field.labels[first] == field.labels[second]:
            what = f"{quote(field.labels[first])} at {place} is there twice"
            log.add(ProblemKind.DUPLICATE_BOX, where, what, "Remove one.")
        else:
            what = f"{names} at {place} are two labels of one place"
            log.add(ProblemKind.OVERLAPPING_BOXES, where, what, "Keep the one that is right.")


def _as_written(box: NDArray[np.float32]) -> str:
    """The four numbers by which the box is found in the file."""
    return str(from_edges(*box.tolist()))


def _read_splits(folder: Path, log: ProblemLog) -> dict[str, tuple[str, ...]]:
    splits = {}
    for split in voc_splits(folder):
        try:
            splits[split] = split_names(folder, split, log)
        except BadAnnotation as e:
            log.add(ProblemKind.MALFORMED_FILE, f"ImageSets/Main/{split}.txt", str(e).rstrip("."), "Write it anew.")
    return splits


def _check_images(
    folder: Path, images: Sequence[Path], progress: Callable[[int, int], None] | None, log: ProblemLog
) -> tuple[dict[Path, str], set[Path]]:
    """Decode every image. Returns the SHA-256 of each file, and those that cannot be decoded."""
    digests: dict[Path, str] = {}
    corrupt: set[Path] = set()
    known = {problem.what for problem in log.found}  # a bad header was met when the labels were read
    for done, (path, digest, fault) in enumerate(_decoded(folder, images), 1):
        digests[path] = digest
        if fault is not None:
            corrupt.add(path)
            if fault.what not in known:
                log.extend([fault])
        if progress is not None:
            progress(done, len(images))
    return digests, corrupt


def _decoded(folder: Path, images: Sequence[Path]) -> Iterator[tuple[Path, str, Problem | None]]:
    """Path, SHA-256 and fault of each image, in order."""

    def look(path: Path) -> tuple[Path, str, Problem | None]:
        digest = ""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            read_image(path)
        except (BadImage, OSError) as e:
            kind = ProblemKind.IMAGE_TOO_LARGE if isinstance(e, ImageTooLarge) else ProblemKind.CORRUPT_IMAGE
            where = path.relative_to(folder).as_posix()
            return path, digest, Problem(kind, where, str(e).rstrip("."), "Or leave the field out.")
        return path, digest, None

    with ThreadPoolExecutor(_DECODERS) as pool:
        yield from pool.map(look, images)


def _check_unlabelled(folder: Path, images: Sequence[Path], used: set[Path], log: ProblemLog) -> None:
    annotated = set(annotation_names(folder))
    for path in images:
        relative = path.relative_to(folder / "JPEGImages")
        if path not in used and without_suffix(relative) not in annotated:
            what, remedy = "has no annotation", "Label it, or move it elsewhere."
            log.add(ProblemKind.UNLABELLED_IMAGE, f"JPEGImages/{relative.as_posix()}", what, remedy)


def _check_splits(fields: set[str], splits: Mapping[str, tuple[str, ...]], log: ProblemLog) -> None:
    listed: dict[str, list[str]] = {}
    for split, names in splits.items():
        for name in names:
            listed.setdefault(name, []).append(split)
    for name, its_splits in sorted(listed.items()):
        if clash := _clash([its_splits], within=True):
            what = f"is listed in {clash[0]} and in {clash[1]}"
            log.add(ProblemKind.FIELD_IN_TWO_SPLITS, f"{name}.xml", what, "Remove it from one.")
    for name in sorted(fields - set(listed)) if splits else ():
        log.add(ProblemKind.UNLISTED_FIELD, f"{name}.xml", "is in no split", "Add it to one, or ignore this.")


def _check_same_image(
    fields: Iterable[LabelledField],
    digests: Mapping[Path, str],
    splits: Mapping[str, tuple[str, ...]],
    log: ProblemLog,
) -> None:
    alike: dict[str, list[LabelledField]] = {}
    for field in fields:
        if digest := digests.get(field.image_path):
            alike.setdefault(digest, []).append(field)
    for twins in alike.values():
        if len(twins) < 2:
            continue
        where = f"{twins[0].name}.xml"
        others = ", ".join(quote(f.name) for f in twins[1:])
        its_splits = [[split for split, names in splits.items() if field.name in names] for field in twins]
        if clash := _clash(its_splits, within=False):
            what = f"its image is also that of {others}, and they are in {clash[0]} and {clash[1]}"
            log.add(ProblemKind.IMAGE_IN_TWO_SPLITS, where, what, "Keep one of them: a test must be unseen.")
        else:
            what = f"its image is also that of {others}"
            log.add(ProblemKind.DUPLICATE_IMAGE, where, what, "Keep one of them.")


def _clash(memberships: Sequence[Sequence[str]], *, within: bool) -> tuple[str, str] | None:
    """Two splits that must not meet: in one membership list (`within`), or between any two of them."""
    if within:
        pairs = [pair for splits in memberships for pair in combinations(splits, 2)]
    else:
        pairs = [pair for a, b in combinations(memberships, 2) for pair in product(a, b)]
    for first, second in pairs:
        one, other = sorted((_part(first), _part(second)))
        # `trainval` is train and val together, by VOC's convention.
        if one != other and (one, other) not in {("train", "trainval"), ("trainval", "val")}:
            return first, second
    return None


def _part(split: str) -> str:
    """The part that a list belongs to: VOC's per-class list `lymphocyte_val` lists fields of `val`."""
    suffix = split.rsplit("_", 1)[-1]
    return suffix if suffix in ("train", "val", "trainval", "test") else split
