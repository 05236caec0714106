import re
from dataclasses import replace

import pytest

from helpers.reporting import CLINICAL, USUAL, content, facts
from marrowscope.cells.taxonomy import Lineage, lexicon
from marrowscope.report import words
from marrowscope.report.content import Language
from marrowscope.report.view import view_of
from marrowscope.report.words import LABELS, Said

HAN = re.compile("[\u4e00-\u9fff]")


def test_every_class_of_the_clinical_scheme_has_a_chinese_name_of_its_own() -> None:
    names = [words.chinese_name(c) for c in CLINICAL]
    assert all(HAN.search(name) for name in names)
    assert len(set(names)) == len(names)
    assert all(HAN.search(words.chinese_name(c)) for c in lexicon())


def test_a_labs_own_class_without_a_chinese_name_keeps_its_own() -> None:
    own = replace(CLINICAL[0], code="HAIRY", name="hairy cell", chinese="")
    assert words.chinese_name(own) == "hairy cell"


def test_everything_is_said_in_both_tongues() -> None:
    for said in (*LABELS.values(), *words.LINEAGES.values(), *words.INDICES.values(), *words.ROLES.values()):
        assert said.en
        assert not HAN.search(said.en)
        assert said.zh
    assert set(words.LINEAGES) == set(Lineage)
    assert [key for key, said in LABELS.items() if not HAN.search(said.zh)] == ["percent"]


@pytest.mark.parametrize(
    ("language", "line"),
    [(Language.ENGLISH, "cell"), (Language.CHINESE, "细胞"), (Language.BOTH, "cell  细胞")],
)
def test_a_line_speaks_the_tongue_asked_for(language: Language, line: str) -> None:
    assert Said("cell", "细胞").line(language) == line


def test_cut_offs_are_told_in_words() -> None:
    report = content(facts({"MYELOBLAST": 97, "MYELO": 403})[0])
    line = next(c for c in report.verdict.cutoffs if c.at == 20)
    assert words.cutoff_text(line).en == "blasts 19.4 % (16.0–23.1) straddles 20 %: count more."
    assert words.cutoff_text(line).zh == "原始细胞 19.4 % (16.0–23.1) 跨越 20%：需继续计数。"
    assert "Count more" in words.verdict_text(report.verdict).en


def test_a_stop_at_the_limit_with_an_open_question_does_not_claim_to_be_enough() -> None:
    report = content(facts({"MYELOBLAST": 200, "MYELO": 800})[0])
    assert report.verdict.stop
    assert "limit" in words.verdict_text(report.verdict).en


def test_classes_that_nobody_reviewed_share_one_warning() -> None:
    case = facts(USUAL)[0]
    case = replace(case, counts={**case.counts, "MYELOBLAST": (8, 0), "BASO": (1, 0)})
    found = words.cautions_text(content(case))
    assert [said.en for said in found] == [
        "9 of 561 cells were not reviewed by a person.".replace("561", str(content(case).total)),
        "Nobody reviewed any cell of: myeloblast (8), basophil (1).",
    ]


def test_blasts_are_on_the_page_even_where_there_are_none() -> None:
    table = view_of(content(facts({"MYELO": 500})[0]))["table"]
    shown = {row["name"]["a"] for section in table["sections"] for row in section["rows"]}
    assert {"myeloblast", "monoblast", "lymphoblast", "plasmablast", "unknown blast", "plasma cell"} <= shown
    assert "prolymphocyte" in table["none_seen"]


def test_every_counted_class_is_either_a_row_or_named_as_not_seen() -> None:
    report = content(facts({"MYELO": 300, "PROLYM": 2})[0])
    table = view_of(report)["table"]
    shown = {row["name"]["a"] for section in table["sections"] for row in section["rows"]}
    for line in report.classes:
        assert (line.name in shown) != (line.name in table["none_seen"].split(", "))


def test_the_axis_reaches_every_interval_and_range() -> None:
    for counts in ({"MYELO": 1}, {"MYELO": 500}, USUAL):
        report = content(facts(counts)[0])
        axis = view_of(report)["table"]["axis"]
        assert axis["end"] >= max(line.share.high for line in report.classes if line.share.count)
        assert axis["ticks"][0] == 0
        assert axis["ticks"][-1] == axis["end"]
