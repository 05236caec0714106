"""The folder an evaluation leaves behind: whole, readable again, and the same every time."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from marrowscope.errors import BadInput
from marrowscope.evaluation.metrics import evaluate
from marrowscope.evaluation.plots import plot_class_curves, plot_confusion, plot_curves, save_figure
from marrowscope.evaluation.reliability_plot import plot_reliability
from marrowscope.evaluation.report import read_report, write_comparison, write_report
from oracles import evaluation_oracle as slow

RESULT = evaluate(slow.random_fields(3, fields=20, classes=5), bootstrap=20)
OTHER = evaluate(slow.random_fields(4, fields=20, classes=5), bootstrap=0)


def test_the_report_holds_every_file_and_comes_back(tmp_path: Path) -> None:
    write_report(tmp_path / "run", RESULT, run="light")
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"metrics.json", "curves.json", "report.md", "confusion.csv"} <= names
    assert {f"{t}.{s}" for t in ("table2", "table3", "summary", "lineages") for s in ("md", "csv", "json")} <= names
    assert {
        f"{t}.{s}" for t in ("figure2", "curves_by_class", "confusion", "reliability") for s in ("png", "svg")
    } <= names
    assert not [n for n in names if n.startswith(".")]
    back = read_report(tmp_path / "run")
    assert back.to_dict() == RESULT.to_dict() == json.loads((tmp_path / "run" / "metrics.json").read_text())
    np.testing.assert_array_equal(back.curves, RESULT.curves)
    page = (tmp_path / "run" / "report.md").read_text()
    assert "Recall, light" in page
    assert "(figure2.png)" in page
    assert "Expected calibration error 0." in page
    assert "(reliability.png)" in page
    assert ElementTree.parse(tmp_path / "run" / "figure2.svg").getroot().tag.endswith("svg")


def test_an_evaluation_from_before_calibration_was_measured_is_still_read(tmp_path: Path) -> None:
    write_report(tmp_path, RESULT)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    del metrics["calibration"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    back = read_report(tmp_path)
    assert back.reliability is None
    assert back.to_dict() == RESULT.to_dict() | {"calibration": None}
    write_report(tmp_path / "again", back)
    assert not (tmp_path / "again" / "reliability.png").exists()


def test_the_diagram_shows_every_bin_and_every_detection() -> None:
    measured = RESULT.reliability
    assert measured is not None
    above, below = plot_reliability(measured).axes
    line = next(x for x in above.lines if len(x.get_xdata()) == len(measured.bins) and x.get_marker() == "o")
    points = np.asarray(line.get_xydata(), np.float64)
    np.testing.assert_allclose(points, [(b.score, b.share) for b in measured.bins])
    assert sum(bar.get_height() for bar in below.patches) == sum(b.count for b in measured.bins)


def test_a_comparison_names_every_run(tmp_path: Path) -> None:
    write_comparison(tmp_path, {"first": RESULT, "second": OTHER})
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"comparison.{s}" for s in ("md", "csv", "json")),
        *(f"{f}.{s}" for f in ("figure2", "curves_by_class") for s in ("png", "svg")),
    }
    assert "first" in (tmp_path / "comparison.md").read_text()


def test_a_report_that_is_not_there_or_foreign_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "curves.json").write_text("[]")
    with pytest.raises(BadInput, match="not usable"):
        read_report(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_evaluation_gives_the_same_picture_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        save_figure(tmp_path / f"{name}.{suffix}", plot_curves({"first": RESULT, "second": OTHER}))
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_figures_change_no_global_setting() -> None:
    before = dict(rcParams)
    for figure in (plot_curves({"x": RESULT}), plot_class_curves({"x": RESULT}), plot_confusion(RESULT)):
        assert isinstance(figure, Figure)
    assert dict(rcParams) == before


def test_the_lines_of_figure_2_are_the_mean_curves_and_their_area_the_macro_ap() -> None:
    lines = [x for x in plot_curves({"first": RESULT, "second": OTHER}).axes[0].lines if len(x.get_xdata()) == 101]
    for line, evaluation in zip(lines, (RESULT, OTHER), strict=True):
        assert np.mean(line.get_ydata()) == pytest.approx(evaluation.classes.of_all("ap50").value, abs=1e-12)
    assert lines[0].get_color() != lines[1].get_color()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_the_heat_map_shows_shares_of_the_row() -> None:
    picture = plot_confusion(RESULT).axes[0].images[0].get_array()
    rows = RESULT.confusion.sum(axis=1) > 0
    np.testing.assert_allclose(np.asarray(picture).sum(axis=1)[rows], 100)


def test_a_field_set_without_cells_still_draws(tmp_path: Path) -> None:
    nothing = evaluate([slow.field(slow.small_taxonomy())], bootstrap=0)
    write_report(tmp_path, nothing)
    assert json.loads((tmp_path / "metrics.json").read_text())["macro"]["f1"] is None
    assert np.isnan(read_report(tmp_path).curves).all()


def test_no_run_or_another_format_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run"):
        plot_curves({})
    with pytest.raises(BadInput, match="different classes"):
        plot_curves({"a": RESULT, "b": evaluate(slow.random_fields(1), bootstrap=0)})
    with pytest.raises(BadInput, match="png or"):
        save_figure(tmp_path / "figure.gif", plot_curves({"a": RESULT}))
