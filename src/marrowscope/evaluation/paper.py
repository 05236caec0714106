"""What the paper printed in its Tables 2 and 3, to stand beside what is measured here.

The printed figures are kept as they are, with their contradictions (`docs/method.md`): the mean rows are not quite the
means of the 20 rows, and the promyelocyte's recall does not fit its F1.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from marrowscope.cells.taxonomy import Taxonomy

COLUMNS = ("baseline", "ranksort", "ours")
"""The paper's three: Faster R-CNN; with the ranking loss; with lambda = .5 and the five augmentations."""


@dataclass(frozen=True)
class PaperResults:
    """Printed numbers by class code, in the paper's row order, then by "metric_column", such as "recall_baseline"."""

    classes: MappingProxyType[str, MappingProxyType[str, float]]
    mean: MappingProxyType[str, float]

    def row_order(self, taxonomy: Taxonomy) -> tuple[int, ...] | None:
        """The paper's classes of a scheme in the paper's order, others after them; None unless it has all of them."""
        labels = {c.code: i for i, c in enumerate(taxonomy)}
        if not set(self.classes) <= set(labels):
            return None
        ordered = [labels.pop(code) for code in self.classes]
        return (*ordered, *labels.values())


@cache
def paper_results() -> PaperResults:
    """Read `paper_results.tsv`."""
    text = (resources.files("marrowscope.evaluation") / "paper_results.tsv").read_text(encoding="utf-8")
    header, *lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    rows = {
        code: MappingProxyType({name: float(v) for name, v in zip(header[1:], values, strict=True)})
        for code, *values in lines
    }
    mean = rows.pop("MEAN")
    return PaperResults(MappingProxyType(rows), mean)
