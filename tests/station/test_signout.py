import base64
import csv
import io
import json
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle
from highdicom.sr import srread
from pypdf import PdfReader

from helpers.reporting import CLINICAL, drawn_field
from helpers.small_archive import open_archive
from marrowscope.cells.specimen import Edit, EditKind, FoundCell, KeptField, Role, SpecimenState
from marrowscope.cells.stop_rule import StopRule
from marrowscope.errors import BadInput, Conflict, Locked, MissingExtra, NotAllowed, NotFound
from marrowscope.report.build import Words
from marrowscope.report.content import CautionKind, Language, ReportContent
from marrowscope.station.signout import ReportFormat, SignOut

NOW = datetime(2026, 5, 4, 9, 30, 15, 123456, tzinfo=UTC)
SHANGHAI = timezone(timedelta(hours=8))
MEANING = "Reviewed and approved"


class Lab:
    """A real archive with people, a case of two drawn fields, and its sign-out."""

    def __init__(self, folder: Path) -> None:
        self.store = open_archive(folder)
        for name, full, role in (
            ("chen", "Dr. 陈伟 Wei Chen", Role.HAEMATOLOGIST),
            ("liu", "Liu Yang", Role.TECHNICIAN),
            ("root", "Admin", Role.ADMIN),
        ):
            self.store.add_user(name, full, role, "hash", by="setup")
        self.case = self.store.add_specimen("KM-1", "P-1", by="liu").id
        self.slide = self.store.add_slide(self.case, "A", by="liu").id
        self.model = self.store.add_model("demo", "ab" * 32, "liu2022", "models/demo", "", by="root")
        self.fields = [self.keep(seed) for seed in (1, 2)]
        self.signout = SignOut(self.store, CLINICAL, software="0.1.0", zone=SHANGHAI)

    def keep(self, seed: int) -> KeptField:
        data, boxes, codes = drawn_field(seed)
        found = [FoundCell(box, code, 0.9, 0.1) for box, code in zip(boxes, codes, strict=True)]
        return self.store.keep_field(
            self.slide, data, width=1200, height=900, um_per_px=0.11, model_id=self.model.id, found=found, by="liu"
        )

    def confirm_all(self) -> None:
        self.store.accept_above(self.case, 0.0, by="liu")

    def rename_one(self) -> None:
        cell = self.store.cells(self.case)[0][0]
        code = "LYM" if cell.code != "LYM" else "MYELO"
        self.store.apply(self.case, [Edit(EditKind.RENAME, cell.id, code=code)], by="liu")

    def sign(self, **more: object) -> ReportContent:
        signed = self.signout.sign(self.case, by="chen", meaning=MEANING, now=NOW, **more)  # type: ignore[arg-type]
        return ReportContent.from_json(signed.content)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.store.close()


def text_of(data: bytes) -> str:
    return "".join("".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(data)).pages)


def test_what_is_signed_is_what_is_stored_and_printed(lab: Lab) -> None:
    lab.confirm_all()
    signed = lab.signout.sign(lab.case, by="chen", meaning=MEANING, now=NOW)
    assert lab.signout.fetch(signed.id, "pdf") == lab.signout.reprint(signed.id)
    content = ReportContent.from_json(signed.content)
    assert content.to_json() == signed.content
    assert content.digest[:16] in text_of(lab.signout.fetch(signed.id, "pdf"))


def test_the_signature_names_the_person_the_role_the_moment_and_the_meaning(lab: Lab) -> None:
    signature = lab.sign().signature
    assert signature is not None
    assert (signature.name, signature.role, signature.meaning) == ("Dr. 陈伟 Wei Chen", "haematologist", MEANING)
    assert signature.at == NOW.replace(microsecond=0)
    assert signature.local == "2026-05-04 17:30:15 +08:00"
    report = lab.signout.versions(lab.case)[0]
    assert (report.signed_at, report.signer, report.meaning) == (signature.at, signature.name, MEANING)


@pytest.mark.parametrize("who", ["liu", "root"])
def test_only_a_haematologist_signs_and_amends(lab: Lab, who: str) -> None:
    with pytest.raises(NotAllowed, match="haematologist"):
        lab.signout.sign(lab.case, by=who, meaning=MEANING)
    lab.sign()
    with pytest.raises(NotAllowed, match="haematologist"):
        lab.signout.amend(lab.case, "why", by=who)
    assert len(lab.signout.versions(lab.case)) == 1


