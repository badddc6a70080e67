"""A smooth random walk that can be asked at any time: no state, no history, the same answer on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Key = tuple[int, ...]  # what seeds a random generator: seed, epoch, index, ...


@dataclass(frozen=True)
class Walk:
    """Anchors every `spacing` frames, uniform in [low, high], joined by half cosine waves.

    Anchor k is drawn from a generator of its own, seeded with (*key, k): frame 100,000 costs what frame 0 costs.
    Between two anchors a and b, u of the way, the value is a + (b - a) (1 - cos(pi u)) / 2: the walk stands still at
    every anchor, and its speed is continuous.

    Attributes:
        key: Seeds of the anchors, non-negative.
        low: Least value.
        high: Largest value.
        spacing: Frames from one anchor to the next, 1 or more.
        shape: Shape of a value; its entries walk independently.
    """

    key: Key
    low: float
    high: float
    spacing: int
    shape: tuple[int, ...] = ()

    def __call__(self, t: int) -> NDArray[np.float64]:
        """Return the value at frame t >= 0, of `shape`."""
        k, rest = divmod(t, self.spacing)
        before, after = self._anchor(k), self._anchor(k + 1)
        return before + (after - before) * ((1 - math.cos(math.pi * rest / self.spacing)) / 2)

    def _anchor(self, k: int) -> NDArray[np.float64]:
        return np.asarray(np.random.default_rng((*self.key, k)).uniform(self.low, self.high, self.shape))
