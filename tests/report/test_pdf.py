import base64
import io
import re
from dataclasses import replace

import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from helpers.reporting import AMENDMENT, CLINICAL, LAB, SIGNATURE, USUAL, content, facts, logo, specimen
from marrowscope.cells.reference import default_references
from marrowscope.report.build import Rules, Words
from marrowscope.report.content import Language, Letterhead, ReportContent
from marrowscope.report.pdf import pdf
from marrowscope.report.pictures import Assets
from marrowscope.report.words import LABELS, chinese_name

EVIL = '#panic("no") *b* $x^2$ [a] @ref <b>&lt; // \\ `raw` _u_ ~ #{1+1}'


def pages(report: ReportContent, assets: Assets | None = None) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(pdf(report, assets))).pages]


def squeezed(text: str) -> str:
    """Without white space, since a line may break anywhere."""
    return re.sub(r"\s", "", text)


def fonts(data: bytes) -> dict[str, bool]:
    """Base name of every font in the file -> whether its outlines are in it."""
    found = {}
    for page in PdfReader(io.BytesIO(data)).pages:
        for font in page["/Resources"]["/Font"].values():  # type: ignore[index]
            assert isinstance(font.get_object(), DictionaryObject)
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            descriptor = inner["/FontDescriptor"].get_object()
            found[str(inner["/BaseFont"])] = any(key in descriptor for key in ("/FontFile2", "/FontFile3"))
    return found


def test_the_same_content_gives_the_same_bytes() -> None:
    case, assets = facts(seeds=(1,))
    report = content(case, words=Words("x", fields=(1,), gallery=(1, 2)), signature=SIGNATURE)
    assert pdf(report, assets) == pdf(ReportContent.from_json(report.to_json()), assets)


def test_every_page_names_specimen_version_and_page() -> None:
    text = pages(content(facts()[0], words=Words("A line.\n" * 200), signature=SIGNATURE))
    assert len(text) >= 4
    for number, page in enumerate(text, 1):
        assert "KM-2026-0417" in page
        assert "Version 1" in page
        assert f"page {number} / {len(text)}" in page
        assert squeezed(LABELS["support"].en) in squeezed(page)


def test_a_long_conclusion_is_printed_to_its_last_word() -> None:
    lines = [f"Finding number {n} of this long report." for n in range(300)]
    text = squeezed("".join(pages(content(facts()[0], words=Words("\n".join(lines))))))
    assert all(squeezed(line) in text for line in lines)


def test_only_a_draft_is_marked_as_one_on_every_page() -> None:
    case = facts()[0]
    said = Words("A line.\n" * 120)
    draft, signed = pages(content(case, words=said)), pages(content(case, words=said, signature=SIGNATURE))
    assert all("DRAFT" in page for page in draft)
    assert not any("DRAFT" in page for page in signed)
    assert "Not signed" in draft[0]


def test_the_signature_prints_name_role_moment_and_meaning() -> None:
    text = squeezed("".join(pages(content(facts()[0], signature=SIGNATURE))))
    for part in ("Dr. Wei Chen", "haematologist", "2026-05-04 09:30:15 UTC", SIGNATURE.local, SIGNATURE.meaning):
        assert squeezed(part) in text


def test_an_amendment_says_on_every_page_that_it_is_one_and_why() -> None:
    said = Words("A line.\n" * 120)
    for page in pages(content(facts()[0], words=said, signature=SIGNATURE, amendment=AMENDMENT)):
        assert "AMENDED" in page
        assert AMENDMENT.reason in page
        assert "Version 2" in page


def test_a_long_reason_is_printed_whole_once() -> None:
    reason = " ".join(f"word{n}" for n in range(90))
    amendment = AMENDMENT.model_copy(update={"reason": reason})
    text = pages(content(facts()[0], words=Words("A line.\n" * 120), signature=SIGNATURE, amendment=amendment))
    assert squeezed(reason) in squeezed(text[0])
    assert "word5" in text[1]


@pytest.mark.parametrize("language", list(Language))
def test_what_people_type_is_text_and_never_markup(language: Language) -> None:
    evil_lab = LAB.model_copy(update={"laboratory": EVIL, "address": EVIL, "footer": EVIL})
    case = replace(facts()[0], specimen=replace(specimen(EVIL, EVIL), material=EVIL))
    text = pages(content(case, words=Words(EVIL, EVIL), rules=Rules(evil_lab, default_references()), language=language))
    assert squeezed("".join(text)).count(squeezed(EVIL)) >= 6


