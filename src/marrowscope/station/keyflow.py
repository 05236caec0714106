"""The key flow of the review page as a machine without a screen: keys in, edits out.

The page does the same in the browser; this form is what the benchmark of effort counts with and what the tests hold to
its promises. The picture to have in mind: a page of the gallery is the keyboard, 10 columns and 4 rows of cells, each
at the place of a key; the *hand* holds the cells that the next name goes to.

    empty hand    a place key takes the cell there into the hand; Enter confirms what is left of the page and turns it
    something     a class key names all of it and empties the hand; Enter confirms it; Delete says that it is no cell

Arrows walk and take what they meet, Space pins the hand so that walking adds to it, Backquote takes the next doubtful
cell (and, while the queue is on, so does every answer), Equal accepts all at or above the threshold, Backspace undoes.
The order of the cells stands still while the gallery is open: what has been renamed stays where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from marrowscope.cells.specimen import Edit, EditKind
from marrowscope.station.keyboards import CLASS_KEYS, NUMPAD, Keyboard

PLACES = (
    *(f"Digit{digit}" for digit in "1234567890"),
    *(f"Key{letter}" for letter in "QWERTYUIOP"),
    *(f"Key{letter}" for letter in "ASDFGHJKL"),
    "Semicolon",
    *(f"Key{letter}" for letter in "ZXCVBNM"),
    "Comma",
    "Period",
    "Slash",
)
"""Physical keys (`KeyboardEvent.code`) in the order of the cells of a page, row by row."""
COLUMNS = 10
STEP = 0.05
_ARROWS = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -COLUMNS, "ArrowDown": COLUMNS}


@dataclass(frozen=True)
class Press:
    """A key going down: its physical code, and what is held meanwhile."""

    code: str
    shift: bool = False
    control: bool = False

    @property
    def keystrokes(self) -> int:
        """How many keys go down for it."""
        return 1 + self.shift + self.control

    @property
    def written(self) -> str:
        """The key of a layout that this is; '' for a key that writes neither letter nor digit."""
        if self.code in NUMPAD:
            return self.code
        if self.code.startswith("Key"):
            return self.code[3:] if self.shift else self.code[3:].lower()
        return self.code[5:] if self.code.startswith("Digit") and not self.shift else ""


def press_for(key: str) -> Press:
    """The press that writes a key of a layout. ValueError for a key that names no class."""
    if key not in CLASS_KEYS:
        raise ValueError(f"'{key}' is no key of a layout")
    if key in NUMPAD:
        return Press(key)
    return Press(f"Digit{key}") if key.isdigit() else Press(f"Key{key.upper()}", shift=key.isupper())


@dataclass(frozen=True)
class ShownCell:
    """A cell as the gallery shows it."""

    id: int
    code: str
    score: float | None
    doubt: float
    reviewed: bool = False
    removed: bool = False


@dataclass(frozen=True)
class Accept:
    """Confirm every unreviewed cell of the case whose score is at least this."""

    above: float


@dataclass(frozen=True)
class Undo:
    """Take back the newest group."""


Wish = tuple[Edit, ...] | Accept | Undo
"""What a press asks of the archive: edits of one group, or one of the two."""


@dataclass
class KeyFlow:
    """The gallery under a technician's hands. `cells` in review order; what is asked of the archive is also done here.

    keystrokes: keys that went down so far.
    """

    cells: list[ShownCell]
    keyboard: Keyboard
    threshold: float = 0.8
    page: int = 0
    cursor: int = 0
    hand: tuple[int, ...] = ()
    pinned: bool = False
    queue: bool = False
    keystrokes: int = 0
    _before: list[list[ShownCell]] = field(default_factory=list, repr=False)

    @property
    def pages(self) -> int:
        """How many pages there are; at least one."""
        return max(-(-len(self.cells) // len(PLACES)), 1)

    @property
    def shown(self) -> range:
        """Positions of the cells on this page."""
        first = self.page * len(PLACES)
        return range(first, min(first + len(PLACES), len(self.cells)))

    def place_of(self, position: int) -> Press:
        """The key at the place of a cell of this page."""
        return Press(PLACES[position - self.shown.start])

    def press(self, press: Press) -> Wish | None:
        """One key going down, and what it asks of the archive."""
        self.keystrokes += press.keystrokes
        if press.control:
            return self._with_control(press)
        if press.code in _ARROWS:
            self._walk(_ARROWS[press.code], join=press.shift)
            return None
        named = self.keyboard.keys.get(press.written)
        if self.hand and named is not None:
            return self._answer(self._rename(named))
        if press.code in PLACES:
            self._pick(press)
            return None
        return self._command(press.code)

    def _with_control(self, press: Press) -> Wish | None:
        if press.code == "KeyZ":
            return self._undo()
        if press.code == "KeyA":
            self.hand = tuple(self.shown)
        return None

    def _pick(self, press: Press) -> None:
        position = self.shown.start + PLACES.index(press.code)
        if position not in self.shown or (self.hand and not press.shift):
            return
        self.cursor = position
        self._toggle(position)

    def _toggle(self, position: int) -> None:
        there = position in self.hand
        self.hand = tuple(p for p in self.hand if p != position) if there else (*self.hand, position)

    def _walk(self, step: int, *, join: bool) -> None:
        if not self.cells:
            return
        target = self.cursor + step
        if 0 <= target < len(self.cells):
            self.cursor = target
        self.page = self.cursor // len(PLACES)
        if self.pinned:
            return
        if not (join and self.hand):
            self.hand = (self.cursor,)
        elif self.cursor not in self.hand:
            self.hand = (*self.hand, self.cursor)

    def _command(self, code: str) -> Wish | None:
        match code:
            case "Enter":
                return self._answer(self._confirm(self.hand)) if self.hand else self._confirm_page()
            case "Delete" if self.hand:
                return self._answer(self._remove())
            case "Space" if self.cells:
                if not self.hand:
                    self.hand = (self.cursor,)
                elif self.pinned:
                    self._toggle(self.cursor)
                else:
                    self.pinned = True
            case "Backquote":
                self.queue = True
                self._take_doubtful()
            case "Equal":
                return self._accept()
            case "Backspace":
                return self._undo()
            case "BracketLeft" | "BracketRight":
                step = STEP if code == "BracketRight" else -STEP
                self.threshold = round(min(max(self.threshold + step, 0.0), 1.0), 2)
            case "PageDown" | "PageUp" | "Home" | "End":
                pages = {"PageDown": self.page + 1, "PageUp": self.page - 1, "Home": 0, "End": self.pages - 1}
                self._turn_to(pages[code])
            case "Escape":
                self._empty()
                self.queue = False
        return None

    def _turn_to(self, page: int) -> None:
        self.page = min(max(page, 0), self.pages - 1)
        self.cursor = self.shown.start
        self._empty()

    def _empty(self) -> None:
        self.hand, self.pinned = (), False

    def _answer(self, edits: tuple[Edit, ...]) -> Wish | None:
        """After a name, Enter or Delete: the hand is empty; in the queue the next cell comes into it."""
        self._empty()
        if self.queue:
            self._take_doubtful()
        return edits or None

    def _take_doubtful(self) -> None:
        left = [p for p, cell in enumerate(self.cells) if not cell.reviewed and not cell.removed]
        self._empty()
        if not left:
            self.queue = False
            return
        self.cursor = max(left, key=lambda p: (self.cells[p].doubt, -p))
        self.page = self.cursor // len(PLACES)
        self.hand = (self.cursor,)

    def _rename(self, code: str) -> tuple[Edit, ...]:
        edits, changed = [], list(self.cells)
        for position in self.hand:
            cell = self.cells[position]
            if cell.removed:
                continue
            kind = EditKind.CONFIRM if cell.code == code else EditKind.RENAME
            edits.append(Edit(kind, cell.id, code=code if kind is EditKind.RENAME else None, expected=cell.code))
            changed[position] = replace(cell, code=code, reviewed=True)
        return self._done(edits, changed)

    def _confirm(self, positions: Sequence[int]) -> tuple[Edit, ...]:
        edits, changed = [], list(self.cells)
        for position in positions:
            cell = self.cells[position]
            if not cell.reviewed and not cell.removed:
                edits.append(Edit(EditKind.CONFIRM, cell.id, expected=cell.code))
                changed[position] = replace(cell, reviewed=True)
        return self._done(edits, changed)

    def _confirm_page(self) -> Wish | None:
        edits = self._confirm(self.shown)
        self._turn_to(self.page + 1)
        return edits or None

    def _remove(self) -> tuple[Edit, ...]:
        """Remove what is in hand; where all of it is removed already, bring it back."""
        back = all(self.cells[p].removed for p in self.hand)
        edits, changed = [], list(self.cells)
        for position in self.hand:
            cell = self.cells[position]
            if cell.removed == back:
                edits.append(Edit(EditKind.RESTORE if back else EditKind.REMOVE, cell.id, expected=cell.code))
                changed[position] = replace(cell, removed=not back)
        return self._done(edits, changed)

    def _accept(self) -> Accept:
        above = self.threshold
        changed = [
            replace(c, reviewed=True) if c.score is not None and c.score >= above and not c.removed else c
            for c in self.cells
        ]
        if changed != self.cells:
            self._keep(changed)
        self._empty()
        return Accept(above)

    def _undo(self) -> Undo | None:
        if not self._before:
            return None
        self.cells = self._before.pop()
        return Undo()

    def _done(self, edits: list[Edit], changed: list[ShownCell]) -> tuple[Edit, ...]:
        if edits:
            self._keep(changed)
        return tuple(edits)

    def _keep(self, changed: list[ShownCell]) -> None:
        self._before.append(self.cells)
        self.cells = changed


def keys_by_class(keyboard: Keyboard) -> Mapping[str, Press]:
    """The press for every class that has a key."""
    return {code: press_for(key) for key, code in reversed(list(keyboard.keys.items()))}
