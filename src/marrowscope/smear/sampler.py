"""Which classes a field holds: drawn at the paper's frequencies, or each as likely as the next."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadTaxonomy
from marrowscope.smear.morphology import morphologies


class Frequencies(StrEnum):
    """How often each class occurs."""

    PAPER = "paper"  # training cells of Liu et al. 2022, Table 1
    BALANCED = "balanced"


def class_weights(taxonomy: Taxonomy, frequencies: Frequencies = Frequencies.PAPER) -> NDArray[np.float64]:
    """Probability of each class, (K,), 0 for a class that cannot be drawn. BadTaxonomy if none can."""
    known = morphologies()
    cells = np.asarray([known[c.code].marrow_cells if c.code in known else 0 for c in taxonomy], np.float64)
    if not cells.any():
        raise BadTaxonomy(
            f"scheme '{taxonomy.name}' has no class that the smear can draw. It draws: {', '.join(known)}."
        )
    weights = cells if Frequencies(frequencies) is Frequencies.PAPER else (cells > 0).astype(np.float64)
    return np.asarray(weights / weights.sum(), np.float64)


def sample_labels(
    rng: np.random.Generator, count: int, taxonomy: Taxonomy, frequencies: Frequencies = Frequencies.PAPER
) -> NDArray[np.int64]:
    """Draw `count` labels independently, (count,)."""
    return rng.choice(len(taxonomy), size=count, p=class_weights(taxonomy, frequencies)).astype(np.int64)
