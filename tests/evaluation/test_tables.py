"""The paper's numbers as printed, and the tables that stand ours beside them."""

import csv
import io
import json

import numpy as np
import pytest

from marrowscope.cells.detections import Detections, GroundTruth
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.errors import BadInput
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.pairs import EvaluatedField
from marrowscope.evaluation.paper import COLUMNS, paper_results
from marrowscope.evaluation.scores import Estimate, Evaluation
from marrowscope.evaluation.tables import Table, compare, lineage_table, summary_table, table2, table3
from oracles import evaluation_oracle as slow


def evaluation_of(taxonomy: Taxonomy, seed: int = 0, draws: int = 0) -> Evaluation:
    """Every class occurs; about two cells in three are found."""
    rng = np.random.default_rng(seed)
    corner = np.stack([100.0 * np.arange(len(taxonomy)), np.zeros(len(taxonomy))], axis=1)
    boxes = np.concatenate([corner, corner + 60], axis=1)
    labels = np.arange(len(taxonomy))
    pairs = []
    for number in range(12):
        claimed = np.where(rng.random(len(labels)) < 0.66, labels, rng.integers(0, len(labels), len(labels)))
        pairs.append(
            EvaluatedField(
                f"{number}",
                GroundTruth(boxes, labels, taxonomy),
                Detections(boxes, claimed, rng.random(len(labels)), taxonomy),
            )
        )
    return evaluate(pairs, threshold=0.2, bootstrap=draws)


def test_the_printed_rows_have_the_means_that_the_method_page_states() -> None:
    stated = {
        "baseline": (0.739, 0.397, 0.514, 0.513),
        "ranksort": (0.683, 0.455, 0.485, 0.538),
        "ours": (0.714, 0.492, 0.534, 0.574),
    }
    paper = paper_results()
    assert len(paper.classes) == 20
    for column, means in stated.items():
        for metric, mean in zip(("recall", "precision", "ap50", "f1"), means, strict=True):
            rows = [row[f"{metric}_{column}"] for row in paper.classes.values()]
            assert np.mean(rows) == pytest.approx(mean, abs=0.00051), (metric, column)
            assert paper.mean[f"{metric}_{column}"] == pytest.approx(mean, abs=0.0045)


def test_every_printed_f1_fits_its_recall_and_precision_but_the_promyelocytes() -> None:
    misfits = []
    for code, row in paper_results().classes.items():
        for column in COLUMNS:
            r, p = row[f"recall_{column}"], row[f"precision_{column}"]
            if abs(2 * r * p / (r + p) - row[f"f1_{column}"]) > 0.0065:
                misfits.append((code, column))
    assert misfits == [("PROMYELO", "ranksort"), ("PROMYELO", "ours")]


def test_the_papers_rows_stand_in_the_order_of_its_scheme() -> None:
    assert list(paper_results().classes) == [c.code for c in load_taxonomy("liu2022")]


def test_the_papers_columns_stand_beside_ours_where_the_classes_match() -> None:
    table = table2(evaluation_of(load_taxonomy("liu2022")), run="light")
    assert table.columns[:5] == ("Cell type", "Cells", "Recall, light", "Precision, light", "Recall, paper baseline")
    assert len(table.rows) == 21
    assert table.rows[3][0] == "promyelocyte"
    assert table.rows[3][4:] == (0.71, 0.96, 0.935, 0.247, 0.358, 0.497)
    assert table.rows[-1][4:] == (0.74, 0.68, 0.71, 0.393, 0.457, 0.496)


def test_rows_follow_the_paper_even_where_the_scheme_does_not() -> None:
    liu = load_taxonomy("liu2022-21")
    turned = Taxonomy("turned", tuple(reversed(liu.classes)))
    evaluation = evaluation_of(turned)
    table = table3(evaluation)
    assert [row[0] for row in table.rows[:-1]] == [c.name for c in liu]
    last = table.rows[20]
    assert last[0] == "megaloblastic orthochromatic erythroblast"
    assert last[5:] == (None,) * 6
    for row in table.rows[:-1]:
        assert row[2] == evaluation.classes.of_class(turned.index(str(row[0])), "ap50")


def test_a_lab_of_its_own_classes_gets_its_own_order_and_no_paper() -> None:
    table = table3(evaluation_of(slow.small_taxonomy(5)))
    assert [row[0] for row in table.rows] == ["cell A", "cell B", "cell C", "cell D", "cell E", "Mean"]
    assert not any("paper" in column for column in table.columns)


def test_a_number_reads_with_its_interval() -> None:
    assert str(Estimate(0.8124, 0.77, 0.85)) == "0.812 (0.77-0.85)"
    assert str(Estimate(0.8124)) == "0.812"
    assert str(Estimate(None)) == "-"


@pytest.mark.parametrize("make", [table2, table3, lineage_table, summary_table])
@pytest.mark.parametrize("draws", [0, 20])
def test_markdown_csv_and_json_tell_the_same(make, draws: int) -> None:
    table = make(evaluation_of(slow.small_taxonomy(4), draws=draws))
    from_json = json.loads(table.to_json())["rows"]
    from_csv = list(csv.DictReader(io.StringIO(table.to_csv())))
    markdown = table.to_markdown().splitlines()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("|")]
    assert lines[0] == list(table.columns)
    assert len({len(line) for line in markdown[2:]}) == 1
    for row, cells, values, line in zip(from_json, table.rows, from_csv, lines[2:], strict=True):
        for column, cell, shown in zip(table.columns, cells, line, strict=True):
            if isinstance(cell, Estimate):
                assert row[column] == {"value": cell.value, "low": cell.low, "high": cell.high}
                assert float(values[column]) == cell.value
                assert values[f"{column} low"] == ("" if cell.low is None else str(cell.low))
                assert shown == str(cell)
            else:
                assert row[column] == cell
                assert values[column] == str(cell)


def test_runs_compare_macro_first_and_the_weakest_four_of_the_first() -> None:
    runs = {f"run {i}": evaluation_of(slow.small_taxonomy(5), seed=i) for i in range(3)}
    table = compare(runs)
    assert table.columns == ("Number", "Of", "run 0", "run 1", "run 2")
    assert [row[1] for row in table.rows[:6]] == ["all classes (macro)"] * 6
    first = runs["run 0"].classes
    weakest = first.weakest("f1")
    assert [first.values[i, 2] for i in weakest] == sorted(first.values[:, 2])[:4]
    row = next(r for r in table.rows if r[0] == "F1" and "weakest 4 of run 0" in str(r[1]))
    for cell, run in zip(row[2:], runs.values(), strict=True):
        assert cell == pytest.approx(run.classes.values[list(weakest), 2].mean())
    names = [str(r[1]) for r in table.rows if r[0] == "F1"]
    assert names[2:] == ["cell A", "cell B", "cell C", "cell D", "cell E"]


def test_runs_of_different_classes_do_not_compare() -> None:
    with pytest.raises(BadInput, match="different classes"):
        compare({"a": evaluation_of(slow.small_taxonomy(3)), "b": evaluation_of(slow.small_taxonomy(4))})
    with pytest.raises(BadInput, match="no run"):
        compare({})


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        Table("t", ("a", "b"), ((1,),))


def test_a_bar_in_a_name_does_not_break_the_markdown() -> None:
    assert "a\\|b" in Table("t", ("x",), (("a|b",),)).to_markdown()
