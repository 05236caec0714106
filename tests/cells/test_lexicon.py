"""The words themselves: the lexicon, and the schemes that come with marrowscope."""

import csv
import re
from collections import Counter
from importlib import resources

import pytest

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

G, E, L, M, P = Lineage.GRANULOCYTIC, Lineage.ERYTHROID, Lineage.LYMPHOID, Lineage.MONOCYTIC, Lineage.PLASMA

# Table 1 of Liu et al. 2022 row by row (rarest first), with what haematology says about each row; then the class that
# only the authors' own list has. Code, row's name, Chinese label, lineage, stage, Cell Ontology, SNOMED CT.
TABLE_1 = [
    ("EOS_SEG", "Eosinophilic lobulated nuclei", "嗜酸性分叶核粒细胞", G, 6, "CL:0000041", "14793004"),
    ("NORMO_BASO", "Basophilic normoblast", "早幼红细胞", E, 2, "CL:0000549", "464005"),
    ("PLASMABLAST", "Protoplasma cell", "原始浆细胞", P, 1, "CL:0000980", ""),
    ("PROMYELO", "Promyelocyte", "早幼粒细胞", G, 2, "CL:0000836", "43446009"),
    ("MEGALO_POLY", "Megalocytocytes", "巨中幼红细胞", E, 3, "", ""),
    ("LYM_ATYP", "Lymphocyte atypia", "异型淋巴细胞", L, 3, "", ""),
    ("NEU_SEG", "Neutrophils", "中性分叶核粒细胞", G, 6, "CL:0000096", "80153006"),
    ("NORMO_POLY", "Polychromatic erythroblast", "中幼红细胞", E, 3, "CL:0000550", "16779009"),
    ("META", "Neutrophilic metamyelocyte", "中性晚幼粒细胞", G, 4, "CL:0000582", "50134008"),
    ("MYELO", "Neutrophilic myelocyte", "中性中幼粒细胞", G, 3, "CL:0000580", "4717004"),
    ("PROLYM", "Naive lymphocyte", "幼稚淋巴细胞", L, 2, "", "19394005"),
    ("PROPLASMA", "Naive plasma cell", "幼稚浆细胞", P, 2, "", ""),
    ("BAND", "Neutrophilic granulocyte band form", "中性杆状核粒细胞", G, 5, "CL:0000560", "702697008"),
    ("PROMONO", "Naive monocyte", "幼稚单核细胞", M, 2, "CL:0000559", "1075005"),
    ("NORMO_ORTHO", "Metarubricyte", "晚幼红细胞", E, 4, "CL:0000552", "113334004"),
    ("LYMPHOBLAST", "Protolymphocyte", "原始淋巴细胞", L, 1, "CL:0017005", "15433008"),
    ("LYM", "Mature lymphocyte", "成熟淋巴细胞", L, 3, "CL:0000542", "56972008"),
    ("MYELOBLAST", "Myeloblast", "原始粒细胞", G, 1, "CL:0000835", "15622002"),
    ("PROMYELO_ABN", "Abnormal promyelocytic granulocytes", "异常早幼粒细胞", G, 2, "", ""),
    ("MONOBLAST", "Protomonocyte", "原始单核细胞", M, 1, "CL:0000040", "53945006"),
    ("MEGALO_ORTHO", "", "巨晚幼红细胞", E, 4, "", ""),
]
# What no differential of nucleated cells counts.
UNCOUNTED = {"MAST", "MEGAKARYO", "MACRO", "MITOSIS", "SMUDGE", "ARTEFACT", "RBC", "PLATELET"}
WORDS = pytest.mark.parametrize("word", lexicon(), ids=lambda w: w.code)


@pytest.mark.parametrize("row", TABLE_1, ids=lambda row: row[0])
def test_a_row_of_table_1_has_its_lineage_stage_and_codes(row: tuple[str, str, str, Lineage, int, str, str]) -> None:
    word = lexicon_by_code()[row[0]]
    assert (word.paper, word.chinese, word.lineage, word.stage, word.cell_ontology, word.snomed_ct) == row[1:]
    assert word.counted


def test_the_scheme_of_the_paper_has_20_classes_in_the_order_of_table_1() -> None:
    assert [c.code for c in load_taxonomy("liu2022")] == [row[0] for row in TABLE_1[:20]]


def test_the_scheme_of_the_authors_adds_a_21st_class_at_the_end() -> None:
    assert [c.code for c in load_taxonomy("liu2022-21")] == [row[0] for row in TABLE_1]


