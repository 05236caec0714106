import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.reporting import AMENDMENT, SIGNATURE, content, facts, specimen
from marrowscope.report.content import ReportContent
from marrowscope.report.tables import COLUMNS, csv_table
from marrowscope.report.tables import json as as_json


def rows(report: ReportContent) -> list[dict[str, str]]:
    found = list(csv.DictReader(io.StringIO(csv_table(report), newline="")))
    assert all(set(row) == set(COLUMNS) and None not in row.values() for row in found)
    return found


def test_the_table_says_what_the_report_says() -> None:
    report = content(facts()[0], signature=SIGNATURE)
    table = rows(report)
    by_code = {row["code"]: row for row in table if row["kind"] == "class"}
    for line in report.classes:
        row = by_code[line.code]
        assert (int(row["count"]), int(row["of"])) == (line.share.count, report.total)
        assert float(row["value"]) == pytest.approx(line.share.percent, abs=1e-4)
        assert (float(row["low_95"]), float(row["high_95"])) == (
            pytest.approx(line.share.low, abs=1e-4),
            pytest.approx(line.share.high, abs=1e-4),
        )
    assert {row["signed_by"] for row in table} == {SIGNATURE.name}
    assert [row["kind"] for row in table if row["kind"] == "cut-off"] == ["cut-off"] * len(report.verdict.cutoffs)
    assert {row["code"] for row in table if row["kind"] == "index"} == {"M:E", "I:Mg", "I:Me", "pM:E"}


def test_every_row_says_where_the_report_stands() -> None:
    case = facts()[0]
    for report, status in (
        (content(case), "draft"),
        (content(case, signature=SIGNATURE), "signed"),
        (content(case, signature=SIGNATURE, amendment=AMENDMENT), "amended"),
    ):
        assert {row["status"] for row in rows(report)} == {status}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.sampled_from("=+-@＝＋－＠"))
def test_no_cell_of_a_spreadsheet_becomes_a_formula(text: str, sign: str) -> None:
    case = facts({"MYELO": 3})[0]
    report = content(replace(case, specimen=specimen(sign + text, text)))
    for row in rows(report):
        assert not any(value.startswith(("=", "+", "@", "＝", "＋", "－", "＠")) for value in row.values())
        assert row["specimen"] == "'" + sign + text


def test_json_is_the_content() -> None:
    report = content(facts()[0])
    assert json.loads(as_json(report)) == report.model_dump(mode="json")
