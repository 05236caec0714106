"""Signed reports never change; an amendment makes a new version beside the old one."""

import hashlib
from datetime import UTC, datetime

import pytest

from helpers.archive import PDF, kept_case
from marrowscope.cells.specimen import SpecimenState
from marrowscope.errors import ArchiveDamaged, BadInput, Conflict, Locked
from marrowscope.store.store import Store

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


def test_a_signed_report_is_kept_as_it_was_signed(store: Store) -> None:
    store.add_user("hana", "Dr Hana Ito", "haematologist", "hash", by="root")
    case = kept_case(store)
    signed = store.sign(case.id, '{"a":1}', PDF, by="hana", meaning="approved", now=NOW)
    store.set_full_name("hana", "Dr Hana Sato", by="root")
    assert store.report(signed.id) == signed
    assert (signed.version, signed.content, signed.amends, signed.reason) == (1, '{"a":1}', None, "")
    assert (signed.signed_at, signed.signed_by, signed.signer, signed.meaning) == (
        NOW,
        "hana",
        "Dr Hana Ito",
        "approved",
    )
    assert signed.pdf == hashlib.sha256(PDF).hexdigest()
    assert store.report_pdf(signed.id) == PDF
    assert store.specimen(case.id).state is SpecimenState.SIGNED


def test_an_amendment_is_a_new_version_with_its_reason(store: Store) -> None:
    case = kept_case(store)
    first = store.sign(case.id, "{}", PDF, by="hana", meaning="approved")
    store.begin_amendment(case.id, "blasts miscounted", by="hana")
    assert store.specimen(case.id).state is SpecimenState.AMENDING
    second = store.sign(case.id, "{}", PDF + b"2", by="hana", meaning="amended")
    assert (second.version, second.amends, second.reason) == (2, first.id, "blasts miscounted")
    store.begin_amendment(case.id, "again", by="hana")
    third = store.sign(case.id, "{}", PDF + b"3", by="hana", meaning="amended", reason="said at signing")
    assert (third.amends, third.reason) == (second.id, "said at signing")
    assert store.reports(case.id) == [first, second, third]
    assert [store.report_pdf(r.id) for r in store.reports(case.id)] == [PDF, PDF + b"2", PDF + b"3"]
    assert store.check().ok


def test_only_a_signed_specimen_is_amended_and_only_with_a_reason(store: Store) -> None:
    case = kept_case(store)
    with pytest.raises(Conflict, match="nothing to amend"):
        store.begin_amendment(case.id, "why", by="hana")
    case.sign()
    with pytest.raises(BadInput, match="reason"):
        store.begin_amendment(case.id, " ", by="hana")
    store.begin_amendment(case.id, "why", by="hana")
    with pytest.raises(Conflict, match="amending"):
        store.begin_amendment(case.id, "why", by="hana")


def test_a_draft_is_the_one_saved_last_and_outlives_the_signature(store: Store) -> None:
    case = kept_case(store)
    assert store.draft(case.id) is None
    store.save_draft(case.id, '{"conclusion":"正常"}', by="anna")
    store.save_draft(case.id, '{"conclusion":"2"}', by="hana")
    case.sign()
    with pytest.raises(Locked):
        store.save_draft(case.id, "{}", by="anna")
    assert store.draft(case.id) == '{"conclusion":"2"}'


@pytest.mark.parametrize(
    ("content", "pdf", "meaning"), [("", PDF, "approved"), ("{}", b"not a PDF", "approved"), ("{}", PDF, "  ")]
)
def test_a_report_without_content_pdf_or_meaning_is_not_signed(
    store: Store, content: str, pdf: bytes, meaning: str
) -> None:
    case = kept_case(store)
    with pytest.raises(BadInput):
        store.sign(case.id, content, pdf, by="hana", meaning=meaning)
    assert store.specimen(case.id).state is SpecimenState.OPEN
    assert store.reports(case.id) == []


def test_a_pdf_that_changed_is_not_shown_as_the_signed_one(store: Store) -> None:
    case = kept_case(store)
    case.sign()
    (report,) = store.reports(case.id)
    store.image_path(report.pdf).write_bytes(PDF + b"forged")
    with pytest.raises(ArchiveDamaged, match="changed"):
        store.report_pdf(report.id)
    assert store.check().problems == (f"report {report.id}: its file {report.pdf[:2]}/{report.pdf[2:]} has changed",)