def test_a_haematologist_who_has_left_does_not_sign(lab: Lab) -> None:
    lab.store.set_active("chen", False, by="root")
    with pytest.raises(NotAllowed):
        lab.sign()


def test_a_signed_case_is_locked(lab: Lab) -> None:
    lab.sign()
    with pytest.raises(Locked):
        lab.sign()
    with pytest.raises(Locked):
        lab.rename_one()
    with pytest.raises(Locked):
        lab.signout.save_words(lab.case, Words("other"), by="liu")
    assert lab.signout.draft(lab.case).signed
    assert lab.signout.preview_pdf(lab.case) == lab.signout.fetch(lab.signout.versions(lab.case)[0].id, "pdf")


def test_an_amendment_makes_a_new_version_and_leaves_the_old_one_alone(lab: Lab) -> None:
    lab.signout.save_words(lab.case, Words("First conclusion."), by="liu")
    lab.sign()
    first = lab.signout.versions(lab.case)[0]
    before = {kind: lab.signout.fetch(first.id, kind) for kind in ReportFormat}
    lab.signout.amend(lab.case, "Slide was mislabelled", by="chen")
    assert lab.store.specimen(lab.case).state is SpecimenState.AMENDING
    assert lab.signout.words(lab.case).conclusion == "First conclusion."
    lab.rename_one()
    draft = lab.signout.draft(lab.case)
    assert (draft.version, draft.signed) == (2, False)
    second = lab.sign()
    assert second.amendment is not None
    assert (second.amendment.replaces, second.amendment.reason) == (1, "Slide was mislabelled")
    report = lab.signout.versions(lab.case)[1]
    assert (report.version, report.amends, report.reason) == (2, first.id, "Slide was mislabelled")
    assert "AMENDED" in text_of(lab.signout.fetch(report.id, "pdf"))
    assert {kind: lab.signout.fetch(first.id, kind) for kind in ReportFormat} == before
    assert [c.share.count for c in second.classes] != [
        c.share.count for c in ReportContent.from_json(first.content).classes
    ]


def test_an_amendment_of_a_report_without_a_saved_draft_begins_with_its_pictures(lab: Lab) -> None:
    signed = lab.sign()
    lab.signout.amend(lab.case, "why", by="chen")
    said = lab.signout.words(lab.case)
    assert said.fields == tuple(p.id for p in signed.pictures)
    assert said.gallery == tuple(c.id for c in signed.gallery)


def test_what_is_not_signed_cannot_be_amended(lab: Lab) -> None:
    with pytest.raises(Conflict):
        lab.signout.amend(lab.case, "why", by="chen")


def test_a_draft_that_somebody_changed_meanwhile_is_not_signed(lab: Lab) -> None:
    seen = lab.signout.draft(lab.case).substance
    lab.rename_one()
    with pytest.raises(Conflict, match="changed"):
        lab.sign(seen=seen)
    assert lab.signout.versions(lab.case) == []
    assert lab.sign(seen=lab.signout.draft(lab.case).substance).signed


def test_a_change_in_the_instant_of_signing_is_caught_by_the_archive(lab: Lab) -> None:
    draft = lab.signout.draft(lab.case)
    counts = lab.store.counts(lab.case)
    lab.rename_one()
    with pytest.raises(Conflict, match="changed while it was signed"):
        lab.store.sign(lab.case, draft.to_json(), b"%PDF-1.7", by="chen", meaning=MEANING, counts=counts)
    assert lab.store.specimen(lab.case).state is SpecimenState.OPEN


def test_the_words_of_a_draft_are_kept(lab: Lab) -> None:
    said = Words("结论", "comment", Language.BOTH, (lab.fields[1].id,), (3, 1))
    lab.signout.save_words(lab.case, said, by="liu")
    assert lab.signout.words(lab.case) == said
    content = lab.signout.draft(lab.case)
    assert (content.conclusion, content.language, [c.id for c in content.gallery]) == ("结论", Language.BOTH, [3, 1])


def test_pictures_of_another_case_cannot_be_chosen(lab: Lab) -> None:
    other = lab.store.add_specimen("KM-2", "P-2", by="liu").id
    with pytest.raises(BadInput, match="field"):
        lab.signout.save_words(other, Words(fields=(lab.fields[0].id,)), by="liu")
    with pytest.raises(BadInput, match="cell"):
        lab.signout.save_words(other, Words(gallery=(1,)), by="liu")


