import base64
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message, parse_segment
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.reporting import AMENDMENT, FEW, FEW_COUNTS, LAB, SIGNATURE, content, facts, specimen
from marrowscope.errors import BadInput
from marrowscope.report.build import Words
from marrowscope.report.content import Language, ReportContent
from marrowscope.report.hl7 import formatted, oru_message

PDF = b"%PDF-1.7 a report\n" * 40
AWKWARD = "A|B^C~D&E\\F\\ first line\nsecond line\r\nthird"


@cache
def report(language: Language = Language.ENGLISH, *, amended: bool = False) -> ReportContent:
    amendment = AMENDMENT if amended else None
    said = Words("骨髓增生活跃\n" + AWKWARD, "see | slide ^ B")
    return content(
        facts(FEW_COUNTS)[0], words=said, scheme=FEW, language=language, signature=SIGNATURE, amendment=amendment
    )


@cache
def parsed(language: Language = Language.ENGLISH, *, amended: bool = False) -> Any:
    """The message as the HL7 library reads it at its strictest, which checks structure, types and lengths."""
    text = oru_message(report(language, amended=amended))
    message = parse_message(text.encode().decode(), validation_level=VALIDATION_LEVEL.STRICT)
    assert message.validate()
    return message


def order(message: Any) -> Any:
    return message.oru_r01_patient_result.oru_r01_order_observation


def observations(message: Any) -> dict[str, Any]:
    """Our own code -> OBX."""
    found = {}
    for group in order(message).oru_r01_observation:
        code = group.obx.obx_3
        ours = code.ce_1 if code.ce_3.to_er7() == "99MARROWSCOPE" else code.ce_4
        found[read(ours)] = group.obx
    return found


def read(field: Any) -> str:
    """A field's text, escape sequences undone as HL7 2.5.1, 2.7 has it, `.br` as a line end."""
    while getattr(field, "children", None):
        (field,) = field.children
    # `to_er7` would escape the `.br` once more, which it does not know.
    text = field if isinstance(field, str) else field.value.value
    said = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~", ".br": "\n"}
    return re.sub(r"\\(E|F|S|T|R|\.br)\\", lambda found: said[found[1]], text)


@pytest.mark.parametrize("language", list(Language))
def test_every_number_comes_back_as_it_was(language: Language) -> None:
    c, found = report(language), observations(parsed(language))
    lines = [(f"class.{x.code}", x.share) for x in c.classes] + [
        (f"lineage.{x.lineage.value}", x.share) for x in c.lineages
    ]
    lines += [(f"group.{'+'.join(x.codes)}", x.share) for x in c.groups]
    assert len(lines) > 7
    for code, share in lines:
        value, cells, interval = found[code], found[f"{code}.cells"], found[f"{code}.interval-95"].obx_5.to_er7()
        assert (value.obx_2.to_er7(), value.obx_6.ce_1.to_er7()) == ("NM", "%")
        assert float(value.obx_5.to_er7()) == share.percent
        assert int(cells.obx_5.to_er7()) == share.count
        nothing, low, between, high = interval.split("^")
        assert (nothing, float(low), between, float(high)) == ("", share.low, "-", share.high)
        assert value.obx_4.to_er7() == cells.obx_4.to_er7() != ""
    for index in c.indices:
        if index.value is not None:
            assert float(found[f"index.{index.key}"].obx_5.to_er7()) == index.value
        assert int(found[f"index.{index.key}.top"].obx_5.to_er7()) == index.top
    assert int(found["count.cells"].obx_5.to_er7()) == c.total
    assert int(found["seen.SMUDGE"].obx_5.to_er7()) == 9


def test_what_people_wrote_comes_back_whatever_delimiters_it_has() -> None:
    found = observations(parsed())
    assert read(found["report.conclusion"].obx_5) == "骨髓增生活跃\n" + AWKWARD.replace("\r\n", "\n")
    assert read(found["report.comments"].obx_5) == "see | slide ^ B"


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_at_all_stays_inside_its_field(text: str) -> None:
    note = parse_segment(
        f"NTE|1|L|{formatted('.' + text + '.')}", version="2.5.1", validation_level=VALIDATION_LEVEL.STRICT
    )
    assert len(note.nte_3) == 1
    lines = [re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line) for line in f".{text}.".splitlines()]
    assert read(note.nte_3) == "\n".join(lines)


