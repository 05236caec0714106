"""The contact sheet: a row a class, and the textures it is painted with."""

import numpy as np
import pytest

from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.smear import texture
from marrowscope.smear.sheet import contact_sheet


def test_the_sheet_has_a_row_a_class_and_a_cell_in_every_tile():
    taxonomy = load_taxonomy("liu2022-21")
    sheet = contact_sheet(taxonomy, 1, columns=3, tile_px=64)
    assert sheet.shape == (21 * 64, 2 * 64 + 3 * 64, 3)
    tiles = sheet[:, 128:].reshape(21, 64, 3, 64, 3).transpose(0, 2, 1, 3, 4)
    assert (tiles.reshape(63, -1).min(axis=1) < 130).all()
    names = sheet[:, :128].reshape(21, -1)
    assert (names.min(axis=1) < 100).all()


def test_the_sheet_is_the_same_for_the_same_seed_and_another_for_another():
    taxonomy = load_taxonomy("liu2022")
    one, again, other = (contact_sheet(taxonomy, seed, columns=1, tile_px=48) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize("grain", ["dust", "fine", "medium", "coarse", "cloud", "strand"])
def test_noise_is_seamless_and_of_unit_variance(grain):
    tile = texture.window(grain, 340, 0.1, np.random.default_rng(0))
    assert tile.std() == pytest.approx(1, abs=0.2)
    # The jump across the seam is no larger than that between neighbours elsewhere.
    seam = np.abs(tile[:, 0] - tile[:, -1]).mean()
    inside = np.abs(np.diff(tile, axis=1)).mean()
    assert seam < 2 * inside


def test_a_window_wider_than_the_tile_is_refused():
    with pytest.raises(ValueError, match="wider than the tile"):
        texture.window("fine", 400, 0.1, np.random.default_rng(0))
