"""Reviewed fields go back into training: a VOC folder, where every cell's name came from, and a set kept apart.

    Annotations/, JPEGImages/    one folder a specimen; image bytes as they were kept
    ImageSets/Main/train.txt     fields to learn from
    ImageSets/Main/fixed.txt     fields that are never learned from: models are compared on them
    specimens.tsv                field -> specimen, so that splits go by specimen
    provenance.jsonl             one line a cell: what the model called it, what a person named it, who and when
    about.json                   when, with which scheme, and what was left out

Only fields that are reviewed throughout go in: a cell that nobody looked at would teach the model its own mistakes, and
one left out would teach it that a cell is background. A cell that was seen in an earlier field bears the name that was
given there. What a person removed is left out. An unidentified cell is marked difficult: it is neither taught nor held
against anybody. Specimens are known by the lab's code; a patient's code is never written.

The fixed set is drawn by patient, by a hash that neither time nor new cases change: once held out is always held out.
While no patient falls into it, the one with the smallest hash stands in.
"""

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.files import write_atomically
from marrowscope.cells.specimen import Cell, Correction, EditKind, KeptField, ModelVersion, Specimen, SpecimenSummary
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.data.intake import write_specimens
from marrowscope.data.labelled import LabelledField
from marrowscope.data.voc import write_voc
from marrowscope.errors import BadInput, BadTaxonomy

if TYPE_CHECKING:
    from marrowscope.store.store import Store

FIXED_SHARE = 0.2
TRAIN, FIXED = "train", "fixed"
PROVENANCE, ABOUT = "provenance.jsonl", "about.json"
FORMAT = "marrowscope reviewed fields 1"
MIN_SIDE = 2.0
"""Pixels; VOC cannot hold a smaller box."""
_AT_ONCE = 500


@dataclass(frozen=True)
class LeftOut:
    """A field that does not go in, and why."""

    specimen: str
    field: int
    why: str


@dataclass(frozen=True)
class RetrainingSet:
    """What was exported. training, fixed: names of fields. unidentified: of `cells`. specimens: in both parts."""

    folder: Path
    training: tuple[str, ...]
    fixed: tuple[str, ...]
    specimens: int
    fixed_specimens: int
    cells: int
    unidentified: int
    left_out: tuple[LeftOut, ...]

    @property
    def fields(self) -> int:
        """Fields in both parts."""
        return len(self.training) + len(self.fixed)


@dataclass(frozen=True)
class NamedCell:
    """A cell as it goes into training. cell: as the field has it; code: its name; word: who gave it, None if nobody."""

    cell: Cell
    code: str
    word: Correction | None


@dataclass(frozen=True)
class ReviewedField:
    """A field that is reviewed throughout, with the cells that it shows."""

    field: KeptField
    cells: tuple[NamedCell, ...]


def fixed_patients(patients: Iterable[str], share: float = FIXED_SHARE) -> frozenset[str]:
    """Which patients are held out for comparing: by hash alone, so that later patients change nothing.

    While none falls below the share, the one with the smallest hash is taken; that one may change when a patient is
    added, but only to a patient that nothing was trained on.
    """
    known = {patient: _hash(patient) for patient in patients}
    fixed = {patient for patient, at in known.items() if at < share}
    if known and not fixed:
        fixed = {min(known, key=lambda patient: known[patient])}
    return frozenset(fixed)


