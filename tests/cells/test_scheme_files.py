"""A lab's own scheme as a TOML file, and what is said when it is wrong."""

from pathlib import Path

import pytest

from marrowscope.cells.taxonomy import Lineage, Taxonomy, lexicon_by_code, load_taxonomy
from marrowscope.errors import BadTaxonomy

OUR_LAB = """
name = "our lab"
other = "OTHER"

[[classes]]
code = "MYELO"
name = "myelo"
aliases = ["MY-1", "MY-2", "MYB"]

[[classes]]
code = "HAIRY"
name = "hairy cell"
lineage = "lymphoid"
counted = false

[[classes]]
code = "OTHER"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_known_word_gets_what_the_file_leaves_out(tmp_path: Path) -> None:
    myelo = load_taxonomy(write(tmp_path, OUR_LAB))[0]
    word = lexicon_by_code()["MYELO"]
    assert myelo.name == "myelo"
    assert (myelo.lineage, myelo.stage, myelo.snomed_ct, myelo.paper) == (
        word.lineage, word.stage, word.snomed_ct, word.paper,
    )  # fmt: skip


def test_aliases_are_added_to_those_of_the_word_once(tmp_path: Path) -> None:
    scheme = load_taxonomy(write(tmp_path, OUR_LAB))
    assert scheme[0].aliases == (*lexicon_by_code()["MYELO"].aliases, "MY-1", "MY-2")
    assert [scheme.find(label) for label in ("my_1", "MY 2", "MYB", "myelocyte", "myelo")] == [0] * 5


def test_a_class_of_the_labs_own_is_as_written(tmp_path: Path) -> None:
    hairy = load_taxonomy(str(write(tmp_path, OUR_LAB)))[1]
    assert (hairy.code, hairy.name, hairy.lineage, hairy.stage) == ("HAIRY", "hairy cell", Lineage.LYMPHOID, None)
    assert not hairy.counted


def test_labels_of_no_class_go_to_the_bucket(tmp_path: Path) -> None:
    scheme = load_taxonomy(write(tmp_path, OUR_LAB))
    assert scheme.other == "OTHER"
    assert scheme.find("never seen") == scheme.index("OTHER") == 2


def test_a_chinese_label_is_found(tmp_path: Path) -> None:
    scheme = load_taxonomy(write(tmp_path, OUR_LAB.replace('"MY-1"', '"粒-一"')))
    assert scheme.find("粒 一") == scheme.find("中性中幼粒细胞") == 0


MYELO = 'name = "x"\n[[classes]]\ncode = "MYELO"\n'
OWN = 'name = "x"\n[[classes]]\ncode = "HAIRY"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", r": not readable as TOML: .*\. Write the scheme as TOML"),
        ("", r": needs a `name`\. Write it"),
        ("name = 5\n[[classes]]\ncode='MYELO'", r": needs a `name`\. Write it"),
        ('name = "x"', r": has no classes\. List at least one \[\[classes\]\] entry"),
        ('name = "x"\nclasses = []', r": has no classes\. List at least one"),
        ('name = "x"\nclasses = "MYELO"', r": has no classes\. List at least one"),
        ('name = "x"\nclasses = 5', r": has no classes\. List at least one"),
        ('name = "x"\nclasses = ["MYELO"]', r", class 1: needs a `code`\. Write a word"),
        ('name = "x"\n[[classes]]\nname = "myelocyte"', r", class 1: needs a `code`"),
        ('name = "x"\n[[classes]]\ncode = 5', r", class 1: needs a `code`"),
        ('name = "x"\n[[classes]]\ncode = ["MYELO"]', r", class 1: needs a `code`"),
        (f'colour = "red"\n{MYELO}', r": unknown entry \['colour'\]\. Known: name, other, classes"),
        (f"other = 5\n{MYELO}", r": `other` must be the code of a class, got 5\. Correct it"),
        (f"{MYELO}colour = 'red'", r", class 1 \(MYELO\): unknown entry \['colour'\]\. Known: code, name, lineage"),
        (f"{MYELO}name = 5", r", class 1 \(MYELO\): `name` must be text in quotes, got 5\. Correct it"),
        (f"{MYELO}snomed_ct = 4717004", r"\(MYELO\): `snomed_ct` must be text in quotes, got 4717004"),
        (f"{MYELO}aliases = 'MY-1'", r", class 1 \(MYELO\): `aliases` must be a list of texts, got 'MY-1'\. Correct it"),  # noqa: E501
        (f"{MYELO}aliases = ['MY-1', 2]", r"\(MYELO\): `aliases` must be a list of texts"),
        (f"{MYELO}stage = 'two'", r"\(MYELO\): `stage` must be a number from 1, got 'two'"),
        (f"{MYELO}stage = true", r"\(MYELO\): `stage` must be a number from 1, got True"),
        (f"{MYELO}stage = 0", r"\(MYELO\): `stage` must be a number from 1, got 0"),
        (f"{MYELO}counted = 'no'", r"\(MYELO\): `counted` must be true or false, got 'no'"),
        (f"{MYELO}lineage = 'myeloid'", r"\(MYELO\): lineage 'myeloid' is unknown\. Known: granulocytic, erythroid,"),
        (f"{OWN}name = 'hairy cell'", r"class 1 \(HAIRY\): is no word of marrowscope\. A class of your own needs `name` and"),  # noqa: E501
        (f"{OWN}lineage = 'lymphoid'", r"class 1 \(HAIRY\): is no word of marrowscope\. A class of your own needs `name` and"),  # noqa: E501
        (f"{MYELO}[[classes]]\ncode = 'META'\nstage = 'x'", r"lab\.toml, class 2 \(META\): `stage`"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_the_class_and_the_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadTaxonomy, match=rf"lab\.toml{complaint}" if complaint[0] in ":," else complaint) as error:
        load_taxonomy(write(tmp_path, text))
    assert str(error.value).startswith(str(tmp_path / "lab.toml"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f'other = "OTHER"\n{MYELO}', r"scheme 'x': other = 'OTHER' is not one of its classes\. List that class, or leave"),  # noqa: E501
        (f"{MYELO}[[classes]]\ncode = 'MYELO'", r"scheme 'x': .* stands for two classes \(MYELO, MYELO\)\. Remove it"),
        (f"{MYELO}[[classes]]\ncode = 'META'\naliases = ['MY']", r"'MY' stands for two classes \(MYELO, META\)\. Remove"),  # noqa: E501
        (f"{OWN}name = ' '\nlineage = 'other'", r"scheme 'x', class 1: has no name or no code\. Give it both"),
    ],
)  # fmt: skip
def test_classes_that_do_not_fit_together_are_named_with_their_scheme(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(BadTaxonomy, match=complaint):
        load_taxonomy(write(tmp_path, text))


def test_a_file_that_is_missing_is_named_with_the_built_in_schemes(tmp_path: Path) -> None:
    with pytest.raises(
        BadTaxonomy, match=r"lav\.toml: no such file\. Built-in schemes: clinical, liu2022, liu2022-21\."
    ):
        load_taxonomy(tmp_path / "lav.toml")


def test_a_folder_or_a_foreign_file_is_no_scheme(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes(b"\xff\xfe\x00name")
    for path in (tmp_path, tmp_path / "lab.toml"):
        with pytest.raises(BadTaxonomy, match=r"not readable as TOML: .*\. Write the scheme as TOML"):
            load_taxonomy(path)


@pytest.mark.parametrize("values", [None, [], "liu2022", 5])
def test_a_value_that_is_no_mapping_is_refused_where_it_stands(values: object) -> None:
    with pytest.raises(BadTaxonomy, match=r"^header of a\.npz: needs a `name`"):
        Taxonomy.from_dict(values, where="header of a.npz")  # type: ignore[arg-type]
