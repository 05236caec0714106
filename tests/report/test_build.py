import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.reporting import AMENDMENT, CLINICAL, NOW, SIGNATURE, USUAL, content, facts, slides
from marrowscope.cells.differential import exact_interval
from marrowscope.cells.reference import Flag, ReferenceRange, ReferenceRanges, ReferenceSets
from marrowscope.cells.stop_rule import CutOff, StopRule
from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy, load_taxonomy
from marrowscope.report.build import CaseFacts, Rules, Words, build_content, count_cells
from marrowscope.report.content import CautionKind, ReportContent, ShareLine

COUNTS = st.dictionaries(st.sampled_from([c.code for c in CLINICAL]), st.integers(0, 900), max_size=40)


def of(report: ReportContent, code: str) -> ShareLine:
    return next(line.share for line in report.classes if line.code == code)


def kinds(report: ReportContent) -> list[CautionKind]:
    return [caution.kind for caution in report.cautions]


@given(COUNTS)
def test_every_percentage_has_the_exact_interval_and_they_add_up(counts: dict[str, int]) -> None:
    report = content(facts(counts)[0])
    counted = {c.code for c in CLINICAL if c.counted}
    assert report.total == sum(n for code, n in counts.items() if code in counted)
    shares = [line.share for line in report.classes] + [line.share for line in report.lineages]
    for share in shares:
        low, high = exact_interval(share.count, report.total)
        assert (share.low, share.high) == (pytest.approx(100 * low, abs=1e-6), pytest.approx(100 * high, abs=1e-6))
        assert (share.percent is None) == (report.total == 0)
    for lines in (report.classes, report.lineages):
        assert sum(line.share.count for line in lines) == report.total
        assert report.total == 0 or math.fsum(line.share.percent or 0 for line in lines) == pytest.approx(100, abs=1e-4)


@given(COUNTS)
def test_nothing_that_was_seen_is_lost(counts: dict[str, int]) -> None:
    report = content(facts(counts)[0])
    found = {line.code: line.share.count for line in report.classes} | {x.code: x.count for x in report.uncounted}
    assert {code: n for code, n in found.items() if n} == {code: n for code, n in counts.items() if n}


def test_the_same_values_give_the_same_content() -> None:
    assert content(facts(seeds=(1,))[0]).to_json() == content(facts(seeds=(1,))[0]).to_json()


def test_an_empty_case_can_be_reported() -> None:
    report = content(replace(facts({}, more_fields=0)[0], slides=[]))
    assert (report.total, report.specimen.fields, report.verdict.stop) == (0, 0, False)
    assert {line.share.percent for line in report.classes} == {None}
    assert {index.value for index in report.indices} == {None}
    assert kinds(report) == [CautionKind.FEW_CELLS]


def test_a_code_that_the_scheme_no_longer_has_goes_to_the_bucket_or_is_named() -> None:
    assert of(content(facts({"HAIRY": 3, "OTHER": 2})[0]), "OTHER").count == 5
    paper = load_taxonomy("liu2022")
    report = content(facts({"HAIRY": 3, "MYELO": 2})[0], scheme=paper)
    assert report.total == 2
    assert [(c.about, c.count) for c in report.cautions if c.kind is CautionKind.UNKNOWN_CLASS] == [("HAIRY", 3)]


def test_few_cells_and_a_single_slide_are_cautioned() -> None:
    case = replace(facts({"MYELO": 499})[0], slides=slides("A"))
    assert {CautionKind.FEW_CELLS, CautionKind.ONE_SLIDE} <= set(kinds(content(case)))
    assert kinds(content(facts({"MYELO": 500})[0])) == []


def test_a_class_that_nobody_reviewed_is_named_and_so_are_all_unreviewed_cells() -> None:
    case = facts(USUAL)[0]
    case = replace(case, counts={**case.counts, "MYELOBLAST": (8, 0)})
    found = content(case).cautions
    assert [(c.kind, c.about, c.count) for c in found] == [
        (CautionKind.CELLS_UNREVIEWED, "", 8),
        (CautionKind.CLASS_UNREVIEWED, "MYELOBLAST", 8),
    ]


def test_where_nobody_reviewed_anything_that_is_said_once() -> None:
    assert kinds(content(facts(USUAL, reviewed=0)[0])) == [CautionKind.CELLS_UNREVIEWED]


def test_uncounted_cells_need_no_review() -> None:
    case = facts({"MYELO": 500, "SMUDGE": 30})[0]
    assert kinds(content(replace(case, counts={**case.counts, "SMUDGE": (30, 0)}))) == []