def _hash(patient: str) -> float:
    digest = hashlib.sha256(f"marrowscope fixed set 1\n{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def reviewed_fields(store: "Store", specimen_id: int) -> tuple[list[ReviewedField], list[tuple[KeptField, str]]]:
    """The fields of a case that are reviewed throughout, and the others with the reason."""
    fields = store.fields(specimen_id)
    by_field = {field.id: store.field_cells(field.id) for field in fields}
    known = {cell.id: cell for cells in by_field.values() for cell in cells}
    words = _words(store.corrections(specimen_id))
    whole, others = [], []
    for field in fields:
        named, waiting = [], 0
        for cell in by_field[field.id]:
            counted = cell if cell.same_as is None else known[cell.same_as]
            if cell.removed or counted.removed:
                continue
            speaks = counted if counted.reviewed else cell
            waiting += not speaks.reviewed
            if min(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1]) > MIN_SIDE:
                named.append(NamedCell(cell, speaks.code, words.get(speaks.id)))
        if waiting:
            others.append((field, f"{waiting} of its cells {'was' if waiting == 1 else 'were'} not reviewed"))
        elif not named:
            others.append((field, "it shows no cell"))
        else:
            whole.append(ReviewedField(field, tuple(named)))
    return whole, others


def _words(corrections: Sequence[Correction]) -> dict[int, Correction]:
    """The last correction of each cell that gave or confirmed its name and was not taken back."""
    undone = {c.undoes for c in corrections if c.undoes is not None}
    naming = (EditKind.RENAME, EditKind.CONFIRM, EditKind.ADD)
    return {c.cell_id: c for c in corrections if c.kind in naming and c.undoes is None and c.group not in undone}


def export_reviewed(
    store: "Store",
    out: Path,
    *,
    scheme: Taxonomy | None = None,
    specimens: Sequence[int] | None = None,
    now: datetime | None = None,
) -> RetrainingSet:
    """Write every field that is reviewed throughout to a new folder; it appears whole or not at all.

    specimens: ids of the cases to take; None takes all. scheme: the classes in force, `clinical` if left out.
    BadInput where the folder is there already, or no field is reviewed throughout; BadTaxonomy for a name that the
    scheme does not have.
    """
    scheme = scheme or load_taxonomy("clinical")
    if out.exists():
        raise BadInput(f"{out}: is there already. Give a new folder.")
    cases = list(_cases(store))
    taken = {case.id for case, _, _ in cases} if specimens is None else set(specimens)
    # Drawn among all reviewed patients, so that choosing cases never moves one from the fixed set into training.
    held_out = fixed_patients(case.patient_code for case, whole, _ in cases if whole)
    cases = [entry for entry in cases if entry[0].id in taken]
    left_out = tuple(LeftOut(case.code, field.number, why) for case, _, others in cases for field, why in others)
    if not any(whole for _, whole, _ in cases):
        raise BadInput(
            f"no field is reviewed throughout ({len(left_out)} are not). Review every cell of a field, then try again."
        )
    aside = out.with_name(f".{out.name}-{secrets.token_hex(6)}")
    try:
        made = _write(store, aside, cases, held_out, scheme, left_out, now or datetime.now(UTC))
        out.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return RetrainingSet(out, *made, left_out)


Case = tuple[Specimen, list[ReviewedField], list[tuple[KeptField, str]]]


def _cases(store: "Store") -> Iterator[Case]:
    """Every case of which anything was reviewed, by id."""
    found: list[SpecimenSummary] = []
    while True:
        page, total = store.specimens(limit=_AT_ONCE, offset=len(found))
        found += page
        if not page or len(found) >= total:
            break
    for summary in sorted(found, key=lambda s: s.specimen.id):
        if summary.reviewed:
            yield summary.specimen, *reviewed_fields(store, summary.specimen.id)


