"""Layouts: every class has its key, and a layout of one's own is refused by name of the key that is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.errors import BadSetting
from marrowscope.station.keyboards import (
    CLASS_KEYS,
    DEFAULT,
    Keyboard,
    builtin_keyboards,
    checked_keyboard,
    keyboard_of,
    keyboards,
)
from marrowscope.station.keyflow import PLACES, press_for

SCHEME = load_taxonomy("clinical")
CODES = [cell.code for cell in SCHEME]


@pytest.mark.parametrize("name", builtin_keyboards())
def test_every_clinical_class_has_one_key_in_every_layout_that_comes_along(name: str) -> None:
    keys = keyboard_of(name, SCHEME).keys
    assert sorted(keys.values()) == sorted(CODES)
    assert set(keys) <= CLASS_KEYS


def test_the_default_comes_first_and_its_commonest_classes_need_no_shift() -> None:
    first = keyboards(SCHEME)[0]
    assert first.name == DEFAULT
    for code in ("MYELOBLAST", "PROMYELO", "MYELO", "META", "BAND", "NEU_SEG", "NORMO_POLY", "LYM", "MONO", "PLASMA"):
        assert first.key_of(code) in set("abcdefghijklmnopqrstuvwxyz")


def test_a_smaller_scheme_gets_the_keys_of_its_own_classes() -> None:
    scheme = load_taxonomy("liu2022")
    for keyboard in keyboards(scheme):
        assert sorted(keyboard.keys.values()) == sorted(cell.code for cell in scheme)


@given(st.dictionaries(st.sampled_from(sorted(CLASS_KEYS)), st.sampled_from(CODES), min_size=1))
def test_a_layout_is_taken_exactly_where_no_class_has_two_keys(keys: dict[str, str]) -> None:
    values = {"name": "mine", "title": "Mine", "keys": keys}
    if len(set(keys.values())) < len(keys):
        with pytest.raises(BadSetting, match="One class, one key"):
            checked_keyboard(values, SCHEME)
        return
    mine = checked_keyboard(values, SCHEME)
    assert dict(mine.keys) == keys
    # What a user's record holds gives the same layout back.
    assert keyboard_of(mine.to_json(), SCHEME) == mine


def test_a_layout_may_be_written_as_toml() -> None:
    mine = keyboard_of('name = "mine"\n[keys]\nm = "MYELO"\nNumpad5 = "NEU_SEG"\n', SCHEME)
    assert mine == Keyboard("mine", "mine", {"m": "MYELO", "Numpad5": "NEU_SEG"})
    assert mine.key_of("NEU_SEG") == "Numpad5"
    assert mine.key_of("LYM") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not known"),
        ("qwerty", "not known"),
        ('name = "mine"', "has no keys"),
        ('name = "mine"\n[keys]\n', "has no keys"),
        ('name = "default"\n[keys]\nm = "MYELO"', "belongs to a layout"),
        ('name = ""\n[keys]\nm = "MYELO"', "`name`"),
        ('title = 3\n[keys]\nm = "MYELO"', "`title`"),
        ('colour = "red"\n[keys]\nm = "MYELO"', "unknown entry 'colour'"),
        ('[keys]\nEnter = "MYELO"', "key 'Enter': cannot name a class"),
        ('[keys]\n" " = "MYELO"', "cannot name a class"),
        ('[keys]\nmm = "MYELO"', "key 'mm': cannot name a class"),
        ('[keys]\nm = "myelo"', "'myelo' is no class"),
        ("[keys]\nm = 3", "'3' is no class"),
        ('[keys]\nm = "MYELO"\nn = "MYELO"', "MYELO has the key 'm' already"),
        ('[keys]\nm = "MYELO"\nm = "META"', "not readable"),
        ('{"keys": {"m": "MYELO", "m": "META"}}', "'m' is given twice"),
        ("{", "not readable"),
        ("[" * 9000 + "=", "not readable"),
        ("{" + '"a":{' * 1500, "not readable"),
        ("x = 1\n" * 9000, "are no layout"),
        (json.dumps({"keys": ["m"]}), "has no keys"),
    ],
)
def test_a_layout_that_breaks_a_rule_is_refused_and_says_which(text: str, says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        keyboard_of(text, SCHEME)


def test_a_page_has_forty_places_and_each_is_one_key() -> None:
    assert len(PLACES) == len(set(PLACES)) == 40


@pytest.mark.parametrize("key", sorted(CLASS_KEYS))
def test_the_press_for_a_class_key_writes_that_key(key: str) -> None:
    assert press_for(key).written == key


def test_what_names_no_class_has_no_press() -> None:
    with pytest.raises(ValueError, match="no key of a layout"):
        press_for("Enter")
