from dataclasses import replace
from html.parser import HTMLParser

import pytest

from helpers.reporting import AMENDMENT, CLINICAL, LAB, SIGNATURE, content, facts, specimen
from marrowscope.cells.reference import default_references
from marrowscope.report.build import Rules, Words
from marrowscope.report.content import Language, ReportContent
from marrowscope.report.html import html
from marrowscope.report.pictures import Assets

EVIL = '<script>alert(1)</script><img src=x onerror="x">&amp;"\'{{ 7*7 }}{% raw %}'


class Page(HTMLParser):
    """Tags, attributes and the text of a page."""

    def __init__(self, report: ReportContent, assets: Assets | None = None) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html(report, assets))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def test_what_people_type_is_text_and_never_markup() -> None:
    lab = LAB.model_copy(update={"laboratory": EVIL, "footer": EVIL, "address": EVIL})
    case = replace(facts()[0], specimen=specimen(EVIL, EVIL))
    amendment = AMENDMENT.model_copy(update={"reason": EVIL})
    page = Page(content(case, words=Words(EVIL, EVIL), rules=Rules(lab), signature=SIGNATURE, amendment=amendment))
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(EVIL) >= 7


@pytest.mark.parametrize("language", list(Language))
def test_the_page_fetches_nothing_and_runs_nothing(language: Language) -> None:
    case, assets = facts(seeds=(1,))
    page = Page(content(case, words=Words(fields=(1,), gallery=(1, 2)), language=language), assets)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("src", "href", "action", "data")]
    assert len(links) == 3
    assert all(value.startswith("data:image/") for value in links)
    assert not [value for name, value in page.attributes if name == "style"]


def test_a_draft_is_marked_and_a_signed_report_is_not() -> None:
    case = facts()[0]
    draft, signed = Page(content(case)), Page(content(case, signature=SIGNATURE))
    assert "DRAFT" in draft.text
    assert "DRAFT" not in signed.text
    assert SIGNATURE.meaning in signed.text
    assert SIGNATURE.local in signed.text


def test_the_head_that_browsers_repeat_names_specimen_and_version() -> None:
    page = html(content(facts()[0], signature=SIGNATURE, amendment=AMENDMENT))
    head = page[page.index("<thead>") : page.index("</thead>")]
    for part in ("KM-2026-0417", "P-20931", "Version", "AMENDED", AMENDMENT.reason):
        assert part in head


def test_an_amendment_says_why() -> None:
    text = Page(content(facts()[0], signature=SIGNATURE, amendment=AMENDMENT)).text
    assert "AMENDED" in text
    assert AMENDMENT.reason in text


def test_the_page_says_the_numbers_of_the_content() -> None:
    report = content(facts()[0])
    text = Page(report).text
    for line in report.classes:
        if line.share.count:
            assert line.name in text
            assert f"{line.share.low:.1f}–{line.share.high:.1f}" in text


@pytest.mark.parametrize("counts", [{}, {"MYELO": 1}, {c.code: 125 for c in CLINICAL}])
def test_cases_of_any_size_make_a_page(counts: dict[str, int]) -> None:
    for language in Language:
        report = content(
            facts(counts, more_fields=0)[0], rules=Rules(references=default_references()), language=language
        )
        page = Page(report)
        assert page.tags.count("html") == 1


def test_the_same_content_gives_the_same_page() -> None:
    report = content(facts()[0])
    assert html(report) == html(ReportContent.from_json(report.to_json()))