def test_pictures_are_suggested_until_somebody_chooses(lab: Lab) -> None:
    said = lab.signout.words(lab.case)
    assert set(said.fields) == {f.id for f in lab.fields}
    codes = [lab.store.cell(i).code for i in said.gallery]
    assert set(codes) == set(lab.store.counts(lab.case))
    assert max(codes.count(code) for code in codes) <= 3
    lab.signout.save_words(lab.case, Words(), by="liu")
    assert lab.signout.words(lab.case) == Words()


def test_reviewed_cells_are_suggested_first(lab: Lab) -> None:
    code = max(lab.store.counts(lab.case), key=lambda c: lab.store.counts(lab.case)[c][0])
    mine = lab.store.cells(lab.case, codes=[code])[0]
    last = max(cell.id for cell in mine)
    lab.store.apply(lab.case, [Edit(EditKind.CONFIRM, last)], by="liu")
    first = next(i for i in lab.signout.words(lab.case).gallery if lab.store.cell(i).code == code)
    assert first == last


def test_the_summary_is_the_differential_of_the_case(lab: Lab) -> None:
    summary = lab.signout.summary(lab.case)
    counts = lab.store.counts(lab.case)
    assert {c.code: c.share.count for c in summary.content.classes if c.share.count} == {
        code: n for code, (n, _) in counts.items()
    }
    assert summary.content.specimen.reviewed == 0
    assert any("not reviewed" in warning for warning in summary.warnings)
    lab.confirm_all()
    assert lab.signout.summary(lab.case).content.specimen.reviewed == summary.content.total


def test_a_signed_report_comes_in_every_format(lab: Lab) -> None:
    lab.signout.save_words(lab.case, Words("骨髓增生活跃", language=Language.BOTH), by="liu")
    lab.sign()
    report = lab.signout.versions(lab.case)[0]
    got = {kind: lab.signout.fetch(report.id, kind) for kind in ReportFormat}
    assert got[ReportFormat.PDF].startswith(b"%PDF-")
    assert got[ReportFormat.HTML].decode().startswith("<!doctype html>")
    assert got[ReportFormat.JSON].decode() == report.content
    rows = list(csv.reader(io.StringIO(got[ReportFormat.CSV].decode("utf-8-sig"))))
    assert len({len(row) for row in rows}) == 1
    bundle = Bundle.model_validate_json(got[ReportFormat.FHIR])
    assert bundle.entry[0].resource.status == "final"
    message = got[ReportFormat.HL7].decode()
    assert message.startswith("MSH|^~\\&|MARROWSCOPE|")
    assert "骨髓增生活跃" in message
    assert base64.b64encode(got[ReportFormat.PDF]).decode() in message
    assert srread(io.BytesIO(got[ReportFormat.DICOM_SR])).VerificationFlag == "VERIFIED"
    with pytest.raises(NotFound):
        lab.signout.fetch(99, "pdf")
    with pytest.raises(ValueError, match="docx"):
        lab.signout.fetch(report.id, "docx")


def test_without_highdicom_the_other_formats_are_still_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.sign()
    report = lab.signout.versions(lab.case)[0]
    monkeypatch.delitem(sys.modules, "marrowscope.report.dicom_sr", raising=False)
    monkeypatch.setitem(sys.modules, "highdicom.sr", None)
    with pytest.raises(MissingExtra, match=r"marrowscope\[hospital\]"):
        lab.signout.fetch(report.id, "dicom-sr")
    assert lab.signout.fetch(report.id, "hl7").startswith(b"MSH|")


def test_the_laboratorys_settings_hold_and_a_signed_report_keeps_those_that_held(lab: Lab) -> None:
    def set_all(name: str, high: float) -> None:
        lab.store.set_setting("letterhead", json.dumps({"laboratory": name}), by="root")
        ranges = {"name": name, "source": "40 donors", "dated": "2025", "ranges": [{"code": "LYM", "high": high}]}
        lab.store.set_setting("references", json.dumps(ranges), by="root")
        rule = {"fields": 9, "cells": 8, "cutoffs": [{"name": "ours", "codes": ["LYM"], "at": 30}]}
        lab.store.set_setting("stop-rule", json.dumps(rule), by="root")

    set_all("First Lab", 12)
    content = lab.sign()
    lab.store.set_setting("stop-rule", json.dumps(StopRule(cells=5).to_dict()), by="root")
    set_all("Second Lab", 50)
    kept = ReportContent.from_json(lab.signout.fetch(lab.signout.versions(lab.case)[0].id, "json").decode())
    assert kept == content
    assert (kept.letterhead.laboratory, [s.name for s in kept.references]) == ("First Lab", ["First Lab"])
    assert (kept.verdict.planned_cells, [c.name for c in kept.verdict.cutoffs]) == (8, ["ours"])
    usual = next(c.share.usual for c in kept.classes if c.code == "LYM")
    assert usual is not None
    assert usual.high == 12


