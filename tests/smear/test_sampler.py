"""The classes of a field follow the paper's table, or are balanced."""

import numpy as np
import pytest
from scipy.stats import chisquare

from marrowscope.cells.taxonomy import CellClass, Lineage, Taxonomy, load_taxonomy
from marrowscope.errors import BadTaxonomy
from marrowscope.smear.morphology import morphologies
from marrowscope.smear.sampler import Frequencies, class_weights, sample_labels


@pytest.mark.parametrize("scheme", ["liu2022", "liu2022-21"])
@pytest.mark.parametrize("frequencies", list(Frequencies))
def test_many_cells_follow_the_frequencies(scheme, frequencies):
    taxonomy = load_taxonomy(scheme)
    drawn = sample_labels(np.random.default_rng(1), 40_000, taxonomy, frequencies)
    if frequencies is Frequencies.PAPER:
        cells = np.asarray([morphologies()[c.code].marrow_cells for c in taxonomy], float)
    else:
        cells = np.ones(len(taxonomy))
    expected = cells / cells.sum() * len(drawn)
    assert chisquare(np.bincount(drawn, minlength=len(taxonomy)), expected).pvalue > 0.001


def test_the_frequencies_are_those_of_table_1():
    # The training column as printed, from the first row to the last: the order of scheme liu2022.
    printed = (
        "168, 185, 331, 398, 464, 472, 629, 720, 942, 982, 1090, 1095, 1104, 1259, 1378, 1531, 1605, 2137, 2528, 2784"
    )
    drawn = [morphologies()[c.code].marrow_cells for c in load_taxonomy("liu2022")]
    assert drawn == [int(n) for n in printed.split(", ")]


def test_the_twenty_classes_of_the_paper_sum_to_its_training_cells():
    taxonomy = load_taxonomy("liu2022")
    assert sum(morphologies()[c.code].marrow_cells for c in taxonomy) == 21_802


def test_a_class_that_cannot_be_drawn_has_no_weight():
    known = load_taxonomy("liu2022").classes[:2]
    own = Taxonomy("own", (*known, CellClass("MEGAKARYO", "megakaryocyte", Lineage.MEGAKARYOCYTIC)))
    for frequencies in Frequencies:
        weights = class_weights(own, frequencies)
        assert weights[2] == 0
        assert weights.sum() == pytest.approx(1)


def test_a_scheme_without_any_known_class_is_refused():
    own = Taxonomy("own", (CellClass("X", "x", Lineage.OTHER),))
    with pytest.raises(BadTaxonomy, match="no class that the smear can draw"):
        class_weights(own)
