from pathlib import Path

import pytest

from marrowscope.cells.taxonomy import lexicon
from marrowscope.errors import MissingExtra
from marrowscope.report import words
from marrowscope.report.content import CautionKind
from marrowscope.report.fonts import FILES, FOLDER, font_folder, missing_fonts, printable, unprintable


def test_the_fonts_are_installed_with_their_licences() -> None:
    assert missing_fonts() == ()
    assert font_folder() == FOLDER
    for licence in ("OFL-NotoSansSC.txt", "OFL-NotoSans.txt"):
        assert "SIL Open Font License" in (FOLDER / licence).read_text(encoding="utf-8")


def test_missing_fonts_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / FILES[0]).write_bytes(b"")
    assert missing_fonts(tmp_path) == FILES[1:]
    with pytest.raises(MissingExtra, match=r"NotoSansSC-Bold.*Install marrowscope again"):
        font_folder(tmp_path)


def test_every_word_of_ours_can_be_printed() -> None:
    ours = [*words.LABELS.values(), *words.LINEAGES.values(), *words.INDICES.values(), *words.ROLES.values()]
    text = "".join(said.en + said.zh for said in ours)
    text += "".join(c.name + c.chinese + words.chinese_name(c) for c in lexicon())
    assert unprintable(text) == ""


@pytest.mark.parametrize("text", ["Łódź Ørsted Đặng Škoda", "Ελληνικά Кириллица", "喆堃珺昇镕髓嗜", "≥ ± µ ° ½ – … ↑"])
def test_names_of_many_tongues_can_be_printed(text: str) -> None:
    assert unprintable(text) == ""
    assert printable(text) == text


def test_what_cannot_be_printed_is_told_by_number() -> None:
    assert unprintable("a😀b\u202e😀\x07") == "😀\u202e\x07"
    assert printable("a😀b\u202e") == "a[U+1F600]b[U+202E]"
    assert printable("two\nlines\tand a tab") == "two\nlines\tand a tab"


def test_every_warning_has_its_words() -> None:
    assert set(words._CAUTIONS) == set(CautionKind)
