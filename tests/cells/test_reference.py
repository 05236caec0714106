from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.reference import (
    Flag,
    ReferenceRange,
    ReferenceRanges,
    ReferenceSets,
    builtin_references,
    default_references,
    flag,
    load_reference,
)
from marrowscope.cells.taxonomy import Lineage, load_taxonomy
from marrowscope.errors import BadInput


@pytest.mark.parametrize("name", builtin_references())
def test_every_shipped_set_names_its_source_and_date_and_only_known_classes(name: str) -> None:
    found = load_reference(name)
    assert found.source
    assert found.dated
    known = {c.code for c in load_taxonomy("clinical")}
    assert {code for r in found.ranges for code in r.codes} <= known


def test_the_shipped_sets_state_what_their_sources_state() -> None:
    ranges = default_references()

    def of(*codes: str) -> tuple[float | None, float | None, float | None]:
        usual = ranges.of_codes(codes)
        assert usual is not None
        return usual.range.low, usual.range.typical, usual.range.high

    assert of("MYELO") == (5, 15, 25)
    assert of("META") == (5, 15, 20)
    assert of("BAND") == (5, 15, 25)
    assert of("PROMYELO") == (None, 3, None)
    assert of("NEU_SEG") == (None, 7, None)
    assert of("NORMO_ORTHO", "NORMO_POLY") == (7, 19, 40)
    assert of("EOS", "EOS_SEG", "EOS_META", "EOS_MYELO") == (1, 3, 7)
    erythroid = ranges.of_lineage(Lineage.ERYTHROID)
    assert erythroid is not None
    assert erythroid.range.typical == 32
    assert "236" in erythroid.set.source
    assert ranges.of_codes(["LYM"]) is None  # nothing is invented
    assert ranges.of_index("M:E") is None


def test_a_labs_own_file_is_read_and_survives_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(
        'name = "ours"\nsource = "40 donors"\ndated = "2025-03"\n'
        '[[ranges]]\ncode = "MYELO"\nlow = 4\nhigh = 20.5\n'
        '[[ranges]]\nindex = "M:E"\nlow = 1.5\nhigh = 4\n'
        '[[ranges]]\nlineage = "erythroid"\nlow = 15\nhigh = 35\n',
        encoding="utf-8",
    )
    found = load_reference(path)
    assert found.ranges[0] == ReferenceRange(codes=("MYELO",), low=4, high=20.5)
    assert ReferenceRanges.from_dict(found.to_dict()) == found


def test_of_two_sets_the_first_that_speaks_is_heard() -> None:
    mine = ReferenceRanges("mine", "x", "2025", (ReferenceRange(codes=("MYELO",), low=1, high=2),))
    both = ReferenceSets((mine, *default_references().sets))
    myelo, meta = both.of_codes(["MYELO"]), both.of_codes(["META"])
    assert myelo is not None
    assert meta is not None
    assert (myelo.set.name, meta.set.name) == ("mine", "Theml atlas")


BASE = {"name": "n", "source": "s", "dated": "2020"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        BASE,
        BASE | {"ranges": []},
        BASE | {"ranges": [{"codes": ["A"]}]},
        BASE | {"ranges": [{"low": 1, "high": 2}]},
        BASE | {"ranges": [{"codes": ["A"], "lineage": "erythroid", "low": 1}]},
        BASE | {"ranges": [{"codes": ["A"], "low": 5, "high": 2}]},
        BASE | {"ranges": [{"codes": ["A"], "low": -1, "high": 2}]},
        BASE | {"ranges": [{"codes": ["A"], "low": 1, "high": 101}]},
        BASE | {"ranges": [{"codes": ["A"], "low": "1"}]},
        BASE | {"ranges": [{"codes": ["A"], "low": True}]},
        BASE | {"ranges": [{"codes": "A", "low": 1}]},
        BASE | {"ranges": [{"lineage": "green", "low": 1}]},
        BASE | {"ranges": [{"codes": ["A"], "low": 1, "colour": 2}]},
        BASE | {"ranges": [{"codes": ["A"], "low": 1}, {"code": "A", "low": 2}]},
        BASE | {"ranges": ["A"]},
        BASE | {"source": " ", "ranges": [{"codes": ["A"], "low": 1}]},
        BASE | {"more": 1, "ranges": [{"codes": ["A"], "low": 1}]},
    ],
)
def test_what_is_no_reference_is_refused_with_a_reason(values: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"\."):
        ReferenceRanges.from_dict(values)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="theml"):
        load_reference(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", encoding="utf-8")
    with pytest.raises(BadInput, match=r"broken\.toml"):
        load_reference(broken)


@pytest.mark.parametrize(
    ("usual", "text"),
    [
        (ReferenceRange(codes=("A",), low=5, high=25), "5–25"),
        (ReferenceRange(codes=("A",), high=3), "< 3"),
        (ReferenceRange(codes=("A",), low=2.5), "> 2.5"),
        (ReferenceRange(codes=("A",), typical=7), "~ 7"),
    ],
)
def test_a_range_reads_as_a_report_prints_it(usual: ReferenceRange, text: str) -> None:
    assert usual.text == text


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 50), st.floats(50, 100))
def test_a_flag_says_the_side_and_is_certain_only_with_the_whole_interval(
    value: float, before: float, after: float, low: float, high: float
) -> None:
    interval = (min(value, before), max(value, after))
    found = flag(value, interval, ReferenceRange(codes=("A",), low=low, high=high))
    if low <= value <= high:
        assert found is None
    else:
        assert found is not None
        assert found.flag is (Flag.LOW if value < low else Flag.HIGH)
        assert found.certain == (interval[1] < low or interval[0] > high)


def test_nothing_is_flagged_without_a_value_or_a_limit() -> None:
    assert flag(None, (0, 100), ReferenceRange(codes=("A",), low=1)) is None
    assert flag(99.0, (90, 100), None) is None
    assert flag(99.0, (90, 100), ReferenceRange(codes=("A",), typical=3)) is None
