"""Which key names which class: layouts as TOML, those that come along (`layouts/`) and a person's own.

    name = "mine"
    title = "My left hand"
    [keys]
    m = "MYELO"            # a..z, 0..9; with Shift A..Z; or a key of the number pad: Numpad7, NumpadAdd
    Numpad5 = "NEU_SEG"

How the keys are used on the review page is the *key flow*, and `keyflow` is its executable form. In short: a page of
the gallery holds 40 cells in 10 columns and 4 rows, as the keyboard has keys, and every cell bears the key that lies at
its place. With an empty hand a key takes the cell at its place into the hand; with cells in hand it names them and the
hand is empty again. So a wrong cell costs two keys (its place, its class), and a page one (Enter confirms what is
still unreviewed on it): a case of 200 cells with 20 wrong calls takes 45 keystrokes, however good the model's doubt is.

A keystroke, where they are counted, is a key going down on the review page: Shift and Ctrl count as keys of their own,
auto-repeat does not count, arrows and page keys do.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadSetting

NUMPAD = tuple(f"Numpad{digit}" for digit in range(10)) + tuple(
    f"Numpad{sign}" for sign in ("Add", "Subtract", "Multiply", "Divide", "Decimal")
)
CLASS_KEYS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") | frozenset(NUMPAD)
"""Keys that may name a class. All others walk, confirm and undo, or belong to the browser."""
DEFAULT = "default"
MAX_TEXT = 10_000
"""Characters of a layout of one's own."""


@dataclass(frozen=True)
class Keyboard:
    """A layout: keys as spelled above -> codes of the scheme. A class without a key is reached with the mouse."""

    name: str
    title: str
    keys: Mapping[str, str]

    def key_of(self, code: str) -> str | None:
        """The key of a class; the first where it has several; None where it has none."""
        return next((key for key, named in self.keys.items() if named == code), None)

    def to_json(self) -> str:
        """One line, which `keyboard_of` reads back: what a user's record holds of a layout of their own."""
        return json.dumps({"name": self.name, "title": self.title, "keys": dict(self.keys)}, ensure_ascii=False)


def builtin_keyboards() -> tuple[str, ...]:
    """Names of the layouts that come with marrowscope, the default first."""
    folder = resources.files("marrowscope.station") / "layouts"
    names = (f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: (name != DEFAULT, name)))


def builtin_keyboard(name: str, scheme: Taxonomy) -> Keyboard:
    """A layout that comes along, with the keys whose class the scheme has. BadSetting for an unknown name."""
    if name not in builtin_keyboards():
        raise BadSetting(f"keyboard '{name}' is not known. Known: {', '.join(builtin_keyboards())}.")
    text = (resources.files("marrowscope.station") / "layouts" / f"{name}.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    codes = {cell.code for cell in scheme}
    # They speak of all clinical classes; a lab's scheme may have fewer.
    return Keyboard(name, values["title"], {k: code for k, code in values["keys"].items() if code in codes})


def keyboards(scheme: Taxonomy) -> tuple[Keyboard, ...]:
    """Every layout that comes along."""
    return tuple(builtin_keyboard(name, scheme) for name in builtin_keyboards())


def keyboard_of(chosen: str, scheme: Taxonomy) -> Keyboard:
    """The layout of a person: the name of one that comes along, or one of their own as TOML or as JSON.

    BadSetting, saying which key, where a layout of one's own breaks a rule: a key twice, a class twice, a class that
    the scheme does not have, a key that is not one of `CLASS_KEYS`.
    """
    if chosen in builtin_keyboards():
        return builtin_keyboard(chosen, scheme)
    if len(chosen) > MAX_TEXT:
        raise BadSetting(f"keyboard: {len(chosen)} characters are no layout. Shorten it to {MAX_TEXT}.")
    stripped = chosen.lstrip()
    if not stripped.startswith("{") and "=" not in stripped:
        raise BadSetting(f"keyboard '{chosen[:40]}' is not known. Known: {', '.join(builtin_keyboards())}.")
    try:
        values = json.loads(chosen, object_pairs_hook=_no_key_twice) if stripped[:1] == "{" else tomllib.loads(chosen)
    except (ValueError, RecursionError) as e:  # also what both readers raise; TOML refuses a key given twice itself
        raise BadSetting(
            f'keyboard: not readable as a layout ({e}). Write `key = "CODE"` lines below [keys].'
        ) from None
    return checked_keyboard(values, scheme)


def checked_keyboard(values: Any, scheme: Taxonomy) -> Keyboard:
    """A layout from plain values {name, title, keys}. BadSetting as `keyboard_of`."""
    if not isinstance(values, Mapping) or not isinstance(values.get("keys"), Mapping) or not values["keys"]:
        raise BadSetting('keyboard: has no keys. Write `key = "CODE"` lines below [keys].')
    if extra := sorted(set(map(str, values)) - {"name", "title", "keys"}):
        raise BadSetting(f"keyboard: unknown entry '{extra[0][:40]}'. Known: name, title, keys.")
    name, title = values.get("name", "own"), values.get("title", values.get("name", "own"))
    for entry, text in (("name", name), ("title", title)):
        if not isinstance(text, str) or not text.strip() or len(text) > 80:
            raise BadSetting(f"keyboard: `{entry}` must be a text of 1 to 80 characters. Correct it.")
    if name in builtin_keyboards():
        raise BadSetting(f"keyboard '{name}': this name belongs to a layout that comes with marrowscope. Rename yours.")
    keys: dict[str, str] = {}
    key_of: dict[str, str] = {}
    known = {cell.code for cell in scheme}
    for key, code in values["keys"].items():
        where = f"keyboard '{name}', key '{str(key)[:20]}'"
        if key not in CLASS_KEYS:
            raise BadSetting(
                f"{where}: cannot name a class. Take a-z, A-Z, 0-9 or a key of the number pad; "
                "the others walk, confirm and undo."
            )
        if code not in known:
            raise BadSetting(f"{where}: '{str(code)[:40]}' is no class of scheme '{scheme.name}'. Give a code of it.")
        if code in key_of:
            raise BadSetting(f"{where}: {code} has the key '{key_of[code]}' already. One class, one key.")
        keys[key], key_of[code] = code, key
    return Keyboard(name, title, keys)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"'{key}' is given twice")
        values[key] = value
    return values
