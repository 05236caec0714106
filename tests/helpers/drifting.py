"""Fields of one stain and lamp, as a model learned them and as they are kept later."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import FoundCell, KeptField
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.data.looks import fields_seen
from marrowscope.station.drift import Training
from marrowscope.store.store import Store

SCHEME = load_taxonomy("clinical")
MODEL = Taxonomy(
    "four", tuple(cell for cell in load_taxonomy("liu2022") if cell.code in ("MYELO", "META", "LYM", "MONO"))
)
WIDTH, HEIGHT = 160, 120
LEARNED = 60


def pixels(rng: np.random.Generator, light: float = 1.0) -> NDArray[np.uint8]:
    """A field of discs, somewhat paler or darker than the next. light: of the lamp."""
    field = np.full((HEIGHT, WIDTH, 3), rng.normal((215, 200, 212), 4), np.float64)
    for _ in range(6):
        place = int(rng.integers(20, WIDTH - 20)), int(rng.integers(20, HEIGHT - 20))
        cv2.circle(field, place, 12, rng.normal((120, 70, 140), 4).tolist(), cv2.FILLED)
    return np.clip(field * light + rng.normal(0, 2, field.shape), 0, 255).astype(np.uint8)


def called(rng: np.random.Generator) -> list[FoundCell]:
    """What the model says of one field: of 8 to 16 cells, none on another."""
    cells = []
    for number in range(int(rng.integers(8, 17))):
        x, y, side = number % 6 * 26, number // 6 * 30, float(rng.normal(20, 1.5))
        score = float(np.clip(rng.normal(0.8, 0.05), 0, 1))
        code = MODEL[int(rng.integers(len(MODEL)))].code
        cells.append(FoundCell((x, y, x + side, y + side), code, score, 1 - score))
    return cells


@cache
def learned() -> Training:
    """What a model knows of such fields."""
    rng = np.random.default_rng(0)
    looks = fields_seen(FieldImage(pixels(rng), str(n)) for n in range(LEARNED))
    return Training(MODEL, 0.5, looks.with_found(_detected(called(rng)) for _ in range(LEARNED)))


def _detected(cells: Sequence[FoundCell]) -> Detections:
    labels = np.asarray([MODEL.index(cell.code) for cell in cells], np.int64)
    scores = np.asarray([cell.score for cell in cells], np.float32)
    return Detections(np.asarray([cell.box for cell in cells], np.float32), labels, scores, MODEL)


def keep(
    store: Store, slide_id: int, count: int, *, seed: int = 1, light: float = 1.0, model_id: int | None = 1
) -> list[KeptField]:
    """Keep so many fields like those learned, but for the light."""
    rng = np.random.default_rng(seed)
    return [
        store.keep_field(
            slide_id,
            bytes(cv2.imencode(".png", pixels(rng, light)[..., ::-1])[1].tobytes()),
            width=WIDTH,
            height=HEIGHT,
            model_id=model_id,
            found=called(rng),
            by="tess",
        )
        for _ in range(count)
    ]
