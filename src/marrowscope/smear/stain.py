"""How one slide was stained and lit: the difference between two specimens of the same cell.

Colours of the morphology table are turned into those of a specimen before anything is painted (Beer-Lambert: the
optical density of each channel is scaled), so variation costs nothing per pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# White of an empty field as cameras deliver it, from warm beige to cool lavender.
_WHITES = np.asarray([[250, 233, 208], [240, 230, 226], [233, 224, 233], [222, 214, 234]], np.float64)


@dataclass(frozen=True, eq=False)
class Stain:
    """density (3,): factor on the optical density of R, G, B. white (3,): an empty field's colour, 0..1.

    red_density (3,): optical density of a red cell of ordinary thickness.
    """

    density: NDArray[np.float32]
    white: NDArray[np.float32]
    red_density: NDArray[np.float32]

    @classmethod
    def of_specimen(cls, rng: np.random.Generator) -> "Stain":
        """The stain of one slide: strength, balance of its two dyes, and the camera's white."""
        strength = rng.uniform(0.85, 1.12)
        channels = 1 + np.clip(rng.normal(0, 0.05, 3), -0.1, 0.1)
        place = rng.uniform(0, len(_WHITES) - 1)
        low = min(int(place), len(_WHITES) - 2)
        white = _WHITES[low] + (place - low) * (_WHITES[low + 1] - _WHITES[low]) + rng.normal(0, 2, 3)
        # Red cells go from salmon to grey with the pH of the buffer.
        red = np.asarray([0.20, 0.335, 0.27]) + rng.uniform(-1, 1) * np.asarray([0.03, 0.0, -0.04])
        return cls(
            np.asarray(strength * channels, np.float32),
            np.asarray(np.clip(white * rng.uniform(0.95, 1.0), 0, 252) / 255, np.float32),
            np.asarray(red * rng.uniform(0.85, 1.25), np.float32),
        )

    @classmethod
    def reference(cls) -> "Stain":
        """The stain of the contact sheet: densities as in the table, neutral white."""
        return cls(
            np.ones(3, np.float32),
            np.asarray([0.94, 0.90, 0.91], np.float32),
            np.asarray([0.20, 0.335, 0.27], np.float32),
        )

    def colour(self, rgb: tuple[int, int, int]) -> NDArray[np.float32]:
        """A colour of the table, (3,) transmitted light 0..1, as this slide shows it."""
        return np.asarray((np.asarray(rgb, np.float32) / 255) ** self.density, np.float32)