def test_many_unidentified_cells_are_cautioned() -> None:
    assert CautionKind.MANY_UNIDENTIFIED in kinds(content(facts({"MYELO": 940, "OTHER": 60})[0]))
    assert CautionKind.MANY_UNIDENTIFIED not in kinds(content(facts({"MYELO": 950, "OTHER": 50})[0]))


def test_a_value_outside_its_range_is_flagged_with_what_its_interval_says() -> None:
    report = content(facts({"MYELO": 260, "META": 190, "LYM": 550})[0])
    myelo, meta = of(report, "MYELO"), of(report, "META")
    assert myelo.flagged is not None
    assert (myelo.flagged.flag, myelo.flagged.certain) == (Flag.HIGH, False)  # 26.0 (23.3-28.8), usual 5-25
    assert meta.flagged is None
    assert of(report, "BAND").flagged is not None
    assert of(report, "BAND").flagged.certain  # none at all
    assert of(report, "LYM").usual is None


def test_a_range_of_several_classes_gets_a_line_of_their_sum() -> None:
    report = content(facts({"NORMO_POLY": 30, "NORMO_ORTHO": 20, "MYELO": 50})[0])
    line = next(g for g in report.groups if "NORMO_POLY" in g.codes)
    assert (line.share.count, line.share.percent, line.lineage) == (50, 50.0, Lineage.ERYTHROID)
    assert line.share.flagged is not None
    assert line.share.flagged.flag is Flag.HIGH


def test_a_lab_decides_on_its_ranges_and_its_stop_rule() -> None:
    ours = ReferenceRanges("ours", "40 donors", "2025", (ReferenceRange(index="M:E", low=1.5, high=4),))
    rules = Rules(
        references=ReferenceSets((ours,)), stop_rule=StopRule(cells=100, cutoffs=(CutOff("x", ("LYM",), 50),))
    )
    report = content(facts({"MYELO": 90, "NORMO_POLY": 10})[0], rules=rules)
    assert [(s.name, s.dated) for s in report.references] == [("ours", "2025")]
    assert report.indices[0].usual is not None
    assert report.indices[0].flagged is not None
    assert (report.verdict.stop, [c.name for c in report.verdict.cutoffs]) == (True, ["x"])
    assert report.groups == ()


def test_chosen_pictures_come_in_the_order_chosen_and_strangers_are_left_out() -> None:
    case = facts(seeds=(1, 2))[0]
    ids = [c.id for c in case.gallery_cells]
    report = content(case, words=Words(fields=(2, 1, 2, 999), gallery=(ids[5], ids[0], ids[5], 10_000)))
    assert [p.id for p in report.pictures] == [2, 1]
    assert [c.id for c in report.gallery] == [ids[5], ids[0]]
    assert len(report.pictures[1].cells) == len(case.field_cells[1])
    assert any(not cell.counted for p in report.pictures for cell in p.cells)


def test_removed_cells_are_not_shown() -> None:
    case = facts(seeds=(1,))[0]
    gone = case.gallery_cells[0]
    cells = [replace(c, removed=c.id == gone.id) for c in case.gallery_cells]
    case = replace(case, gallery_cells=cells, field_cells={1: cells})
    report = content(case, words=Words(fields=(1,), gallery=(gone.id,)))
    assert report.gallery == ()
    assert len(report.pictures[0].cells) == len(cells) - 1


def test_the_method_names_the_models_that_looked() -> None:
    case = facts()[0]
    fields = [replace(f, model_id=None if f.number <= 3 else 1) for f in case.fields]
    method = content(replace(case, fields=fields)).method
    assert [(m.name, m.fields) for m in method.models] == [("light-2026-05", len(fields) - 3)]
    assert method.fields_without_model == 3
    assert (method.version, method.scheme) == ("0.1.0", "clinical")


def test_a_draft_differs_from_what_is_signed_in_signature_and_moment_alone() -> None:
    case = facts()[0]
    draft, signed = content(case), content(case, signature=SIGNATURE)
    assert draft.substance == signed.substance
    assert draft.digest != signed.digest
    assert content(facts({"MYELO": 1})[0]).substance != draft.substance
    assert content(case, amendment=AMENDMENT).substance != draft.substance


def test_counts_follow_the_scheme_whatever_its_size() -> None:
    many = Taxonomy("many", tuple(CellClass(f"C{n}", f"class {n}", Lineage.OTHER) for n in range(120)))
    count = count_cells({f"C{n}": (n, 0) for n in range(120)}, many)
    assert count.differential.total == sum(range(120))
    facts_of_many = CaseFacts(facts()[0].specimen, [], [], {f"C{n}": (n, n) for n in range(120)})
    report = build_content(facts_of_many, Words(), Rules(), many, made_at=NOW, software="0")
    assert len(report.classes) == 120
