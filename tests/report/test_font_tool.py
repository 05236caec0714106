"""The build tool that brings the fonts, as far as it needs no network."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from fontTools.ttLib import TTFont

from marrowscope.report.fonts import FILES, FOLDER, unprintable


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    return importlib.import_module("build_tools.fonts")


def characters(path: Path) -> set[int]:
    with TTFont(path) as font:
        return set(font.getBestCmap())


def test_the_fonts_in_place_are_those_that_the_tool_brings(tool: ModuleType) -> None:
    assert tuple(source.name for source in tool.SOURCES) == FILES
    assert tool.are_there(FOLDER)
    assert tool.bring_fonts(FOLDER) is False


def test_fonts_of_another_version_or_half_a_set_are_not_taken_for_them(tool: ModuleType, tmp_path: Path) -> None:
    assert not tool.are_there(tmp_path)
    for name in FILES:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / tool.STAMP).write_text("older", encoding="utf-8")
    assert not tool.are_there(tmp_path)
    (tmp_path / tool.STAMP).write_text(tool.stamp(), encoding="utf-8")
    assert tool.are_there(tmp_path)
    (tmp_path / FILES[0]).unlink()
    assert not tool.are_there(tmp_path)


def test_a_cut_font_has_the_characters_that_were_kept_and_no_others(tool: ModuleType, tmp_path: Path) -> None:
    made = tmp_path / "cut.ttf"
    kept = tool.cut(FOLDER / "NotoSans-Regular.ttf", made, lambda code: code in map(ord, "abcñ髓"))
    assert kept == set(map(ord, "abcñ"))
    assert kept == characters(made)


def test_the_list_of_characters_is_that_of_the_fonts(tool: ModuleType) -> None:
    codes: set[int] = set()
    for name in FILES:
        codes |= characters(FOLDER / name)
    assert (FOLDER / tool.COVERAGE).read_text(encoding="ascii") == tool.ranges_text(codes)
    gb2312 = "".join(chr(code) for code in sorted(tool._COMMON_CHINESE))
    assert len(gb2312) == 6763
    assert unprintable(gb2312) == ""


def test_ranges_are_written_as_first_and_last(tool: ModuleType) -> None:
    assert tool.ranges_text({0x41, 0x42, 0x43, 0x4E00}) == "41-43\n4E00-4E00\n"
    assert tool.ranges_text(set()) == ""


def test_a_file_that_is_not_the_expected_one_is_refused(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(package: str, scratch: Path) -> Path:
        for source in tool.SOURCES:
            (scratch / source.file).parent.mkdir(parents=True, exist_ok=True)
            (scratch / source.file).write_bytes(b"another font")
        return scratch

    monkeypatch.setattr(tool, "_fetch", another)
    with pytest.raises(tool.FontsNotBrought, match="not the file that was expected"):
        tool.bring_fonts(tmp_path / "fonts")
    assert not (tmp_path / "fonts").exists()
