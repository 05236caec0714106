"""Read back by highdicom, which rebuilds every template and content item, and by pydicom."""

from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from highdicom.sr import ComprehensiveSR, RelationshipTypeValues, srread
from highdicom.sr.utils import find_content_items
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from helpers.reporting import AMENDMENT, CLINICAL, FEW, FEW_COUNTS, LAB, SIGNATURE, content, facts, specimen
from marrowscope.errors import BadInput
from marrowscope.report.build import Rules, Words
from marrowscope.report.content import Language, ReportContent
from marrowscope.report.dicom_sr import structured_report


@cache
def report(language: Language = Language.ENGLISH, *, amended: bool = False) -> ReportContent:
    amendment = AMENDMENT if amended else None
    said = Words("骨髓增生活跃\nsecond \\ line", "a comment")
    return content(
        facts(FEW_COUNTS)[0], words=said, scheme=FEW, language=language, signature=SIGNATURE, amendment=amendment
    )


def reread(made: ReportContent) -> ComprehensiveSR:
    document = srread(BytesIO(structured_report(made)))
    assert isinstance(document, ComprehensiveSR)
    return document


@cache
def document(*, amended: bool = False) -> ComprehensiveSR:
    return reread(report(amended=amended))


@cache
def groups() -> dict[str, Any]:
    """Tracking identifier -> measurement group, as highdicom finds it."""
    found = document().content.get_image_measurement_groups()
    return {group.tracking_identifier: group for group in found}


def values(group: Any) -> dict[str, tuple[float, str]]:
    """Code of the measurement -> value, unit."""
    return {m.name.value: (m.value, m.unit.value) for m in group.get_measurements()}


def conclusions(of: ComprehensiveSR) -> dict[str, list[str]]:
    (box,) = find_content_items(of.content[0], name=codes.DCM.Conclusions)
    said: dict[str, list[str]] = {}
    for item in box.ContentSequence:
        assert item.relationship_type is RelationshipTypeValues.CONTAINS
        said.setdefault(item.name.meaning, []).append(item.value)
    return said


def test_every_number_comes_back_as_it_was() -> None:
    c, found = report(), groups()
    for line in c.classes:
        group, share = found[f"class.{line.code}"], line.share
        assert group.finding_type.value == line.snomed_ct
        name = "11108-8" if line.code == "LYM" else "share"
        assert values(group) == {
            name: (share.percent, "%"),
            "interval-95-low": (share.low, "%"),
            "interval-95-high": (share.high, "%"),
            "cells": (share.count, "{cells}"),
            "reviewed": (share.reviewed, "{cells}"),
        }
    for whole in c.lineages:
        assert values(found[f"lineage.{whole.lineage.value}"])["cells"][0] == whole.share.count
    for index in c.indices:
        got = values(found[f"index.{index.key}"])
        assert (got["top"][0], got["bottom"][0]) == (index.top, index.bottom)
        name = "11138-5" if index.key == "M:E" else f"index.{index.key}"
        assert got.get(name, (None, ""))[0] == index.value
    assert values(found["count"])["38257-2"][0] == c.total
    assert values(found["seen.SMUDGE"]) == {"cells": (9, "{cells}")}


def test_a_reference_range_has_its_ends_its_authority_and_what_lies_outside() -> None:
    (share, *_) = (m for m in groups()["class.MYELO"].get_measurements() if m.name.value == "share")
    told = {item.name.meaning: item for item in share[0].ContentSequence}
    assert told["Normality"].value == codes.cid222.AbnormallyHigh
    assert (told["Normal Range Lower Limit"].value, told["Normal Range Upper Limit"].value) == (5, 25)
    assert told["Normal Range Authority"].value == "Theml atlas"


def test_the_signer_the_software_and_every_model_observed() -> None:
    tree = document().content
    (person,) = tree.get_observer_contexts(codes.DCM.Person)
    about = person.observer_identifying_attributes
    assert (str(about.name), about.login_name, about.organization_name) == ("Dr. Wei Chen^", "chen", LAB.laboratory)
    devices = [x.observer_identifying_attributes for x in tree.get_observer_contexts(codes.DCM.Device)]
    assert [x.name for x in devices] == ["marrowscope 0.1.0", "light-2026-05"]
    assert devices[1].model_name == "SHA-256 " + "ab12" * 16


