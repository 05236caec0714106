"""What a scheme does: finding, keeping, merging into lineages, round trips, and schemes made from labels."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import (
    CellClass,
    Lineage,
    Taxonomy,
    builtin_schemes,
    find_word,
    lexicon,
    lexicon_by_code,
    load_taxonomy,
    spelling_key,
)
from marrowscope.errors import BadTaxonomy

CLINICAL = load_taxonomy("clinical")
SPELLINGS = sorted({s for word in lexicon() for s in word.spellings()})
any_label = st.sampled_from(SPELLINGS) | st.text(
    st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=8
)
distinct_labels = st.lists(
    any_label.filter(lambda s: spelling_key(s) != ""), min_size=1, max_size=8, unique_by=spelling_key
)


def through_json(scheme: Taxonomy) -> Taxonomy:
    return Taxonomy.from_dict(json.loads(json.dumps(scheme.to_dict())))


@given(st.data())
def test_find_ignores_case_underscores_hyphens_and_double_spaces(data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(CLINICAL) - 1))
    spelling = data.draw(st.sampled_from(list(CLINICAL[k].spellings())))
    gap = data.draw(st.sampled_from([" ", "_", "-", "  ", " - "]))
    case = data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))
    assert CLINICAL.find(case(f" {spelling.replace(' ', gap)} ")) == k


def test_a_name_outranks_an_alias_whichever_comes_first() -> None:
    lender = CellClass("NEU_MY", "neutrophilic myelocyte", Lineage.GRANULOCYTIC, aliases=("myelocyte", "MY"))
    owner = CellClass("ANY_MY", "Myelocyte", Lineage.GRANULOCYTIC)
    for classes in ((lender, owner), (owner, lender)):
        scheme = Taxonomy("names", classes)
        assert scheme[scheme.index("myelocyte")] is owner
        assert scheme[scheme.index("MY")] is lender


def test_a_code_outranks_an_alias() -> None:
    scheme = Taxonomy(
        "codes",
        (CellClass("A", "segmented eosinophil", Lineage.GRANULOCYTIC, aliases=("EOS",)), lexicon_by_code()["EOS"]),
    )
    assert scheme.index("eos") == 1


def test_a_label_of_no_class_goes_to_other_only_where_there_is_one() -> None:
    words = (lexicon_by_code()["LYM"], lexicon_by_code()["OTHER"])
    with_bucket, without = Taxonomy("a", words, other="OTHER"), Taxonomy("a", words)
    assert (with_bucket.find("hairy cell"), with_bucket.index("hairy cell")) == (1, 1)
    assert (with_bucket.find("lymphocyte"), with_bucket.find("unidentified")) == (0, 1)
    assert without.find("hairy cell") is None


def test_a_class_that_is_missing_is_named_with_the_scheme_and_what_it_knows() -> None:
    with pytest.raises(
        BadTaxonomy, match=r"^'hairy cell' is no class of scheme 'two'\. Known: lymphocyte, monocyte\.$"
    ):
        Taxonomy("two", (lexicon_by_code()["LYM"], lexicon_by_code()["MONO"])).index("hairy cell")


def test_a_scheme_is_a_sequence_of_its_classes() -> None:
    scheme = load_taxonomy("liu2022")
    assert len(scheme) == 20
    assert [scheme[i] for i in range(20)] == list(scheme) == list(scheme.classes)
    assert scheme.names == tuple(c.name for c in scheme)
    assert scheme.lineages == (
        Lineage.GRANULOCYTIC,
        Lineage.ERYTHROID,
        Lineage.LYMPHOID,
        Lineage.MONOCYTIC,
        Lineage.PLASMA,
    )


@given(st.lists(st.integers(0, len(CLINICAL) - 1), min_size=1))
def test_keep_leaves_just_these_classes_in_the_same_order(labels: list[int]) -> None:
    kept = CLINICAL.keep(labels)
    assert kept.classes == tuple(CLINICAL[i] for i in sorted(set(labels)))
    assert kept.name == CLINICAL.name
    assert kept.other == ("OTHER" if CLINICAL.index("OTHER") in labels else None)
    assert kept.keep(range(len(kept))) == kept


@pytest.mark.parametrize("other", ["OTHER", "unidentified", "Unidentified-Cell"])
def test_keep_knows_the_bucket_by_every_spelling(other: str) -> None:
    scheme = Taxonomy("ours", (lexicon_by_code()["LYM"], lexicon_by_code()["OTHER"]), other=other)
    assert scheme.keep([1]).other == other
    assert scheme.keep([0]).other is None


@given(st.sampled_from(builtin_schemes()), st.data())
def test_every_part_of_a_scheme_survives_json(name: str, data: st.DataObject) -> None:
    scheme = load_taxonomy(name)
    part = scheme.keep(data.draw(st.sets(st.integers(0, len(scheme) - 1), min_size=1)))
    assert through_json(part) == part
    assert through_json(part.lineage_scheme()[0]) == part.lineage_scheme()[0]


@given(distinct_labels)
def test_every_scheme_of_labels_survives_json(labels: list[str]) -> None:
    scheme = Taxonomy.from_labels(labels)
    assert through_json(scheme) == scheme


def test_a_saved_scheme_does_not_take_up_what_the_lexicon_says_meanwhile() -> None:
    bare = Taxonomy("old", (CellClass("MYELO", "myelocyte", Lineage.GRANULOCYTIC),))
    assert through_json(bare) == bare


@pytest.mark.parametrize("name", builtin_schemes())
def test_lineages_are_a_scheme_of_their_own_many_classes_to_one(name: str) -> None:
    scheme = load_taxonomy(name)
    by_lineage, index = scheme.lineage_scheme()
    assert len(index) == len(scheme)
    assert set(index) == set(range(len(by_lineage)))
    for cell, k in zip(scheme, index, strict=True):
        assert by_lineage[k].lineage == cell.lineage
        assert by_lineage[k].name == cell.lineage.value
    assert len(by_lineage) < len(scheme)
    assert by_lineage.lineage_scheme()[1] == tuple(range(len(by_lineage)))


@given(distinct_labels)
def test_labels_keep_their_names_as_written_and_their_order(labels: list[str]) -> None:
    scheme = Taxonomy.from_labels(labels)
    assert scheme.names == tuple(labels)
    assert [scheme.find(label) for label in labels] == list(range(len(labels)))


@given(distinct_labels)
def test_labels_take_lineage_stage_and_counting_from_the_lexicon(labels: list[str]) -> None:
    for cell in Taxonomy.from_labels(labels):
        word = find_word(cell.name) or CellClass("", "", Lineage.OTHER)
        assert (cell.lineage, cell.stage, cell.counted) == (word.lineage, word.stage, word.counted)
        assert (cell.cell_ontology, cell.snomed_ct) == (word.cell_ontology, word.snomed_ct)


def test_a_label_is_also_found_by_the_standard_name() -> None:
    scheme = Taxonomy.from_labels(["SNE", "Unheard of"])
    assert scheme.index("segmented neutrophil") == 0
    assert [c.code for c in scheme] == ["NEU_SEG", "UNHEARD_OF"]


@pytest.mark.parametrize(
    "labels", [["myelocyte", "MYELO"], ["MYELO", "myelocyte"], ["MY", "MYB", "Neutrophilic myelocyte"]]
)
def test_two_spellings_of_one_word_stay_two_classes(labels: list[str]) -> None:
    scheme = Taxonomy.from_labels(labels)
    assert scheme.names == tuple(labels)
    assert {c.lineage for c in scheme} == {Lineage.GRANULOCYTIC}
    assert [c.code for c in scheme].count("MYELO") == 1


def test_a_second_spelling_of_an_uncounted_cell_is_not_counted_either() -> None:
    assert [c.counted for c in Taxonomy.from_labels(["RBC", "erythrocyte"])] == [False, False]


@pytest.mark.parametrize("labels", [["blast", "Blast"], ["band_cell", "band cell"]])
def test_labels_that_differ_only_in_case_or_hyphens_cannot_be_told_apart(labels: list[str]) -> None:
    with pytest.raises(
        BadTaxonomy, match=f"(?i)scheme 'as labelled': '{labels[1]}' stands for two classes .* Remove it"
    ):
        Taxonomy.from_labels(labels)


def test_no_labels_and_nameless_labels_are_refused() -> None:
    with pytest.raises(BadTaxonomy, match=r"scheme 'mine' has no classes\. List at least one"):
        Taxonomy.from_labels([], "mine")
    with pytest.raises(BadTaxonomy, match=r"scheme 'mine', class 2: has no name or no code\. Give it both"):
        Taxonomy.from_labels(["blast", " "], "mine")


def test_a_shared_alias_is_refused_and_both_classes_are_named() -> None:
    one, two = (CellClass(c, c.lower(), Lineage.LYMPHOID, aliases=("L-1",)) for c in ("ONE", "TWO"))
    with pytest.raises(
        BadTaxonomy, match=r"scheme 's': 'L-1' stands for two classes \(ONE, TWO\)\. Remove it from one"
    ):
        Taxonomy("s", (one, two))
    assert len(Taxonomy("s", (one, replace(two, aliases=("L-2",))))) == 2


def test_a_scheme_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        CLINICAL.name = "mine"  # type: ignore[misc]