def test_no_ranges_mean_no_references(lab: Lab) -> None:
    lab.store.set_setting("references", json.dumps({"name": "", "source": "", "dated": "", "ranges": []}), by="root")
    content = lab.signout.draft(lab.case)
    assert content.references == ()
    assert not any(c.share.usual for c in content.classes)
    assert content.cautions == SignOut(lab.store, CLINICAL).draft(lab.case).cautions


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("letterhead", '{"colour": 1}'),
        ("letterhead", "[]"),
        ("references", '{"name": "x", "ranges": [{"code": "LYM", "high": 3}]}'),
        ("stop-rule", '{"cells": 0}'),
        ("stop-rule", "nonsense"),
    ],
)
def test_a_setting_that_cannot_be_used_is_left_out_and_told(lab: Lab, key: str, value: str) -> None:
    lab.store.set_setting(key, value, by="root")
    content = lab.signout.draft(lab.case)
    assert [c.about for c in content.cautions if c.kind is CautionKind.SETTING] == [key]


def test_previews_are_marked_as_drafts(lab: Lab) -> None:
    assert "DRAFT" in text_of(lab.signout.preview_pdf(lab.case, now=NOW))
    assert "DRAFT" in lab.signout.preview_html(lab.case, now=NOW)
    assert lab.signout.preview_pdf(lab.case, now=NOW) == lab.signout.preview_pdf(lab.case, now=NOW)


def test_characters_that_cannot_be_printed_are_warned_of(lab: Lab) -> None:
    lab.signout.save_words(lab.case, Words("well 😀"), by="liu")
    content = lab.signout.draft(lab.case)
    assert [c.about for c in content.cautions if c.kind is CautionKind.UNPRINTABLE] == ["😀"]


def test_a_lost_picture_does_not_keep_a_case_from_being_signed(lab: Lab) -> None:
    lab.store.image_path(lab.fields[0].image).unlink()
    lab.signout.save_words(lab.case, Words(fields=(lab.fields[0].id,)), by="liu")
    lab.sign()
    signed = lab.signout.versions(lab.case)[0]
    assert "picturenotavailable" in text_of(lab.signout.fetch(signed.id, "pdf"))


def test_an_empty_case_can_be_signed(lab: Lab) -> None:
    empty = lab.store.add_specimen("KM-3", "P-3", by="liu").id
    signed = lab.signout.sign(empty, by="chen", meaning="Dry tap", now=NOW)
    content = ReportContent.from_json(signed.content)
    assert (content.total, content.pictures, content.verdict.stop) == (0, (), False)


def test_cells_seen_before_and_removed_ones_are_not_in_the_report(lab: Lab) -> None:
    before = lab.signout.summary(lab.case).content.total
    cells = lab.store.cells(lab.case)[0]
    lab.store.apply(lab.case, [Edit(EditKind.REMOVE, cells[0].id)], by="liu")
    data = drawn_field(3)[0]
    lab.store.keep_field(
        lab.slide,
        data,
        width=1200,
        height=900,
        found=[FoundCell((1, 1, 50, 50), "MYELO", 0.9, 0.1, cells[1].id)],
        by="liu",
    )
    assert lab.signout.summary(lab.case).content.total == before - 1


def test_nobody_can_rewrite_a_signed_report(lab: Lab, tmp_path: Path) -> None:
    lab.sign()
    with sqlite3.connect(tmp_path / "archive.db") as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("update reports set content = 'x'")
    connection.close()
    assert lab.store.verify().ok


def test_another_scheme_counts_the_same_cells_in_its_own_words(lab: Lab) -> None:
    scheme = replace(CLINICAL, name="ours", classes=CLINICAL.classes[::-1])
    content = SignOut(lab.store, scheme).summary(lab.case).content
    assert content.total == lab.signout.summary(lab.case).content.total
    assert content.method.scheme == "ours"
