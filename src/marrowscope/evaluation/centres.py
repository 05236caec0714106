"""How a detector fares at each of several centres: accuracy, calibration, mix of classes, and how centres differ.

Centres share no fields, so each is resampled by itself (`bootstrap`), and the interval of a difference is that of the
differences of independent draws. Means over classes are compared over the classes that both centres have.

The labels of a centre may be coarser than the detector's classes ("white cell"). What all centres can be compared by is
whether a nucleated cell is found at all, whatever its name; what needs names is left out where there are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.differential import Differential, count_detections, count_labels
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.average_precision import mean_over_classes
from marrowscope.evaluation.bootstrap import draw_weights, interval
from marrowscope.evaluation.matching import Floats, pool_fields
from marrowscope.evaluation.metrics import evaluate_with_draws
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.reliability import FLOOR, Judged, calibration_error, judge
from marrowscope.evaluation.scores import METRICS, Estimate, Evaluation
from marrowscope.evaluation.tables import TITLES, Cell, Table

NUCLEATED = Taxonomy.from_labels(["nucleated cell"])
SHOWN = ("ap50", "f1", "recall", "precision")
FOUND = ("recall", "precision")
CALIBRATION = "calibration error"


@dataclass(frozen=True, eq=False)
class Centre:
    """The fields of one centre.

    pairs: truth and detections by class; nucleated: the same fields, every nucleated cell of the one class `NUCLEATED`
    (see `nucleated`), also those whose label names no class. counted: what is counted in each field.
    """

    name: str
    pairs: Sequence[EvaluatedField]
    nucleated: Sequence[EvaluatedField]
    counted: Sequence[Detections]


@dataclass(frozen=True, eq=False)
class CentreScores:
    """One centre, measured. by_class, calibration, labelled: None, or without a value, where labels name no class.

    found: the differential of what was counted; labelled: that of the labels. The draws are those of METRICS
    (classes, 6, draws), of the nucleated cells (1, 6, draws), of the calibration error (draws,), and of the share of
    each class (classes, draws).
    """

    name: str
    fields: int
    cells: int
    by_class: Evaluation | None
    nucleated: Evaluation
    calibration: Estimate
    found: Differential
    labelled: Differential | None
    draws: Floats
    nucleated_draws: Floats
    calibration_draws: Floats
    share_draws: Floats


@dataclass(frozen=True)
class CentreDifference:
    """A number at one centre, less the same at the first one."""

    centre: str
    number: str
    change: Estimate


def nucleated(name: str, truth: GroundTruth, coarse: Sequence[Sequence[float]], found: Detections) -> EvaluatedField:
    """A field whose nucleated cells are all of one class.

    truth: cells of the detector's classes; coarse: boxes (n, 4) of nucleated cells whose label is none of them.
    found: detections with one name a cell. Classes that no differential counts (red cells, debris) are left out.
    """
    counts = np.asarray([cell.counted for cell in truth.taxonomy], np.bool_)
    ours, theirs = counts[truth.labels], counts[found.labels]
    more = np.asarray(coarse, np.float32).reshape(-1, 4)
    boxes = np.concatenate([truth.boxes[ours], more])
    difficult = np.concatenate([np.asarray(truth.difficult, np.bool_)[ours], np.zeros(len(more), np.bool_)])
    return EvaluatedField(
        name,
        GroundTruth(boxes, np.zeros(len(boxes), np.int64), NUCLEATED, difficult),
        Detections(found.boxes[theirs], np.zeros(int(theirs.sum()), np.int64), found.scores[theirs], NUCLEATED),
    )


def measure_centre(centre: Centre, *, threshold: float, bootstrap: int = 1000, seed: int = 0) -> CentreScores:
    """Everything about one centre. Give each its own seed, so that draws of two centres are independent."""
    pool = pool_fields(centre.pairs)
    classes, fields = len(pool.taxonomy), pool.field_count
    weights = draw_weights(fields, bootstrap, seed) if bootstrap else np.empty((fields, 0))
    named = bool(pool.truth_counts().sum())
    by_class, draws = (
        evaluate_with_draws(centre.pairs, threshold=threshold, bootstrap=bootstrap, seed=seed)
        if named
        else (None, np.full((classes, len(METRICS), bootstrap), np.nan))
    )
    whole, nucleated_draws = evaluate_with_draws(centre.nucleated, threshold=threshold, bootstrap=bootstrap, seed=seed)
    judged = judge(pool)
    calibration_draws = _calibration_draws(judged, weights) if named else np.full(bootstrap, np.nan)
    per_field = np.stack([np.bincount(found.labels, minlength=classes) for found in centre.counted], axis=1)
    per_field = per_field * np.asarray([cell.counted for cell in pool.taxonomy])[:, None]
    drawn = per_field @ weights
    return CentreScores(
        centre.name,
        fields,
        int(whole.classes.truth.sum()),
        by_class,
        whole,
        _estimate(calibration_error(judged) if named else None, calibration_draws),
        count_detections(centre.counted, pool.taxonomy),
        count_labels(pool.truth_label[~pool.difficult].tolist(), pool.taxonomy) if named else None,
        draws,
        nucleated_draws,
        calibration_draws,
        drawn / np.maximum(drawn.sum(axis=0), 1),
    )


def _calibration_draws(judged: Judged, weights: Floats) -> Floats:
    """The calibration error of every draw, (draws,); NaN where a draw holds no detection."""
    above = judged.select(judged.score >= FLOOR)
    values = np.full(weights.shape[1], np.nan)
    for i, times in enumerate(weights.T.astype(np.int64)):
        rows = np.repeat(np.arange(len(above.field)), times[above.field])
        drawn = Judged(above.field[rows], above.label[rows], above.score[rows], above.right[rows])
        error = calibration_error(drawn)
        values[i] = np.nan if error is None else error
    return values


def differences_of(centres: Sequence[CentreScores]) -> tuple[CentreDifference, ...]:
    """Every centre but the first, less the first: means over the classes that both have, calibration, shares (of 1)."""
    first, *others = centres
    return tuple(row for other in others for row in _differences(first, other))


def _differences(first: CentreScores, other: CentreScores) -> list[CentreDifference]:
    rows = []
    if first.by_class is not None and other.by_class is not None:
        a, b = first.by_class.classes, other.by_class.classes
        both = np.flatnonzero((a.truth > 0) & (b.truth > 0))
        value = mean_over_classes(b.values[both]) - mean_over_classes(a.values[both])
        drawn = mean_over_classes(other.draws[both]) - mean_over_classes(first.draws[both])
        rows += [
            CentreDifference(other.name, TITLES[metric], _estimate(value[i], drawn[i]))
            for i, metric in enumerate(METRICS)
            if metric in SHOWN
        ]
        change = None
        if first.calibration.value is not None and other.calibration.value is not None:
            change = other.calibration.value - first.calibration.value
        drawn_change = other.calibration_draws - first.calibration_draws
        rows.append(CentreDifference(other.name, CALIBRATION, _estimate(change, drawn_change)))
    value = (other.nucleated.classes.values - first.nucleated.classes.values)[0]
    drawn = (other.nucleated_draws - first.nucleated_draws)[0]
    rows += [
        CentreDifference(other.name, f"{TITLES[m]}, any name", _estimate(value[i], drawn[i]))
        for i, m in enumerate(METRICS)
        if m in FOUND
    ]
    shares = zip(first.found.taxonomy, _shares(first.found), _shares(other.found), strict=True)
    moved = other.share_draws - first.share_draws
    rows += [
        CentreDifference(other.name, f"share of {cell.name}", _estimate(theirs - ours, moved[i]))
        for i, (cell, ours, theirs) in enumerate(shares)
        if cell.counted
    ]
    return rows


def _shares(found: Differential) -> list[float]:
    return [count / max(found.total, 1) for count in found.counts]


def _estimate(value: float | None, drawn: Floats) -> Estimate:
    if value is None or np.isnan(value):
        return Estimate(None)
    low, high = (None if np.isnan(end) else float(end) for end in interval(drawn))
    return Estimate(float(value), low, high)


def centre_table(centres: Sequence[CentreScores]) -> Table:
    """One line a centre."""
    if not centres:
        raise BadInput("no centre was given.")
    nothing = Estimate(None)
    rows: list[tuple[Cell, ...]] = []
    for centre in centres:
        by_class = [nothing if centre.by_class is None else centre.by_class.classes.of_all(m) for m in SHOWN]
        found = [centre.nucleated.classes.of_class(0, m) for m in FOUND]
        rows.append((centre.name, centre.fields, centre.cells, *by_class, centre.calibration, *found))
    columns = (
        "Centre",
        "Fields",
        "Cells",
        *(TITLES[m] for m in SHOWN),
        "ECE",
        "Recall, any name",
        "Precision, any name",
    )
    return Table(
        "By centre: means over classes, calibration, and nucleated cells whatever their name", columns, tuple(rows)
    )


def mix_table(centres: Sequence[CentreScores]) -> Table:
    """Counts and shares with exact 95 % intervals, as found, and as labelled where labels name classes."""
    columns, cells = ["Class"], []
    for centre in centres:
        for word, mix in (("found", centre.found), ("labelled", centre.labelled)):
            if mix is not None:
                columns.append(f"{centre.name}, {word}")
                cells.append([f"{share.count}: {share}" for _, share in mix.classes])
    names = [cell.name for cell, _ in centres[0].found.classes]
    rows = tuple(tuple(row) for row in zip(names, *cells, strict=True))
    return Table("Mix of classes: cells, percent (exact 95 % interval)", tuple(columns), rows)


def difference_table(differences: Sequence[CentreDifference], first: str) -> Table:
    """Every difference, with its interval."""
    rows = tuple((d.centre, d.number, d.change, "differs" if _is_apart(d.change) else "") for d in differences)
    return Table(f"Less the same at {first}, 95 % interval", ("Centre", "Number", "Difference", ""), rows)


def _is_apart(change: Estimate) -> bool:
    """The interval does not hold zero."""
    return change.low is not None and change.high is not None and (change.low > 0 or change.high < 0)
