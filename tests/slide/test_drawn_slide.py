"""The drawn smear as a slide: its truth lies where its cells are drawn."""

import numpy as np
import pytest

from marrowscope.slide.drawn_slide import DrawnSlide
from marrowscope.smear.slide import SmearSlide


@pytest.fixture(scope="module")
def slide() -> DrawnSlide:
    return DrawnSlide(SmearSlide(3, width_um=150, height_um=100, um_per_px=0.5))


def test_its_cells_are_those_of_the_smear_in_pixels_of_the_finest_level(slide: DrawnSlide) -> None:
    cells = slide.cells()
    smear = SmearSlide(3, width_um=150, height_um=100, um_per_px=0.5)
    true = smear.cells_in(75, 50, 150, 100)
    assert len(cells) == len(true) > 5
    assert cells.labels.tolist() == true.labels.tolist()
    whole = (true.boxes_um.min(axis=1) >= 0) & (true.boxes_um[:, 2] <= 150) & (true.boxes_um[:, 3] <= 100)
    assert np.allclose(cells.boxes[whole], true.boxes_um[whole] / 0.5, atol=1e-3)
    assert (cells.boxes[:, :2] >= 0).all()
    assert (cells.boxes[:, 2:] <= (300, 200)).all()


def test_each_cell_is_drawn_in_its_box(slide: DrawnSlide) -> None:
    """Nuclei take away red light, red cells hardly."""
    red = slide.read(0, 0, 0, 300, 200)[..., 0].astype(int)
    for x1, y1, x2, y2 in slide.cells().boxes.astype(int).tolist():
        if min(x1, y1) > 0 and x2 < 300 and y2 < 200:
            inside = red[y1 + (y2 - y1) // 4 : y2 - (y2 - y1) // 4, x1 + (x2 - x1) // 4 : x2 - (x2 - x1) // 4]
            assert inside.mean() < np.median(red) - 20


def test_the_same_seed_is_the_same_slide(slide: DrawnSlide) -> None:
    again = DrawnSlide(SmearSlide(3, width_um=150, height_um=100, um_per_px=0.5))
    assert (again.read(1, 20, 10, 60, 50) == slide.read(1, 20, 10, 60, 50)).all()
    assert again.name == "smear_3"