def test_patient_and_specimen_are_known_by_their_codes_alone() -> None:
    read = document()
    assert (read.PatientID, read.PatientName, read.PatientBirthDate) == ("P-20931", "", "")
    (subject,) = read.content.get_subject_contexts()
    assert subject.subject_class_specific_context.specimen_identifier == "KM-2026-0417"
    assert (read.AccessionNumber, read.StudyDate) == ("KM-2026-0417", "20260503")


def test_what_was_written_and_the_decision_support_sentence_are_among_the_conclusions() -> None:
    said = conclusions(document())
    assert said["Conclusion"] == ["骨髓增生活跃\nsecond \\ line"]
    assert said["Comment"][0] == "a comment"
    assert any(text.startswith("Decision support.") for text in said["Comment"])
    assert any("marrow aspirate" in text for text in said["Comment"])


def test_the_document_is_verified_by_the_signer_at_the_moment_of_the_signature() -> None:
    read = document()
    assert (read.CompletionFlag, read.VerificationFlag, read.PreliminaryFlag) == ("COMPLETE", "VERIFIED", "FINAL")
    (observer,) = read.VerifyingObserverSequence
    assert observer.VerifyingOrganization == LAB.laboratory
    assert str(observer.VerificationDateTime).startswith("20260504093015")
    assert "CurrentRequestedProcedureEvidenceSequence" not in read


def test_an_amended_document_names_the_one_before_it() -> None:
    before = replace_signature(report(), AMENDMENT.signed_at)
    (case,) = document(amended=True).PredecessorDocumentsSequence
    (series,) = case.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == reread(before).SOPInstanceUID
    assert case.StudyInstanceUID == document(amended=True).StudyInstanceUID
    assert "PredecessorDocumentsSequence" not in document()


def replace_signature(made: ReportContent, at: Any) -> ReportContent:
    return made.model_copy(update={"signature": SIGNATURE.model_copy(update={"at": at})})


def test_the_same_report_gives_the_same_file_and_uids_that_are_valid() -> None:
    first = structured_report(report())
    assert first == structured_report(report())

    def check(dataset: Dataset, element: Any) -> None:
        if element.VR == "UI":
            assert UID(element.value).is_valid

    dcmread(BytesIO(first)).walk(check)


@settings(max_examples=6, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_whatever_people_write_can_be_read_back(text: str) -> None:
    case = replace(facts({"MYELO": 3})[0], specimen=specimen("S" + text.strip()))
    name = SIGNATURE.model_copy(update={"name": f"Dr. {text}", "user": f"u{text}"})
    made = content(case, words=Words(text, text), scheme=CLINICAL.keep([0]), rules=Rules(), signature=name)
    said = conclusions(reread(made)).get("Conclusion", [""])[0]
    shown = [c for c in text if c.isprintable() and not c.isspace()]
    assert [c for c in said if c.isprintable() and not c.isspace()] == shown


def test_an_empty_case_has_no_shares_and_is_valid() -> None:
    read = reread(content(facts({})[0], words=Words(), scheme=FEW, signature=SIGNATURE))
    found = {group.tracking_identifier: group for group in read.content.get_image_measurement_groups()}
    assert values(found["class.MYELO"]) == {"cells": (0, "{cells}"), "reviewed": (0, "{cells}")}


def test_a_draft_is_refused() -> None:
    with pytest.raises(BadInput, match="draft"):
        structured_report(content(facts({"MYELO": 1})[0], scheme=FEW))


@pytest.mark.parametrize("code", ["P" * 65, "P\\1", "P\n1"])
def test_a_patients_code_is_never_changed_to_fit(code: str) -> None:
    case = replace(facts({"MYELO": 1})[0], specimen=specimen("S", code))
    with pytest.raises(BadInput, match="does not fit") as refused:
        structured_report(content(case, scheme=FEW, signature=SIGNATURE))
    assert code not in str(refused.value)


def test_a_chinese_report_says_that_it_is_chinese() -> None:
    made = report(Language.CHINESE)
    read = dcmread(BytesIO(structured_report(made)))
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert read.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "zh"
