import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.reporting import AMENDMENT, CLINICAL, SIGNATURE, content, facts, specimen
from marrowscope.report.build import Words
from marrowscope.report.content import Language, ReportContent
from marrowscope.report.fhir import LOINC, SNOMED, diagnostic_report

PDF = b"%PDF-1.7 a report"


def valid(report: ReportContent, pdf: bytes | None = PDF) -> dict[str, Any]:
    """The bundle, after the way there and back through the FHIR library; both ends must be the same."""
    before = json.loads(json.dumps(diagnostic_report(report, pdf)))
    after: dict[str, Any] = json.loads(Bundle.model_validate_json(json.dumps(before)).model_dump_json())
    assert after == before
    return after


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def by_code(bundle: dict[str, Any], code: str) -> dict[str, Any]:
    found = [o for o in resources(bundle, "Observation") if code in [c["code"] for c in o["code"]["coding"]]]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("language", list(Language))
def test_the_bundle_is_valid_r4_and_survives_a_round_trip(language: Language) -> None:
    valid(content(facts(seeds=(1,))[0], signature=SIGNATURE, amendment=AMENDMENT, language=language))


@pytest.mark.parametrize("counts", [{}, {"MYELO": 1}, {c.code: 7 for c in CLINICAL}])
def test_empty_and_full_cases_are_valid(counts: dict[str, int]) -> None:
    valid(content(replace(facts(counts, more_fields=0)[0], slides=[]), words=Words()), None)


@settings(max_examples=20)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_whatever_people_write_the_bundle_is_valid(text: str) -> None:
    case = replace(facts({"MYELO": 3})[0], specimen=specimen("S" + text.strip()))
    valid(content(case, words=Words(conclusion=text, comments=text)))


def test_status_follows_signature_and_amendment() -> None:
    case = facts()[0]
    for report, status in (
        (content(case), "preliminary"),
        (content(case, signature=SIGNATURE), "final"),
        (content(case, signature=SIGNATURE, amendment=AMENDMENT), "amended"),
    ):
        bundle = valid(report)
        assert {r["status"] for kind in ("DiagnosticReport", "Observation") for r in resources(bundle, kind)} == {
            status
        }


def test_an_amended_report_says_why() -> None:
    bundle = valid(content(facts()[0], signature=SIGNATURE, amendment=AMENDMENT))
    assert AMENDMENT.reason in resources(bundle, "DiagnosticReport")[0]["conclusion"]


def test_every_share_has_value_interval_counts_and_its_own_code() -> None:
    report = content(facts()[0])
    bundle = valid(report)
    for line in report.classes:
        found = by_code(bundle, line.code)
        assert found["valueQuantity"]["value"] == line.share.percent
        assert found["valueQuantity"]["code"] == "%"
        parts = {c["code"]["coding"][0]["code"]: c for c in found["component"]}
        assert parts["cells"]["valueInteger"] == line.share.count
        limits = parts["interval-95"]["valueRange"]
        assert (limits["low"]["value"], limits["high"]["value"]) == (line.share.low, line.share.high)
        systems = {c["system"]: c["code"] for c in found["code"]["coding"]}
        assert systems.get(SNOMED, "") == line.snomed_ct


def test_loinc_is_used_where_a_code_was_found_and_counts_the_same() -> None:
    bundle = valid(content(facts()[0]))
    assert {
        c["code"] for o in resources(bundle, "Observation") for c in o["code"]["coding"] if c["system"] == LOINC
    } == {"11138-5", "38257-2", "11108-8", "40689-2"}
    assert by_code(bundle, "11138-5")["valueQuantity"]["code"] == "{ratio}"


def test_the_panel_has_every_other_observation_as_a_member_and_the_report_has_the_panel() -> None:
    bundle = valid(content(facts()[0]))
    urls = {e["fullUrl"]: e["resource"] for e in bundle["entry"]}
    assert len(urls) == len(bundle["entry"])
    report = resources(bundle, "DiagnosticReport")[0]
    (panel,) = (urls[r["reference"]] for r in report["result"])
    members = {r["reference"] for r in panel["hasMember"]}
    others = {url for url, r in urls.items() if r["resourceType"] == "Observation" and r is not panel}
    assert members == others
    assert urls[report["specimen"][0]["reference"]]["resourceType"] == "Specimen"


def test_the_signed_pdf_travels_along() -> None:
    form = resources(valid(content(facts()[0], signature=SIGNATURE)), "DiagnosticReport")[0]["presentedForm"][0]
    assert base64.b64decode(form["data"]) == PDF
    assert base64.b64decode(form["hash"]) == hashlib.sha1(PDF, usedforsecurity=False).digest()
    assert form["size"] == len(PDF)
    assert "presentedForm" not in resources(valid(content(facts()[0]), None), "DiagnosticReport")[0]


def test_ranges_and_flags_are_told() -> None:
    bundle = valid(content(facts({"MYELO": 400, "LYM": 600})[0]))
    myelo = by_code(bundle, "MYELO")
    assert myelo["referenceRange"][0]["low"]["value"] == 5
    assert "Theml" in myelo["referenceRange"][0]["text"]
    assert myelo["interpretation"][0]["coding"][0]["code"] == "H"
    assert "referenceRange" not in by_code(bundle, "LYM")


def test_an_index_without_a_value_says_that_it_has_none() -> None:
    found = by_code(valid(content(facts({"MYELO": 4})[0])), "11138-5")
    assert "valueQuantity" not in found
    assert found["dataAbsentReason"]["coding"][0]["code"] == "not-applicable"


def test_patients_are_known_by_their_code_alone() -> None:
    bundle = valid(content(facts()[0], signature=SIGNATURE))
    assert not resources(bundle, "Patient")
    report = resources(bundle, "DiagnosticReport")[0]
    assert report["subject"]["identifier"]["value"] == "P-20931"
    assert report["resultsInterpreter"][0]["display"] == SIGNATURE.name


def test_the_same_report_gives_the_same_bundle() -> None:
    report = content(facts()[0])
    assert diagnostic_report(report, PDF) == diagnostic_report(report, PDF)
