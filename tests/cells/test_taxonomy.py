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
    load_taxonomy,
)
from marrowscope.errors import BadTaxonomy


def test_liu2022_has_the_twenty_rows_of_table_1_in_their_order():
    scheme = load_taxonomy("liu2022")
    assert len(scheme) == 20
    assert scheme[0].paper == "Eosinophilic lobulated nuclei"
    assert scheme[19].paper == "Protomonocyte"
    assert scheme.lineages == ("granulocytic", "erythroid", "lymphoid", "monocytic", "plasma")


def test_the_authors_twenty_first_class_is_in_a_scheme_of_its_own():
    twenty, all_of_them = load_taxonomy("liu2022"), load_taxonomy("liu2022-21")
    assert all_of_them.names[:20] == twenty.names
    assert all_of_them[20].name == "megaloblastic orthochromatic erythroblast"


@pytest.mark.parametrize("name", builtin_schemes())
def test_every_built_in_scheme_comes_back_from_plain_values(name):
    scheme = load_taxonomy(name)
    assert Taxonomy.from_dict(scheme.to_dict()) == scheme


@given(st.lists(st.sampled_from([s for c in lexicon() for s in c.spellings()] + ["odd cell", "Ätypisch"]), unique=True))
def test_labels_keep_their_names_and_come_back_from_plain_values(labels):
    distinct = list({" ".join(x.replace("_", " ").replace("-", " ").casefold().split()): x for x in labels}.values())
    if not distinct:
        return
    scheme = Taxonomy.from_labels(distinct)
    assert list(scheme.names) == distinct
    assert [scheme.index(x) for x in distinct] == list(range(len(distinct)))
    assert Taxonomy.from_dict(scheme.to_dict()) == scheme
    for label, cell in zip(distinct, scheme, strict=True):
        word = find_word(label)
        assert cell.lineage == (word.lineage if word else Lineage.OTHER)


def test_case_underscores_and_hyphens_do_not_matter():
    scheme = load_taxonomy("liu2022")
    assert {scheme.find(x) for x in ("Band_Neutrophil", "band-neutrophil", "BAND", " band  neutrophil ")} == {
        scheme.index("band neutrophil")
    }


def test_a_name_outranks_anothers_alias():
    ours = (CellClass("A", "blast", Lineage.OTHER, aliases=("myelocyte",)), CellClass("B", "myelocyte", Lineage.OTHER))
    assert Taxonomy("ours", ours).index("myelocyte") == 1


def test_a_labs_own_scheme_merges_labels_adds_classes_and_has_a_bucket(tmp_path):
    (tmp_path / "ours.toml").write_text(
        'name = "ours"\nother = "OTHER"\n'
        '[[classes]]\ncode = "MYELO"\naliases = ["MY-1", "MY-2"]\n'
        '[[classes]]\ncode = "HAIRY"\nname = "hairy cell"\nlineage = "lymphoid"\n'
        '[[classes]]\ncode = "OTHER"\n'
    )
    ours = load_taxonomy(tmp_path / "ours.toml")
    assert ours.find("my 1") == ours.find("MY-2") == ours.find("myelocyte") == 0
    assert ours[1].lineage == Lineage.LYMPHOID
    assert ours.find("never heard of") == 2


def test_without_a_bucket_an_unknown_label_is_unknown():
    scheme = load_taxonomy("liu2022")
    assert scheme.find("never heard of") is None
    with pytest.raises(BadTaxonomy, match=r"'never heard of' is no class of scheme 'liu2022'\. Known: segmented"):
        scheme.index("never heard of")


def test_every_class_maps_to_its_lineage():
    scheme = load_taxonomy("clinical")
    lineages, index = scheme.lineage_scheme()
    assert [lineages[i].lineage for i in index] == [c.lineage for c in scheme]
    assert len(lineages) == len(scheme.lineages)


def test_keeping_some_classes_keeps_their_order():
    scheme = load_taxonomy("liu2022")
    assert scheme.keep([7, 2]).names == (scheme[2].name, scheme[7].name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not readable as TOML"),
        ('name = "x"', "at least one"),
        ('name = "x"\nclasses = []', "no classes"),
        ('name = "x"\n[[classes]]\nname = "y"', "class 1: needs a `code`"),
        ('name = "x"\n[[classes]]\ncode = "MYELO"\ncolour = "red"', r"class 1 \(MYELO\): unknown entry \['colour'\]"),
        ('name = "x"\n[[classes]]\ncode = "OWN"', "`name` and `lineage`"),
        ('name = "x"\nother = "NO"\n[[classes]]\ncode = "MYELO"', "other = 'NO' is not one of its classes"),
        ('name = "x"\n[[classes]]\ncode = "MYELO"\n[[classes]]\ncode = "MYELO"', "stands for two classes"),
    ],
)
def test_a_wrong_scheme_says_where_and_what(tmp_path, text, message):
    (tmp_path / "ours.toml").write_text(text)
    with pytest.raises(BadTaxonomy, match=message):
        load_taxonomy(tmp_path / "ours.toml")


def test_a_scheme_that_is_not_there_names_those_that_are():
    with pytest.raises(BadTaxonomy, match="Built-in schemes: clinical, liu2022, liu2022-21"):
        load_taxonomy("liu2021")
