"""What lens, lamp and sensor make of the light through a slide: blur, unevenness, colour, exposure, noise.

Made for speed: a picture of 1920 x 1080 costs a few milliseconds. All in whole grey levels, in place where it can be.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_NOISE_MIDDLE = 128
_NOISE_SIGMA = 24.0
_NOISE_SPARE_PX = 128


def blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    """Out of focus by a Gaussian of `sigma_px`; the wider it is, the smaller the picture that it is worked on."""
    if sigma_px < 0.3:
        return pixels
    height, width = pixels.shape[:2]
    small, left, halvings = pixels, sigma_px, 0
    # Halving and enlarging again blur by themselves; what is left to do is the difference.
    while left > 2.2 and min(small.shape[:2]) >= 8:
        size = (-(-small.shape[1] // 2), -(-small.shape[0] // 2))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
        halvings += 1
        left /= 2
    own = 0.65 if halvings else 0.0
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), math.sqrt(max(left**2 - own**2, 0.09))), np.uint8)
    if halvings:
        small = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return small


def smeared(pixels: Pixels, dx_px: float, dy_px: float) -> Pixels:
    """Blurred by moving so far while it was exposed."""
    wide, high = (1 + round(abs(d)) for d in (dx_px, dy_px))
    if max(wide, high) < 2:
        return pixels
    return np.asarray(cv2.blur(pixels, (wide, high), borderType=cv2.BORDER_REPLICATE), np.uint8)


class Sensor:
    """Turns light into the camera's grey levels.

    lamp: (3,) the grey levels (0..1) of an empty field for R, G, B at nominal exposure. vignetting: share of light
    lost in the corners. noise: grey levels (sigma) near white at gain 1.
    """

    def __init__(
        self, width: int, height: int, lamp: tuple[float, float, float], vignetting: float, noise: float, seed: int
    ) -> None:
        self._size, self._lamp, self._vignetting, self._noise, self._seed = (
            (width, height),
            lamp,
            vignetting,
            noise,
            seed,
        )
        self._flat: tuple[tuple[float, ...], Pixels, float] | None = None
        self._grain: tuple[float, tuple[Pixels, Pixels, Pixels]] | None = None

    def expose(self, light: Pixels, number: int, amount: float, gain: float, red: float, blue: float) -> Pixels:
        """The picture `number`. amount: exposure over nominal. The result is a new array."""
        flat, most = self._flat_field((amount * gain * red, amount * gain, amount * gain * blue))
        seen = np.asarray(cv2.multiply(light, flat, scale=most / 255), np.uint8)
        if self._noise <= 0:
            return seen
        width, height = self._size
        shot, brighter, darker = self._grain_of(gain)
        x, y, u, v = np.random.default_rng([self._seed, number]).integers(_NOISE_SPARE_PX, size=4).tolist()
        there = (slice(y, y + height), slice(x, x + width))
        elsewhere = (slice(v, v + height), slice(u, u + width))
        seen = np.asarray(cv2.multiply(seen, shot[there], dst=seen, scale=1 / _NOISE_MIDDLE), np.uint8)
        cv2.add(seen, brighter[elsewhere], dst=seen)
        cv2.subtract(seen, darker[elsewhere], dst=seen)
        return seen

    def _flat_field(self, factors: tuple[float, float, float]) -> tuple[Pixels, float]:
        """What an empty field would give, as (h, w, 3) uint8 and the factor that its 255 stands for."""
        if (kept := self._flat) is None or kept[0] != factors:
            width, height = self._size
            x, y = np.meshgrid(np.linspace(-1, 1, 64, dtype=np.float32), np.linspace(-1, 1, 64, dtype=np.float32))
            fall = 1 - np.float32(self._vignetting) * (np.square(x - 0.08) + np.square(y + 0.05)) / 2
            levels = np.asarray([f * lamp for f, lamp in zip(factors, self._lamp, strict=True)], np.float32)
            most = float(levels.max())
            small = np.asarray(fall[..., None] * (levels / most * 255), np.float32)
            full = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
            self._flat = kept = (factors, np.asarray(cv2.convertScaleAbs(full), np.uint8), most)
        return kept[1], kept[2]

    def _grain_of(self, gain: float) -> tuple[Pixels, Pixels, Pixels]:
        """Noise for this gain: a factor (128 is one), and grey levels to add and to take away."""
        gain = round(gain, 2)
        if (kept := self._grain) is None or kept[0] != gain:
            raw = np.arange(256, dtype=np.float64)
            unit = (raw - _NOISE_MIDDLE) / _NOISE_SIGMA
            # Near white, at 205, the photons' share; and as much as a third of it from the electronics.
            photons = _NOISE_MIDDLE * (1 + unit * self._noise / 205 * math.sqrt(gain))
            electrons = unit * self._noise / 3 * gain
            width, height = self._size
            grain = _raw_noise(width + _NOISE_SPARE_PX, height + _NOISE_SPARE_PX)
            tables = [np.clip(np.rint(t), 0, 255).astype(np.uint8) for t in (photons, electrons, -electrons)]
            shot, brighter, darker = (np.asarray(cv2.LUT(grain, table), np.uint8) for table in tables)
            self._grain = kept = (gain, (shot, brighter, darker))
        return kept[1]


@lru_cache(2)
def _raw_noise(width: int, height: int) -> Pixels:
    noise = np.random.default_rng(509).standard_normal((height, width, 3), dtype=np.float32)
    return np.asarray(np.clip(np.rint(noise * _NOISE_SIGMA + _NOISE_MIDDLE), 0, 255), np.uint8)
