"""Teach the model a class that it does not know, from cells that people named so: a candidate, and no training.

The scheme of a station may have more classes than its model. Once `ENOUGH` cells of such a class were named, the model
can be given it (`training.few_shot`), which takes a moment; what comes of it is a candidate like any other, and serves
when an admin promotes it. Patients of the fixed set are never learned from (`station.retraining`): on their fields, if
any is reviewed throughout, the candidate is set beside the model in service.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.specimen import Box, Cell, ModelVersion, SpecimenSummary
from marrowscope.cells.taxonomy import CellClass, Taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.errors import BadInput, BadTaxonomy
from marrowscope.station.desk import translation
from marrowscope.station.retraining import export_reviewed, fixed_patients

if TYPE_CHECKING:
    from marrowscope.store.store import Store

ENOUGH = 5
"""Named cells from which a class can be taught."""
MOST = 20
"""Cells of the class that are taken, the newest; of more, training makes better use."""
OTHERS = 30
"""Cells of each class known already that are looked at beside them."""
_AT_ONCE = 500


@dataclass(frozen=True)
class Teachable:
    """A class of the scheme that the model does not know. cells: named so by people, of patients to learn from."""

    code: str
    name: str
    cells: int

    @property
    def enough(self) -> bool:
        """Whether it can be taught."""
        return self.cells >= ENOUGH


@dataclass(frozen=True)
class Lesson:
    """What a candidate is made of. fields: cells of the class, by its name, and of others, by the names of the model.
    fixed: folder of the fixed set, or None where it is empty.
    """

    model: ModelVersion
    cell: CellClass
    fields: tuple[LabelledField, ...]
    fixed: Path | None
    scheme: Taxonomy


@dataclass(frozen=True)
class Learned:
    """The candidate. about: how well it went, as plain values (see `training.few_shot.Added`)."""

    path: Path
    digest: str
    about: dict[str, object]


class Teaching:
    """What can be taught, and teaching it. learn: makes the candidate. knows: classes of the model in service."""

    def __init__(
        self,
        store: "Store",
        scheme: Taxonomy,
        home: Path,
        *,
        knows: Callable[[ModelVersion], Taxonomy],
        learn: Callable[[Lesson], Learned],
    ) -> None:
        self.store, self.scheme, self.home = store, scheme, home
        self._knows, self._learn = knows, learn

    def teachable(self) -> list[Teachable]:
        """Classes with named cells that the model in service does not know, the one with most cells first."""
        unknown = self._unknown()
        # The archive counts as it goes, so that a page may ask this each time it is opened.
        there = self.store.statistics().by_code if unknown else {}
        if not any(there.get(cell.code) for cell in unknown):
            return []
        cases = [case for case, fixed in self._cases() if not fixed]
        found = [
            Teachable(cell.code, cell.name, sum(self.store.counts(case).get(cell.code, (0, 0))[1] for case in cases))
            for cell in unknown
        ]
        return sorted((entry for entry in found if entry.cells), key=lambda entry: -entry.cells)

    def teach(self, code: str, *, by: str, now: datetime | None = None) -> ModelVersion:
        """The candidate that knows this class too. BadTaxonomy for no class of the scheme, BadInput where it is known
        already, too few cells are named so, or the model cannot be taught.
        """
        cell = next((cell for cell in self.scheme if cell.code == code), None)
        if cell is None:
            raise BadTaxonomy(f"'{code}' is no class code of scheme '{self.scheme.name}'. Choose one of its classes.")
        if cell not in self._unknown():
            raise BadInput(f"{cell.name}: the model in service knows that class. Teach one that it does not know.")
        cases = list(self._cases())
        free = [case for case, fixed in cases if not fixed]
        cells = {cell.name: self._named(free, code, MOST)}
        if len(cells[cell.name]) < ENOUGH:
            raise BadInput(
                f"{len(cells[cell.name])} cells named {cell.name}, of patients that are not kept for comparing models: "
                f"{ENOUGH} are needed. Review more."
            )
        model = self._serving()
        known = self._knows(model)
        for own, word in zip(known, translation(known, self.scheme), strict=True):
            if word != self.scheme.other:
                cells[own.name] = self._named(free, word, OTHERS)
        folder = self.home / "exports" / f"teach-{now or datetime.now(UTC):%Y%m%dT%H%M%S}Z"
        try:
            fixed = self._fixed_fields([case for case, fixed in cases if fixed], folder)
            learned = self._learn(Lesson(model, cell, self._labelled(cells), fixed, self.scheme))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        about = json.dumps({"made_by": "taught", **learned.about}, ensure_ascii=False)
        name = f"{model.name} + {cell.name}"
        return self.store.add_model(name, learned.digest, self.scheme.name, str(learned.path), about, by=by)

    def _serving(self) -> ModelVersion:
        model = self.store.serving_model()
        if model is None:
            raise BadInput("no model serves, so there is none to teach. Promote one on the admin page.")
        return model

    def _unknown(self) -> list[CellClass]:
        known = {*translation(self._knows(self._serving()), self.scheme), self.scheme.other}
        return [cell for cell in self.scheme if cell.code not in known]

    def _cases(self) -> Iterator[tuple[int, bool]]:
        """Ids of cases of which anything was reviewed, the newest first, and whether the patient is held out."""
        found: list[SpecimenSummary] = []
        while True:
            page, total = self.store.specimens(limit=_AT_ONCE, offset=len(found))
            found += page
            if not page or len(found) >= total:
                break
        reviewed = [summary.specimen for summary in found if summary.reviewed]
        held_out = fixed_patients(specimen.patient_code for specimen in reviewed)
        for specimen in sorted(reviewed, key=lambda specimen: -specimen.id):
            yield specimen.id, specimen.patient_code in held_out

    def _named(self, cases: Sequence[int], code: str, most: int) -> list[Cell]:
        """At most so many cells that people named so, of the first cases first."""
        found: list[Cell] = []
        for case in cases:
            if len(found) >= most:
                break
            found += self.store.cells(case, codes=[code], reviewed=True, counting=True, limit=most - len(found))[0]
        return found

    def _labelled(self, cells: Mapping[str, Sequence[Cell]]) -> tuple[LabelledField, ...]:
        """The fields of cells by name, with these cells alone."""
        by_field: dict[int, list[tuple[Box, str]]] = {}
        for name, named in cells.items():
            for cell in named:
                by_field.setdefault(cell.field_id, []).append((cell.box, name))
        return tuple(self._field(field_id, shown) for field_id, shown in by_field.items())

    def _field(self, field_id: int, shown: Sequence[tuple[Box, str]]) -> LabelledField:
        field = self.store.field(field_id)
        return LabelledField(
            str(field_id),
            self.store.image_path(field.image),
            field.width,
            field.height,
            as_boxes([box for box, _ in shown]),
            tuple(name for _, name in shown),
            np.zeros(len(shown), np.bool_),
        )

    def _fixed_fields(self, cases: Sequence[int], folder: Path) -> Path | None:
        """The held-out fields that are reviewed throughout, as a labelled folder; None where there is none."""
        try:
            return export_reviewed(self.store, folder, scheme=self.scheme, specimens=cases).folder if cases else None
        except BadInput:
            return None
