"""Do the newest kept fields look like those that the model in service learned from? The page asks now and then.

How fields look is measured from the kept pictures, as training does (`data.looks`); what is found is what the model
said when the field was kept. So nothing is detected again, and what people correct changes nothing. A kept field never
changes: each is measured once, when somebody asks, and keeping one waits for nothing here.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from marrowscope.cells.boxes import as_boxes
from marrowscope.cells.detections import Detections
from marrowscope.cells.fields_seen import FieldsSeen
from marrowscope.cells.specimen import FoundCell, KeptField, ModelVersion
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.data.images import read_image
from marrowscope.data.looks import LOOKS, SIDE, looks_of
from marrowscope.errors import BadCheckpoint, BadImage, BadTaxonomy, NotFound
from marrowscope.evaluation.drift import ALL_LOOKS, ENOUGH_FIELDS, Drift, DriftReport, drift
from marrowscope.station.desk import translation

if TYPE_CHECKING:
    from marrowscope.store.store import Store

NEWEST = 40
"""Kept fields that are looked at: enough to tell, and few enough to be of these days."""
_NAMED = 4
"""Statistics that a verdict names; the table has them all."""
_EVERYTHING = ("stain", "lamp", "exposure", "white balance", "focus", "objective")
_COLOUR = ("stain", "white balance")
_CHECK = {
    "lightness": ("stain", "lamp", "exposure"),
    "green to red": _COLOUR,
    "blue to yellow": _COLOUR,
    "contrast": ("stain", "focus"),
    "spread of red": _COLOUR,
    "spread of blue": _COLOUR,
    "sharpness": ("focus", "objective"),
    ALL_LOOKS: ("stain", "lamp", "white balance", "focus"),
    "cell size": ("objective",),
}
"""What to look after where a statistic has drifted; of the others nothing at the microscope is to blame."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Training:
    """What a model was trained on: its classes, the score from which cells were counted, and what was seen then."""

    taxonomy: Taxonomy
    score: float
    seen: FieldsSeen


@dataclass(frozen=True, eq=False)
class Outlook:
    """model: name of the one in service, None where none is. report: None where that model does not know its training
    fields.
    """

    model: str | None
    report: DriftReport | None

    @property
    def alarm(self) -> bool:
        """Whether anything has drifted."""
        return self.report is not None and self.report.alarm

    def verdict(self) -> str:
        """What is so, for the operator."""
        if self.model is None:
            return "No model is in service, so there is nothing to compare with."
        if self.report is None:
            return f"The model in service ({self.model}) does not know what its training fields look like."
        count = self.report.fields
        if count < ENOUGH_FIELDS:
            kept = "1 kept field is" if count == 1 else f"{count} kept fields are"
            return f"{kept} too few to tell whether they look like those the model learned."
        if not self.alarm:
            return f"The last {count} fields look like those the model learned."
        return f"The last {count} fields look unlike those the model learned: {_named(self.report.drifted)}."

    def advice(self) -> str:
        """What to do about it; empty where nothing is to be done."""
        if self.report is None:
            return "" if self.model is None else "Show it fields like them: marrowscope drift MODEL FOLDER --learn OUT."
        blamed = {part for row in self.report.drifted for part in _CHECK.get(row.name, ())}
        parts = [part for part in _EVERYTHING if part in blamed]
        check = f"Check {_listed(parts)}." if parts else ""
        only_found = self.alarm and all(row.kind == "finds" for row in self.report.drifted)
        return f"{check} It may be the patients, and not the pictures.".strip() if only_found else check


def _named(rows: Sequence[Drift]) -> str:
    """What has drifted, how pictures look first: the few that are farthest away, and how many more."""
    # That all looks together are unusual says nothing more where it is told which ones are.
    telling = sorted((row for row in rows if row.name != ALL_LOOKS), key=lambda row: row.kind != "looks")
    names = [row.name for row in telling] or ["all looks together"]
    more = len(names) - _NAMED
    return ", ".join(names) if more < 2 else f"{', '.join(names[:_NAMED])} and {more} more"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


