"""A candidate beside the serving model: promoted where it is better for certain enough, kept back with reasons else."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.data.labelled import LabelledField
from marrowscope.detect.replay_runtime import ReplayDetector
from marrowscope.detect.saved import DetectedField, SavedDetections
from marrowscope.errors import BadInput
from marrowscope.station.promotion import MIN_CLASS, Comparison, Contestant, Verdict, compare

SCHEME = load_taxonomy("clinical")
PAPER = load_taxonomy("liu2022")
CODES = ("MYELO", "META", "BAND", "LYM", "PLASMA")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledField, ...]:
    """12 fields of 12 cells; in each, one cell that nobody could name."""
    folder = tmp_path_factory.mktemp("fixed")
    fields = []
    for number in range(12):
        path = folder / f"field_{number}.png"
        cv2.imwrite(str(path), np.full((90, 120, 3), 230, np.uint8))
        boxes = [(5 + 28 * (n % 4), 5 + 28 * (n // 4), 25 + 28 * (n % 4), 25 + 28 * (n // 4)) for n in range(12)]
        codes = [CODES[(n + number) % len(CODES)] for n in range(11)] + ["OTHER"]
        names = tuple(SCHEME[SCHEME.index(code)].name for code in codes)
        difficult = np.asarray([code == "OTHER" for code in codes])
        fields.append(LabelledField(path.stem, path, 120, 90, np.asarray(boxes, np.float32), names, difficult, "S"))
    return tuple(fields)


def model(
    fields: tuple[LabelledField, ...],
    *,
    wrong: float = 0.0,
    seed: int = 0,
    taxonomy: Taxonomy = SCHEME,
    only_wrong: str | None = None,
    score: float = 0.5,
    name: str = "model",
) -> Contestant:
    """Finds every cell, and calls a share of them something else. only_wrong: cells of this class alone."""
    rng = np.random.default_rng(seed)
    saved = []
    for field in fields:
        labels = []
        for label in field.labels:
            right = taxonomy.find(label)
            assert right is not None
            fails = rng.random() < wrong and (only_wrong is None or taxonomy[right].code == only_wrong)
            labels.append((right + 1) % len(taxonomy) if fails else right)
        scores = rng.uniform(0.6, 0.9, len(labels)).astype(np.float32)
        found = Detections(field.boxes, np.asarray(labels), scores, taxonomy)
        saved.append(DetectedField(field.image_path, field.name, field.width, field.height, found))
    return Contestant(name, ReplayDetector(SavedDetections(taxonomy, tuple(saved))), score)


def against(comparison: Comparison) -> str:
    assert comparison.verdict is Verdict.KEEP
    return "; ".join(comparison.reasons)


def test_a_better_candidate_is_promoted_and_a_worse_one_is_not(fixed: tuple[LabelledField, ...]) -> None:
    good, bad = model(fixed, wrong=0.05, seed=1), model(fixed, wrong=0.3, seed=2)
    up = compare(bad, good, fixed, SCHEME, draws=200)
    assert up.verdict is Verdict.PROMOTE
    assert "macro F1 +" in up.reasons[0]
    down = compare(good, bad, fixed, SCHEME, draws=200)
    assert "macro F1 does not rise" in against(down)
    assert "is worse: F1 -" in against(down)


def test_a_model_is_not_promoted_over_itself(fixed: tuple[LabelledField, ...]) -> None:
    same = model(fixed, wrong=0.1)
    assert "does not rise: +0.000 (+0.00, +0.00)" in against(compare(same, same, fixed, SCHEME, draws=50))


def test_a_gain_that_may_be_chance_is_not_enough(fixed: tuple[LabelledField, ...]) -> None:
    # Equally good, with luck on one side.
    models = [model(fixed, wrong=0.12, seed=seed) for seed in range(6)]
    tries = [compare(models[0], lucky, fixed, SCHEME, draws=300) for lucky in models[1:]]
    comparison = next(t for t in tries if 0 < (t.numbers.macro_f1.change.value or 0) < 0.02)
    change = comparison.numbers.macro_f1.change
    assert change.value is not None and change.low is not None  # noqa: PT018
    assert change.value > 0 > change.low
    assert "may fall by more than" in against(comparison)


def test_one_class_that_becomes_worse_holds_back_a_model_that_is_better_on_the_whole(
    fixed: tuple[LabelledField, ...],
) -> None:
    serving = model(fixed, wrong=0.9, only_wrong="LYM", seed=1)
    candidate = model(fixed, wrong=0.5, only_wrong="PLASMA", seed=2)
    comparison = compare(serving, candidate, fixed, SCHEME, draws=300)
    assert comparison.numbers.macro_f1.change.value > 0  # type: ignore[operator]
    assert comparison.reasons == tuple(r for r in comparison.reasons if r.startswith("plasma cell is worse"))
    assert min(row.truth for row in comparison.numbers.classes) >= MIN_CLASS


def test_a_rare_class_that_is_lost_altogether_holds_the_candidate_back(fixed: tuple[LabelledField, ...]) -> None:
    names = [SCHEME[SCHEME.index(code)].name for code in ("MYELO", "MYELOBLAST")]
    rare = tuple(
        replace(f, labels=(names[1] if number < 2 else names[0], *f.labels[1:])) for number, f in enumerate(fixed)
    )
    candidate = model(rare, wrong=1.0, only_wrong="MYELOBLAST")
    comparison = compare(model(rare, wrong=0.3), candidate, rare, SCHEME, draws=100)
    assert comparison.numbers.macro_f1.change.value > 0  # type: ignore[operator]
    assert "myeloblast is lost: none of 2 is found any more" in against(comparison)


def test_a_fixed_set_too_small_to_tell_keeps_the_serving_model(fixed: tuple[LabelledField, ...]) -> None:
    few = fixed[:3]
    comparison = compare(model(few, wrong=1.0), model(few), few, SCHEME, draws=50)
    assert "too small to tell: 3 fields, 33 cells" in against(comparison)


def test_the_first_model_of_all_is_promoted_if_it_finds_anything(fixed: tuple[LabelledField, ...]) -> None:
    first = compare(None, model(fixed), fixed, SCHEME, draws=20)
    assert (first.verdict, first.reasons, first.serving) == (Verdict.PROMOTE, ("no model serves yet",), None)
    assert first.numbers.macro_f1.first == 0
    assert "finds nothing" in against(compare(None, model(fixed, wrong=1.0), fixed, SCHEME, draws=20))


def test_models_of_different_schemes_meet_in_the_scheme_in_force(fixed: tuple[LabelledField, ...]) -> None:
    """The paper's scheme has no mature plasma cell: a model of it cannot find those, one of the clinical scheme can."""
    narrow = tuple(f.only(np.asarray([PAPER.find(label) is not None for label in f.labels])) for f in fixed)
    serving = model(narrow, taxonomy=PAPER, name="paper's")
    comparison = compare(serving, model(fixed, name="ours"), fixed, SCHEME, draws=100)
    assert comparison.verdict is Verdict.PROMOTE
    by_code = {row.code: row.f1 for row in comparison.numbers.classes}
    assert (by_code["PLASMA"].first, by_code["PLASMA"].second) == (0, 1)
    assert (by_code["MYELO"].first, by_code["MYELO"].second) == (1, 1)