def test_the_papers_results_are_kept_for_just_its_classes_in_the_same_order() -> None:
    text = (resources.files("marrowscope.evaluation") / "paper_results.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader((line for line in text.splitlines() if not line.startswith("#")), delimiter="\t")
    assert [r["code"] for r in rows if r["code"] != "MEAN"] == [c.code for c in load_taxonomy("liu2022")]


@WORDS
def test_every_word_is_found_by_each_of_its_spellings(word: CellClass) -> None:
    assert [find_word(spelling) for spelling in word.spellings()] == [word] * len(list(word.spellings()))


def test_no_spelling_stands_for_two_words() -> None:
    owners = Counter(key for word in lexicon() for key in {spelling_key(s) for s in word.spellings()})
    assert [key for key, words in owners.items() if words > 1] == []


@WORDS
def test_every_word_is_well_formed(word: CellClass) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", word.code)
    assert word.name == word.name.lower().strip()
    assert re.fullmatch(r"(CL:\d{7})?", word.cell_ontology)
    assert re.fullmatch(r"(\d{6,18})?", word.snomed_ct)
    assert word.counted == (word.code not in UNCOUNTED)


def test_no_code_of_an_ontology_is_given_to_two_words() -> None:
    for entry in ("code", "name", "cell_ontology", "snomed_ct"):
        given = Counter(value for word in lexicon() if (value := getattr(word, entry)))
        assert max(given.values()) == 1, entry


def test_stages_follow_maturation_from_the_blast() -> None:
    stage = {word.code: word.stage for word in lexicon()}
    for line in (
        "MYELOBLAST PROMYELO MYELO META BAND NEU_SEG",
        "EOS_MYELO EOS_META EOS_SEG",
        "PROERYTHRO NORMO_BASO NORMO_POLY NORMO_ORTHO",
        "MEGALO_POLY MEGALO_ORTHO",
        "LYMPHOBLAST PROLYM LYM",
        "MONOBLAST PROMONO MONO",
        "PLASMABLAST PROPLASMA PLASMA",
    ):
        stages = [stage[code] or 0 for code in line.split()]
        assert stages == sorted(set(stages)), line


@pytest.mark.parametrize(
    ("label", "code"),
    [
        # peripheral blood set of Acevedo 2020
        *[("SNE", "NEU_SEG"), ("BNE", "BAND"), ("MMY", "META"), ("MY", "MYELO"), ("PMY", "PROMYELO"), ("EO", "EOS")],
        *[("ERB", "ERYTHRO"), ("MO", "MONO"), ("LY", "LYM"), ("BA", "BASO"), ("platelet", "PLATELET")],
        # Munich sets (Matek 2019, 2021)
        *[("EOS", "EOS"), ("EBO", "ERYTHRO"), ("KSC", "SMUDGE"), ("LYA", "LYM_ATYP"), ("MMZ", "META"), ("MYO", "MYELOBLAST")],  # noqa: E501
        *[("MOB", "MONOBLAST"), ("NGB", "BAND"), ("NGS", "NEU_SEG"), ("BLA", "BLAST"), ("PEB", "PROERYTHRO"), ("OTH", "OTHER")],  # noqa: E501
        # BCCD
        *[("WBC", "WBC"), ("RBC", "RBC"), ("Platelets", "PLATELET")],
    ],
)  # fmt: skip
def test_labels_of_public_sets_are_known(label: str, code: str) -> None:
    word = find_word(label)
    assert word is not None
    assert word.code == code


def test_a_word_nobody_knows_is_not_guessed() -> None:
    assert find_word("myelocytoid thing") is None


@pytest.mark.parametrize("name", builtin_schemes())
def test_a_built_in_scheme_is_made_of_known_words_and_called_as_its_file(name: str) -> None:
    scheme = load_taxonomy(name)
    assert scheme.name == name
    assert scheme.classes == tuple(lexicon_by_code()[c.code] for c in scheme)


def test_the_built_in_schemes_are_the_documented_three() -> None:
    assert builtin_schemes() == ("clinical", "liu2022", "liu2022-21")


def test_the_clinical_scheme_holds_all_that_a_differential_needs() -> None:
    codes = {c.code for c in load_taxonomy("clinical")}
    assert codes >= {row[0] for row in TABLE_1}
    assert codes >= {"PROERYTHRO", "MONO", "PLASMA", "BASO", "EOS_MYELO", "EOS_META", "BLAST", "OTHER"} | UNCOUNTED


@WORDS
def test_in_the_clinical_scheme_a_known_word_keeps_its_lineage_and_whether_it_counts(word: CellClass) -> None:
    clinical = load_taxonomy("clinical")
    found = clinical[clinical.index(word.name)]
    # Else a megakaryocyte or an erythroblast would be counted as an unidentified cell.
    assert (found.lineage, found.counted) == (word.lineage, word.counted)


def test_in_the_clinical_scheme_what_nobody_can_name_goes_to_the_bucket() -> None:
    clinical = load_taxonomy("clinical")
    assert clinical[clinical.index("no such cell")].code == "OTHER"


def test_in_the_papers_scheme_an_unknown_label_is_unknown() -> None:
    assert load_taxonomy("liu2022").find("megakaryocyte") is None


def test_a_scheme_is_read_the_same_twice() -> None:
    assert load_taxonomy("liu2022") == load_taxonomy("liu2022")
    assert isinstance(load_taxonomy("liu2022"), Taxonomy)