@dataclass(frozen=True, eq=False)
class _Measured:
    looks: tuple[float, ...]
    found: Detections


class DriftWatch:
    """Looks at the newest fields of an archive; any thread may ask, and one works.

    scheme: in whose words the archive calls cells. knows: what a model was trained on, None where it does not know.
    score: from which the station counts cells, None where it is the model's own.
    """

    def __init__(
        self,
        store: "Store",
        scheme: Taxonomy,
        *,
        knows: Callable[[ModelVersion], Training | None],
        score: float | None = None,
    ) -> None:
        self._store, self._scheme, self._knows, self._score = store, scheme, knows, score
        self._turn = threading.Lock()
        self._model: int | None = None
        self._training: Training | None = None
        self._measured: dict[int, _Measured | None] = {}
        self._report: DriftReport | None = None

    def look(self) -> Outlook:
        """The newest fields that the model in service has looked at, beside those of its training.

        Takes a moment for fields that were not measured before, and next to nothing for the others.
        """
        with self._turn:
            model = self._store.serving_model()
            if model is None:
                return Outlook(None, None)
            if model.id != self._model:
                self._begin(model)
            if self._training is None:
                return Outlook(model.name, None)
            fields = self._store.newest_fields(model.id, NEWEST)
            if self._report is None or self._measured.keys() != {field.id for field in fields}:
                known = self._measured
                self._measured = {
                    field.id: known[field.id] if field.id in known else self._measure(field, self._training.score)
                    for field in fields
                }
                self._report = self._compare(self._training)
            return Outlook(model.name, self._report)

    def _begin(self, model: ModelVersion) -> None:
        """Another model serves: what was measured belongs to the one before."""
        try:
            training = self._knows(model)
        except (BadCheckpoint, BadTaxonomy) as error:
            _log.warning("drift cannot be told: %s", error)
            training = None
        # How fields look is the least that a model must know.
        self._training = None if training is None or not set(training.seen.looks) & set(LOOKS) else training
        self._model, self._measured, self._report = model.id, {}, None

    def _measure(self, field: KeptField, score: float) -> _Measured | None:
        """One field, as it was kept; None where its picture cannot be read."""
        try:
            picture = read_image(self._store.image_path(field.image), at_least=(SIDE, SIDE))
        except (BadImage, NotFound) as error:
            _log.warning("field %d is left out of the look for drift: %s", field.id, error)
            return None
        return _Measured(looks_of(picture), self._said(self._store.model_calls(field.id), score))

    def _said(self, calls: Sequence[FoundCell], score: float) -> Detections:
        """The model's calls from that score, in classes of the scheme; those of a class it lost are left out."""
        labelled = [(call, self._scheme.find(call.code)) for call in calls]
        known = [(call, label) for call, label in labelled if label is not None]
        said = Detections(
            as_boxes([call.box for call, _ in known]),
            np.asarray([label for _, label in known], np.int64),
            np.asarray([call.score for call, _ in known], np.float32),
            self._scheme,
        )
        return said.above(score)

    def _compare(self, training: Training) -> DriftReport:
        measured = [one for one in self._measured.values() if one is not None]
        if not measured:
            return DriftReport(0, 0, ())
        seen = replace(training.seen, mix=self._in_scheme(training))
        if self._score is not None and self._score > training.score:
            # Fewer cells are counted here than were in training: what is found is not to be compared.
            seen = replace(seen, finds={}, mix=())
        columns = {name: tuple(one.looks[i] for one in measured) for i, name in enumerate(LOOKS)}
        return drift(seen, FieldsSeen(columns).with_found(one.found for one in measured))

    def _in_scheme(self, training: Training) -> tuple[tuple[int, ...], ...]:
        """Cells of each class of the scheme in each training field; none where the model was taught a class since."""
        words = [self._scheme.index(code) for code in translation(training.taxonomy, self._scheme)]
        if any(len(row) != len(words) for row in training.seen.mix):
            return ()
        return tuple(
            tuple(np.bincount(words, weights=row, minlength=len(self._scheme)).astype(int).tolist())
            for row in training.seen.mix
        )
