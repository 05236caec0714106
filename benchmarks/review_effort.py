"""Keystrokes of a review: a simulated technician, the review order, the key flow and the layouts as they are shipped.

    python benchmarks/review_effort.py            # 300 random cases of 200 cells, 20 of them called wrongly

A case: true classes at the paper's frequencies; wrong calls mostly to another class of the lineage, some are no cell at
all; wrong calls score lower, as far as `--auc` says (.5: the score knows nothing). Ways of working:

    pages    every cell is looked at; a wrong one costs its place and its class, a page one Enter
    queue    accept all at or above the threshold, then the doubtful one by one: what lies above is not looked at
    arrows   every cell is looked at, wrong ones are walked to: what the place keys save

`left` is how many wrong calls stay in the case. Ends with code 1 where `pages` takes more than 60 keystrokes.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from scipy.special import expit, ndtri

from marrowscope.cells.specimen import Cell
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.smear.sampler import sample_labels
from marrowscope.station.desk import doubt_of
from marrowscope.station.keyboards import Keyboard, keyboards
from marrowscope.station.keyflow import COLUMNS, KeyFlow, Press, ShownCell, keys_by_class
from marrowscope.station.review import review_order

TARGET = 60
GONE = ""
"""The true class of what is no cell."""
Truth = dict[int, str]
"""Cell -> what it is."""


def draw_case(
    rng: np.random.Generator, scheme: Taxonomy, *, cells: int, wrong: int, auc: float
) -> tuple[list[ShownCell], Truth]:
    """The cells in review order, and what they are."""
    labels = sample_labels(rng, cells, scheme)
    misnamed = set(rng.choice(cells, wrong, replace=False).tolist())
    lift = np.sqrt(2) * ndtri(auc)
    found, truth = [], {}
    for number, label in enumerate(labels):
        is_wrong = number in misnamed
        called = _another(rng, scheme, int(label)) if is_wrong else int(label)
        score = float(expit(1.2 + rng.normal() - (lift if is_wrong else 0.0)))
        truth[number] = GONE if is_wrong and rng.random() < 0.1 else scheme[int(label)].code
        code = scheme[called].code
        doubt = doubt_of(score)
        found.append(Cell(number, 1, 1, (0, 0, 9, 9), code, code, score, doubt, False, False, None))
    ordered = review_order(found, scheme)
    return [ShownCell(c.id, c.code, c.score, c.doubt) for c in ordered], truth


def _another(rng: np.random.Generator, scheme: Taxonomy, label: int) -> int:
    near = [i for i, c in enumerate(scheme) if c.lineage == scheme[label].lineage and c.counted and i != label]
    if not near or rng.random() < 0.2:
        near = [i for i, c in enumerate(scheme) if c.counted and i != label]
    return int(rng.choice(near))


class Technician:
    """Knows every cell when seeing it, and has the layout in the fingers."""

    def __init__(self, flow: KeyFlow, truth: Truth) -> None:
        self.flow, self.truth = flow, truth
        self.class_key = keys_by_class(flow.keyboard)

    def is_wrong(self, position: int) -> bool:
        """Whether the cell there is called something that it is not."""
        cell = self.flow.cells[position]
        return not cell.removed and cell.code != self.truth[cell.id]

    def answer(self, position: int) -> None:
        """Name what is in hand."""
        code = self.truth[self.flow.cells[position].id]
        self.flow.press(Press("Delete") if code == GONE else self.class_key[code])

    def pages(self) -> None:
        """Look at every page; pick and name what is wrong; confirm the rest with Enter."""
        for _ in range(self.flow.pages):
            for position in self.flow.shown:
                if self.is_wrong(position):
                    self.flow.press(self.flow.place_of(position))
                    self.answer(position)
            self.flow.press(Press("Enter"))

    def arrows(self) -> None:
        """The same, walking to what is wrong."""
        for _ in range(self.flow.pages):
            for position in self.flow.shown:
                if not self.is_wrong(position):
                    continue
                if self.flow.cursor == position:
                    self.flow.press(Press("Space"))
                while self.flow.cursor != position:
                    apart = position - self.flow.cursor
                    row_step = abs(apart) >= COLUMNS
                    forward = apart > 0
                    name = ("Down" if forward else "Up") if row_step else ("Right" if forward else "Left")
                    self.flow.press(Press(f"Arrow{name}"))
                self.answer(position)
            self.flow.press(Press("Enter"))

    def queue(self) -> None:
        """Accept what scores high, answer the rest one by one."""
        self.flow.press(Press("Equal"))
        self.flow.press(Press("Backquote"))
        while self.flow.hand:
            (position,) = self.flow.hand
            if self.is_wrong(position):
                self.answer(position)
            else:
                self.flow.press(Press("Enter"))

    @property
    def left(self) -> int:
        """Wrong calls that stay in the case."""
        return sum(self.is_wrong(position) for position in range(len(self.flow.cells)))


WAYS: dict[str, Callable[[Technician], None]] = {
    "pages": Technician.pages,
    "queue": Technician.queue,
    "arrows": Technician.arrows,
}


def measure(
    way: str, keyboard: Keyboard, scheme: Taxonomy, *, cases: int, cells: int, wrong: int, auc: float
) -> tuple[np.ndarray, np.ndarray]:
    """(keystrokes, wrong calls left) of every case."""
    spent, left = [], []
    for seed in range(cases):
        shown, truth = draw_case(np.random.default_rng(seed), scheme, cells=cells, wrong=wrong, auc=auc)
        technician = Technician(KeyFlow(shown, keyboard), truth)
        WAYS[way](technician)
        if way != "queue" and not all(c.reviewed or c.removed for c in technician.flow.cells):
            raise AssertionError("a cell was not reviewed")
        spent.append(technician.flow.keystrokes)
        left.append(technician.left)
    return np.asarray(spent), np.asarray(left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--wrong", type=float, default=0.1, help="share of wrong calls")
    parser.add_argument("--auc", type=float, nargs="+", default=[0.5, 0.85])
    chosen = parser.parse_args()
    scheme = load_taxonomy("clinical")
    wrong = round(chosen.wrong * chosen.cells)
    print(f"{chosen.cases} cases of {chosen.cells} cells, {wrong} called wrongly; keystrokes a case\n")
    print(f"{'way':8}{'layout':10}{'AUC':>5}{'mean':>8}{'95 %':>6}{'most':>6}{'left':>7}")
    most = 0
    for auc in chosen.auc:
        for way in WAYS:
            for keyboard in keyboards(scheme):
                spent, left = measure(
                    way, keyboard, scheme, cases=chosen.cases, cells=chosen.cells, wrong=wrong, auc=auc
                )
                if way == "pages":
                    most = max(most, int(spent.max()))
                tail = np.quantile(spent, 0.95)
                row = f"{auc:5.2f}{spent.mean():8.1f}{tail:6.0f}{spent.max():6d}{left.mean():7.1f}"
                print(f"{way:8}{keyboard.name:10}{row}")
    kept = most <= TARGET
    print(f"\nmost of `pages`: {most}; target {TARGET}: {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