def test_an_amended_report_is_a_correction_of_the_same_order() -> None:
    first, second = parsed(), parsed(amended=True)
    assert [order(m).obr.obr_25.to_er7() for m in (first, second)] == ["F", "C"]
    assert {g.obx.obx_11.to_er7() for g in order(first).oru_r01_observation} == {"F"}
    assert {g.obx.obx_11.to_er7() for g in order(second).oru_r01_observation} == {"C"}
    assert order(first).obr.obr_3.to_er7() == order(second).obr.obr_3.to_er7()
    assert first.msh.msh_10.to_er7() != second.msh.msh_10.to_er7()
    assert AMENDMENT.reason in order(second).nte[0].nte_3.to_er7()


def test_the_head_says_who_sends_what_in_which_characters() -> None:
    message = parsed()
    msh = message.msh
    assert [msh.msh_9.to_er7(), msh.msh_12.to_er7(), msh.msh_18.to_er7()] == [
        "ORU^R01^ORU_R01",
        "2.5.1",
        "UNICODE UTF-8",
    ]
    assert msh.msh_4.to_er7() == LAB.laboratory[:20]
    assert order(message).oru_r01_observation[0].obx.obx_23.to_er7() == LAB.laboratory
    assert order(message).obr.obr_32.to_er7() == "chen&Dr. Wei Chen"
    assert order(message).oru_r01_specimen.spm.spm_2.to_er7() == "^KM-2026-0417&MARROWSCOPE"


def test_a_patient_is_known_by_a_code_and_has_no_name() -> None:
    patient = parsed().oru_r01_patient_result.oru_r01_patient.pid
    assert patient.pid_3.cx_1.to_er7() == "P-20931"
    assert [name.to_er7() for name in patient.pid_5] == ["", "^^^^^^U"]


def test_loinc_comes_first_where_a_code_was_found() -> None:
    found = observations(parsed())
    codes = {code: obx.obx_3.ce_1.to_er7() for code, obx in found.items() if obx.obx_3.ce_3.to_er7() == "LN"}
    assert codes == {
        "class.LYM": "11108-8",
        "lineage.erythroid": "40689-2",
        "index.M:E": "11138-5",
        "count.cells": "38257-2",
    }
    assert found["class.MYELO"].obx_3.to_er7().endswith("^4717004^neutrophilic myelocyte^SCT")
    assert order(parsed()).obr.obr_4.ce_1.to_er7() == "48807-2"


def test_chinese_reports_name_cells_in_chinese() -> None:
    assert observations(parsed(Language.CHINESE))["class.MYELO"].obx_3.ce_2.to_er7() == "中性中幼粒细胞"


def test_ranges_and_flags_are_told() -> None:
    found = observations(parsed())
    assert (found["class.MYELO"].obx_7.to_er7(), found["class.MYELO"].obx_8.to_er7()) == ("5-25", "H")
    assert found["class.LYM"].obx_7.to_er7() == ""


def test_every_remark_is_a_note_and_the_first_says_that_this_supports_a_decision() -> None:
    notes = [note.nte_3.to_er7() for note in order(parsed()).nte]
    assert notes[0].startswith("Decision support.")
    assert any("light-2026-05 (SHA-256 ab12ab12ab12)" in note for note in notes)
    assert any("Theml" in note for note in notes)


def test_what_could_not_be_computed_has_no_value_and_says_so() -> None:
    lines = oru_message(content(facts({})[0], words=Words(), scheme=FEW, signature=SIGNATURE)).split("\r")
    myelo = next(line for line in lines if "|class.MYELO^" in line).split("|")
    assert (myelo[5], myelo[11]) == ("", "X")
    assert not any("class.MYELO.interval" in line for line in lines)


def test_the_signed_pdf_travels_along() -> None:
    # The library holds the data to the length of a short string, HL7 does not: hence its tolerant reading.
    message = parse_message(oru_message(report(), PDF), validation_level=VALIDATION_LEVEL.TOLERANT)
    assert message.validate()
    value = observations(message)["report.pdf"].obx_5.to_er7().split("^")
    assert value[:4] == ["", "application", "pdf", "Base64"]
    assert base64.b64decode(value[4]) == PDF


def test_codes_of_the_laboratory_may_hold_delimiters() -> None:
    case = replace(facts({"MYELO": 1})[0], specimen=specimen("KM|1^2", "P&~\\7"))
    lines = oru_message(content(case, scheme=FEW, signature=SIGNATURE)).split("\r")
    assert read(lines[1].split("|")[3].split("^")[0]) == "P&~\\7"
    assert read(lines[3].split("|")[3].split("^")[0]) == "KM|1^2"


def test_a_draft_is_not_sent() -> None:
    with pytest.raises(BadInput, match="draft"):
        oru_message(content(facts({"MYELO": 1})[0], scheme=FEW))


def test_the_same_report_gives_the_same_message() -> None:
    assert oru_message(report(), PDF) == oru_message(report(), PDF)
