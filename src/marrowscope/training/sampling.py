"""In which order fields are seen, and rare classes more often.

Repeat-factor sampling: Gupta, Dollar, Girshick, "LVIS", CVPR 2019 (arXiv:1908.03195), section 5.1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler


def repeat_factors(labels_per_field: Sequence[ArrayLike], threshold: float) -> NDArray[np.float64]:
    """How often each field is seen in an epoch, (n,), each at least 1.

    f_c is the share of fields with class c, r_c = max(1, sqrt(threshold / f_c)), and a field takes the largest r_c of
    its classes. threshold: in 0..1; classes in fewer fields than this are seen more often.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in 0..1, got {threshold}")
    present = [np.unique(np.asarray(labels, np.int64)) for labels in labels_per_field]
    factors = np.ones(len(present))
    if not any(len(p) for p in present):
        return factors
    share = np.bincount(np.concatenate(present)) / len(present)
    of_class = np.maximum(1.0, np.sqrt(np.divide(threshold, share, out=np.zeros_like(share), where=share > 0)))
    for i, labels in enumerate(present):
        if len(labels):
            factors[i] = of_class[labels].max()
    return factors


class EpochSampler(Sampler[int]):
    """A permutation of all fields that depends on (seed, epoch) alone, and can be taken up in its middle.

    repeats: (n,) from `repeat_factors`; the broken part is rounded by chance anew each epoch. None: each field once.
    """

    def __init__(self, count: int, *, seed: int, repeats: NDArray[np.float64] | None = None) -> None:
        self._repeats = np.ones(count) if repeats is None else np.asarray(repeats, np.float64)
        if self._repeats.shape != (count,) or not (np.isfinite(self._repeats) & (self._repeats >= 0)).all():
            raise ValueError(f"repeats must be ({count},), finite and not negative, got {self._repeats.shape}")
        self._seed, self._epoch, self._start = seed, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Go to this epoch. Setting the present epoch again keeps the place set by `start_at`."""
        if epoch != self._epoch:
            self._epoch, self._start = epoch, 0

    def start_at(self, position: int) -> None:
        """Leave out the first `position` fields of the present epoch, which were seen before an interruption."""
        if position < 0:
            raise ValueError(f"position must not be negative, got {position}")
        self._start = position

    def order(self) -> NDArray[np.int64]:
        """Every field index of the present epoch, from its beginning."""
        rng = np.random.default_rng([self._seed, self._epoch])
        whole = np.floor(self._repeats)
        times = (whole + (rng.random(len(whole)) < self._repeats - whole)).astype(np.int64)
        return rng.permutation(np.repeat(np.arange(len(whole)), times))

    def __len__(self) -> int:
        return max(len(self.order()) - self._start, 0)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order()[self._start :].tolist())
