"""From cells to a signed report, and its versions."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from helpers.station import PASSWORD, Station


@pytest.fixture
def case(lab: Station) -> int:
    """A case with one field, reviewed throughout."""
    specimen, slide = lab.case()
    lab.field(slide, 1)
    client = lab.client("tess")
    cells = client.get(f"/api/specimens/{specimen.id}/cells").json()["items"]
    codes = ["MYELO", "MYELO", "NEU_SEG", "NORMO_POLY", "LYM", "MYELOBLAST"]
    edits = [{"kind": "rename", "cell_id": cell["id"], "code": code} for cell, code in zip(cells, codes, strict=True)]
    assert client.post(f"/api/specimens/{specimen.id}/edits", json={"edits": edits}).status_code == 200
    return specimen.id


def signed(client: TestClient, case: int, **more: Any) -> Any:
    body = {"password": PASSWORD, "meaning": "reviewed and approved"} | more
    return client.post(f"/api/specimens/{case}/report/sign", json=body)


def test_the_differential_has_intervals_indices_and_a_verdict(lab: Station, case: int) -> None:
    found = lab.client("rea").get(f"/api/specimens/{case}/differential").json()
    assert (found["total"], found["reviewed"]) == (6, 6)
    myelo = next(c for c in found["classes"] if c["code"] == "MYELO")
    assert myelo["count"] == 2
    assert myelo["percent"] == pytest.approx(100 / 3, abs=1e-4)
    assert myelo["low"] < myelo["percent"] < myelo["high"]
    assert myelo["reference"]["low"] < myelo["reference"]["high"]
    assert sum(line["count"] for line in found["lineages"]) == 6
    ratio = next(index for index in found["indices"] if index["key"] == "M:E")
    assert ratio["value"] == 4.0
    assert found["verdict"]["stop"] is False
    assert all(c["low"] <= c["at"] <= c["high"] for c in found["verdict"]["cutoffs"] if not c["clear"])
    assert found["warnings"]


def test_reference_ranges_and_the_stop_rule_of_the_laboratory_hold(lab: Station, case: int) -> None:
    ada = lab.client("ada")
    own = {"name": "ours", "source": "20 donors", "dated": "2026", "ranges": [{"codes": ["MYELO"], "high": 10.0}]}
    assert ada.put("/api/settings/references", json=own).status_code == 200
    rule = ada.get("/api/settings/stop-rule").json() | {"fields": 1}
    assert ada.put("/api/settings/stop-rule", json=rule).status_code == 200
    found = ada.get(f"/api/specimens/{case}/differential").json()
    myelo = next(c for c in found["classes"] if c["code"] == "MYELO")
    assert (myelo["reference"]["source"], myelo["flag"]) == ("ours", "high")
    assert found["verdict"]["stop"] is True


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("references", {"ranges": []}),
        ("references", {"name": " "}),
        ("references", {"ranges": [{"codes": ["MYELO"], "low": 9.0, "high": 3.0}]}),
        ("references", {"ranges": [{"codes": ["MYELO"], "lineage": "erythroid", "low": 1.0}]}),
        ("stop-rule", {"cutoffs": [{"name": "x", "codes": ["NO_SUCH"], "at": 20.0}]}),
        ("stop-rule", {"cells": 0}),
        ("letterhead", {"logo": "not base64!"}),
    ],
)
def test_settings_that_cannot_hold_are_refused(lab: Station, name: str, change: dict[str, Any]) -> None:
    client = lab.client("ada")
    before = client.get(f"/api/settings/{name}").json()
    assert client.put(f"/api/settings/{name}", json=before | change).status_code == 422
    assert client.get(f"/api/settings/{name}").json() == before


def test_a_draft_is_written_shown_and_kept(lab: Station, case: int) -> None:
    client = lab.client("tess")
    view = client.get(f"/api/specimens/{case}/report").json()
    assert view["state"] == "open"
    assert view["draft"]["fields"], "pictures are suggested"
    draft = view["draft"] | {"conclusion": "Normal marrow.\nNothing else.", "language": "en+zh"}
    saved = client.put(f"/api/specimens/{case}/report", json=draft).json()
    assert saved["draft"] == draft
    assert saved["seen"] != view["seen"]
    page = lab.client("rea").get(f"/api/specimens/{case}/report/preview.html")
    assert "Normal marrow." in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    pdf = client.get(f"/api/specimens/{case}/report/preview.pdf")
    assert pdf.content.startswith(b"%PDF")


def test_a_draft_shows_pictures_of_its_own_case_alone(lab: Station, case: int) -> None:
    _, slide = lab.case("S-2")
    other = lab.field(slide, 2)
    answer = lab.client("tess").put(f"/api/specimens/{case}/report", json={"fields": [other.id]})
    assert answer.status_code == 422


def test_a_signed_case_is_locked_until_it_is_amended(lab: Station, case: int) -> None:
    hanna, tess = lab.client("hanna"), lab.client("tess")
    seen = hanna.get(f"/api/specimens/{case}/report").json()["seen"]
    version = signed(hanna, case, seen=seen)
    assert version.status_code == 201, version.text
    first = version.json()
    assert (first["version"], first["signed_by"], first["signer"]) == (1, "hanna", "Hanna of the lab")
    assert signed(hanna, case).status_code == 423
    cell = tess.get(f"/api/specimens/{case}/cells").json()["items"][0]
    edit = {"kind": "rename", "cell_id": cell["id"], "code": "META"}
    assert tess.post(f"/api/specimens/{case}/edits", json={"edits": [edit]}).status_code == 423
    assert tess.post(f"/api/specimens/{case}/accept", json={"above": 0.5}).status_code == 423
    assert tess.put(f"/api/specimens/{case}/report", json={}).status_code == 423
    amended = hanna.post(f"/api/specimens/{case}/report/amend", json={"reason": "a second look"})
    assert amended.json()["state"] == "amending"
    assert hanna.post(f"/api/specimens/{case}/report/amend", json={"reason": "again"}).status_code == 409
    assert tess.post(f"/api/specimens/{case}/edits", json={"edits": [edit]}).status_code == 200
    second = signed(hanna, case).json()
    assert (second["version"], second["amends"], second["reason"]) == (2, first["id"], "a second look")
    versions = tess.get(f"/api/specimens/{case}/report").json()["versions"]
    assert [v["version"] for v in versions] == [1, 2]


def test_a_signature_takes_the_password_of_the_signer(lab: Station, case: int) -> None:
    hanna = lab.client("hanna")
    assert signed(hanna, case, password="wrong").status_code == 401
    assert signed(hanna, case, meaning="  ").status_code == 422
    assert hanna.get(f"/api/specimens/{case}/report").json()["versions"] == []


def test_wrong_passwords_when_signing_close_the_gate_too(lab: Station, case: int) -> None:
    hanna = lab.client("hanna")
    statuses = [signed(hanna, case, password="wrong").status_code for _ in range(6)]
    assert statuses[-1] == 429
    assert signed(hanna, case).status_code == 429


def test_a_case_that_changed_since_it_was_looked_at_is_not_signed(lab: Station, case: int) -> None:
    hanna, tess = lab.client("hanna"), lab.client("tess")
    seen = hanna.get(f"/api/specimens/{case}/report").json()["seen"]
    cell = tess.get(f"/api/specimens/{case}/cells").json()["items"][0]
    edit = {"kind": "rename", "cell_id": cell["id"], "code": "META"}
    assert tess.post(f"/api/specimens/{case}/edits", json={"edits": [edit]}).status_code == 200
    assert signed(hanna, case, seen=seen).status_code == 409
    assert lab.works.store.specimen(case).state == "open"


def test_a_signed_report_is_fetched_in_every_form_and_never_changes(lab: Station, case: int) -> None:
    report = signed(lab.client("hanna"), case).json()["id"]
    client = lab.client("rea")
    types = {
        "pdf": "application/pdf",
        "html": "text/html",
        "json": "application/json",
        "csv": "text/csv",
        "fhir": "application/fhir+json",
        "hl7": "application/hl7-v2",
        "dicom-sr": "application/dicom",
    }
    for kind, media_type in types.items():
        answer = client.get(f"/api/reports/{report}.{kind}")
        assert answer.status_code == 200, kind
        assert answer.headers["content-type"].startswith(media_type)
        suffix = {"fhir": "fhir.json", "dicom-sr": "dcm"}.get(kind, kind)
        assert answer.headers["content-disposition"] == f'inline; filename="report-{report}.{suffix}"'
        assert "immutable" in answer.headers["cache-control"]
        assert client.get(f"/api/reports/{report}.{kind}").content == answer.content
    assert json.loads(client.get(f"/api/reports/{report}.fhir").content)["resourceType"]
    assert client.get(f"/api/reports/{report}.docx").status_code == 422
    assert client.get("/api/reports/99.pdf").status_code == 404