def test_what_is_said_of_an_unidentified_cell_counts_neither_way(fixed: tuple[LabelledField, ...]) -> None:
    # Both name the cells that nobody could name, one as a lymphocyte.
    serving, candidate = model(fixed), model(fixed, wrong=1.0, only_wrong="OTHER")
    comparison = compare(serving, candidate, fixed, SCHEME, draws=20)
    assert comparison.numbers.macro_f1.change.value == 0
    assert comparison.numbers.cells == 12 * 11


def test_each_model_is_read_at_its_own_threshold(fixed: tuple[LabelledField, ...]) -> None:
    shy = model(fixed, score=0.95)
    comparison = compare(shy, model(fixed), fixed, SCHEME, draws=20)
    assert comparison.numbers.macro_f1.first == 0
    # The ranking does not know of thresholds.
    assert comparison.numbers.macro_ap50.first == comparison.numbers.macro_ap50.second


def test_without_a_fixed_field_nothing_is_compared(fixed: tuple[LabelledField, ...]) -> None:
    with pytest.raises(BadInput, match="fixed set holds no field"):
        compare(None, model(fixed), (), SCHEME)


def test_the_table_says_what_the_numbers_say(fixed: tuple[LabelledField, ...], tmp_path: Path) -> None:
    comparison = compare(model(fixed, wrong=0.3), model(fixed, name="new"), fixed, SCHEME, draws=100)
    page = comparison.markdown()
    assert page.startswith("# new beside model\n")
    assert "Verdict: **promote**" in page
    for row in comparison.rows():
        assert f"| {' | '.join(row)} |" in page
    assert comparison.rows()[-1][0] == "Mean"
    told = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert told["verdict"] == "promote"
    assert told["macro_f1"]["second"] == 1


def test_progress_is_told_for_every_field_of_both(fixed: tuple[LabelledField, ...]) -> None:
    seen: list[int] = []
    compare(model(fixed), model(fixed), fixed, SCHEME, draws=5, on_field=lambda: seen.append(1))
    assert len(seen) == 2 * len(fixed)
