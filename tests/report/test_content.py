import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.reporting import AMENDMENT, SIGNATURE, content, facts
from marrowscope.errors import BadInput
from marrowscope.report.build import Words
from marrowscope.report.content import ReportContent, local_time

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(TEXT, TEXT)
def test_a_report_survives_its_json_whatever_was_written(conclusion: str, comments: str) -> None:
    before = content(facts()[0], words=Words(conclusion, comments), signature=SIGNATURE, amendment=AMENDMENT)
    after = ReportContent.from_json(before.to_json())
    assert after == before
    assert after.to_json() == before.to_json()
    assert after.digest == before.digest


def test_the_json_is_canonical() -> None:
    text = content(facts(seeds=(1,))[0], words=Words("骨髓")).to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert "骨髓" in text


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"form":"marrowscope-report-9"}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="stored report"):
        ReportContent.from_json(text)


def test_a_report_with_an_unknown_entry_is_refused() -> None:
    values = json.loads(content(facts()[0]).to_json()) | {"colour": "red"}
    with pytest.raises(BadInput, match="colour"):
        ReportContent.from_json(json.dumps(values))


def test_each_picture_is_asked_for_once() -> None:
    case = facts(seeds=(1, 2))[0]
    every = tuple(c.id for c in case.gallery_cells)
    report = content(case, words=Words(fields=(1,), gallery=every))
    assert sorted(report.images) == sorted({f.image for f in case.fields[:2]})


def test_local_time_carries_its_offset() -> None:
    moment = datetime(2026, 5, 4, 23, 30, 15, 999, tzinfo=UTC)
    assert local_time(moment.astimezone(timezone(timedelta(hours=8)))) == "2026-05-05 07:30:15 +08:00"
    assert local_time(moment) == "2026-05-04 23:30:15 +00:00"
