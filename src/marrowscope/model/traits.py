"""What a detector's user must know of it, without its weights; imports no torch."""

from dataclasses import dataclass

from marrowscope.cells.calibration import Calibration
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.model.config import InputScale, ReaderRecipe


@dataclass(frozen=True)
class Traits:
    """The same whatever runtime computes.

    input_size: (width, height) inside which a field is fitted. scale: how large cells were in training, None where
    that was not recorded. reader: the second stage that reads each cell at native resolution, if there is one.
    calibration: None for a detector whose scores were never set beside the truth. cell_px: the middle size of a cell
    before the network; where training did not record it that of the middle anchor, None where nothing tells. added: so
    many of the classes, the last ones, are known to the reader alone (`model.prototypes`).
    """

    taxonomy: Taxonomy
    input_size: tuple[int, int]
    scale: InputScale | None = None
    reader: ReaderRecipe | None = None
    calibration: Calibration | None = None
    cell_px: float | None = None
    added: int = 0