def test_chinese_is_set_with_glyphs_that_are_in_the_file() -> None:
    report = content(facts()[0], words=Words("骨髓增生活跃，嗜酸性粒细胞不增多。"), language=Language.CHINESE)
    text = squeezed("".join(pages(report)))
    assert "骨髓增生活跃" in text
    for code in ("MYELO", "META", "PROERYTHRO", "PLASMA"):
        assert chinese_name(CLINICAL[CLINICAL.index(code)]) in text
    embedded = fonts(pdf(report))
    assert embedded
    assert all(embedded.values())
    assert all("NotoSans" in name for name in embedded)


def test_a_report_in_both_tongues_says_everything_in_both() -> None:
    text = squeezed("".join(pages(content(facts()[0], language=Language.BOTH, signature=SIGNATURE))))
    for key in ("title", "differential", "indices", "enough", "conclusion", "signature", "method", "support"):
        assert squeezed(LABELS[key].en) in text
        assert squeezed(LABELS[key].zh) in text
    assert "neutrophilicmyelocyte" in text
    assert "中性中幼粒细胞" in text


def test_an_english_report_holds_no_chinese() -> None:
    assert not re.search("[\u4e00-\u9fff]", "".join(pages(content(facts()[0], signature=SIGNATURE))))


def test_rare_characters_of_names_are_set_and_what_no_font_has_is_told_by_number() -> None:
    signature = SIGNATURE.model_copy(update={"name": "喆 堃 Łukasz Đặng"})
    text = squeezed("".join(pages(content(facts()[0], words=Words("😀 \u202e x \x07 y"), signature=signature))))
    assert "喆堃ŁukaszĐặng" in text
    assert "[U+1F600][U+202E]x[U+0007]y" in text


@pytest.mark.parametrize("counts", [{}, {"MYELO": 1}, {c.code: 125 for c in CLINICAL}, {"MYELOBLAST": 100_000}])
def test_cases_of_any_size_can_be_printed(counts: dict[str, int]) -> None:
    for language in Language:
        text = pages(content(facts(counts, more_fields=1)[0], words=Words(), language=language))
        assert 1 <= len(text) <= 3


def test_a_usual_case_with_pictures_takes_two_pages() -> None:
    case, assets = facts(USUAL, seeds=(1, 2))
    ids = tuple(c.id for c in case.gallery_cells)[:40]
    said = Words("Normocellular.\n\nAll three lineages mature.", "None.", fields=(1, 2), gallery=ids)
    for language in Language:
        assert len(pages(content(case, words=said, language=language, signature=SIGNATURE), assets)) == 2


def test_numbers_on_the_page_are_those_of_the_content() -> None:
    report = content(facts()[0])
    text = squeezed("".join(pages(report)))
    for line in report.classes:
        if line.share.count and line.share.percent is not None:
            share = line.share
            row = f"{line.name}{share.count}{share.percent:.1f}{share.low:.1f}–{share.high:.1f}"
            assert squeezed(row) in text
    assert f"{report.indices[0].value:.2f}" in text


def test_pictures_and_logo_are_in_the_file() -> None:
    case, assets = facts(seeds=(1,))
    lab = LAB.model_copy(update={"logo": base64.b64encode(logo()).decode()})
    report = content(case, words=Words(fields=(1,), gallery=(1, 2, 3)), rules=Rules(lab))
    images = [image for page in PdfReader(io.BytesIO(pdf(report, assets))).pages for image in page.images]
    assert len(images) == 1 + 3 + 1


def test_a_picture_that_is_gone_is_said_to_be_gone() -> None:
    case, _ = facts(seeds=(1,))
    report = content(case, words=Words(fields=(1,), gallery=(1,)))
    broken = Assets({report.images[0]: b"\xff\xd8 no jpeg"})
    for assets in (Assets(), broken):
        assert squeezed("".join(pages(report, assets))).count("picturenotavailable") == 2


@pytest.mark.parametrize("bad", ["", "!!!", "AAAA", "iVBORw0KGgo="])
def test_a_logo_that_is_no_picture_is_left_out(bad: str) -> None:
    assert pages(content(facts()[0], rules=Rules(Letterhead(laboratory="Lab", logo=bad))))


def test_the_file_is_a_pdf_a_for_keeping_dated_as_signed() -> None:
    reader = PdfReader(io.BytesIO(pdf(content(facts()[0], signature=SIGNATURE))))
    assert reader.xmp_metadata is not None
    raw = reader.xmp_metadata.stream.get_data()
    assert b"pdfaid" in raw
    assert reader.metadata is not None
    assert reader.metadata.creation_date == SIGNATURE.at
    assert reader.metadata.author == SIGNATURE.name