def _write(
    store: "Store",
    folder: Path,
    cases: Sequence[Case],
    held_out: frozenset[str],
    scheme: Taxonomy,
    left_out: Sequence[LeftOut],
    now: datetime,
) -> tuple[tuple[str, ...], tuple[str, ...], int, int, int, int]:
    """Everything, into a folder that nobody looks at yet. Returns what `RetrainingSet` counts."""
    models = {model.id: model for model in store.models()}
    names = {cell.code: cell.name for cell in scheme}
    labelled: list[LabelledField] = []
    parts: dict[str, list[str]] = {TRAIN: [], FIXED: []}
    specimens: dict[str, set[str]] = {TRAIN: set(), FIXED: set()}
    lines: list[str] = []
    unidentified = 0
    taken: set[str] = set()
    for case, whole, _ in cases:
        place = _folder_name(case, taken)
        part = FIXED if case.patient_code in held_out else TRAIN
        for reviewed in whole:
            field = _labelled(store, folder, place, reviewed, scheme)
            labelled.append(field)
            parts[part].append(field.name)
            specimens[part].add(place)
            unidentified += int(field.difficult.sum())
            lines += _provenance(case, field.name, part, reviewed, models, names)
    write_voc(folder, labelled, splits=parts)
    write_specimens(folder, labelled)
    write_atomically(folder / PROVENANCE, "".join(lines))
    about = {
        "format": FORMAT,
        "made_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "scheme": scheme.to_dict(),
        "fields": {part: len(fields) for part, fields in parts.items()},
        "cells": len(lines),
        "unidentified": unidentified,
        "fixed_share": FIXED_SHARE,
        "left_out": [asdict(entry) for entry in left_out],
    }
    write_atomically(folder / ABOUT, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    training, fixed = (tuple(sorted(parts[part])) for part in (TRAIN, FIXED))
    everybody = specimens[TRAIN] | specimens[FIXED]
    return training, fixed, len(everybody), len(specimens[FIXED]), len(lines), unidentified


def _folder_name(case: Specimen, taken: set[str]) -> str:
    """The lab's code of the specimen as a folder that any system can have; told apart by number where two agree."""
    safe = re.sub(r"[^\w-]+", "_", case.code).strip("_")[:60] or "specimen"
    if safe.casefold() in taken:
        safe = f"{safe}-{case.id}"
    taken.add(safe.casefold())
    return safe


def _labelled(store: "Store", folder: Path, place: str, reviewed: ReviewedField, scheme: Taxonomy) -> LabelledField:
    """Put the picture into the folder, byte for byte, and say what it shows."""
    field = reviewed.field
    name = f"{place}/field_{field.number:04d}"
    image = store.image(field.image)
    suffix = ".png" if image.startswith(b"\x89PNG") else ".jpg"
    path = folder / "JPEGImages" / f"{name}{suffix}"
    write_atomically(path, image)
    return LabelledField(
        name,
        path,
        field.width,
        field.height,
        as_boxes([named.cell.box for named in reviewed.cells]),
        tuple(_name_of(named, scheme) for named in reviewed.cells),
        np.asarray([named.code == scheme.other for named in reviewed.cells], np.bool_),
        place,
    )


def _name_of(named: NamedCell, scheme: Taxonomy) -> str:
    name = next((cell.name for cell in scheme if cell.code == named.code), None)
    if name is None:
        raise BadTaxonomy(
            f"cell {named.cell.id} is called '{named.code}', which is no class of scheme '{scheme.name}'. "
            "Rename it, or export with the scheme it was named in."
        )
    return name


def _provenance(
    case: Specimen,
    name: str,
    part: str,
    reviewed: ReviewedField,
    models: dict[int, ModelVersion],
    names: dict[str, str],
) -> Iterator[str]:
    """One line a cell."""
    field = reviewed.field
    model = None if field.model_id is None else models[field.model_id]
    for named in reviewed.cells:
        cell, word = named.cell, named.word
        line: dict[str, Any] = {
            "specimen": case.code,
            "field": name,
            "part": part,
            "image": field.image,
            "model": None if model is None else {"name": model.name, "digest": model.digest},
            "cell": cell.id,
            "box": [round(edge, 2) for edge in cell.box],
            "called": cell.called,
            "score": cell.score,
            "code": named.code,
            "name": names.get(named.code),
            "same_as": cell.same_as,
            "by": None if word is None else word.by,
            "at": None if word is None else word.at.astimezone(UTC).isoformat(),
            "how": None if word is None else word.kind.value,
            "why": "" if word is None else word.why,
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"
