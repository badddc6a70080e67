"""What every kind of long clip offers: a name, a length, and takes of it, whose motion is chosen and then fixed.

New data are a `Source`, found by a subclass of `LongSequences` that overrides `clips`: see docs/adding/data_set.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitm.data.arrays import Floats
from vitm.data.filming.motion import Placement
from vitm.data.filming.walk import Key

Matrices = NDArray[np.float64]


class Take(Protocol):
    """A clip whose motion is chosen; any frame can be asked for, in any order, at the same cost."""

    @property
    def still(self) -> bool:
        """Whether `planes` gives one still, larger than a frame, that `film_still` films, instead of the frames."""

    def planes(self, times: Sequence[int], placement: Placement) -> Floats:
        """Return frames (N, crop, crop, 3), or the still (1, side, side, 3): linear RGB, float32, >= 0, at 0 EV."""

    def homographies(self, times: Sequence[int], placement: Placement) -> Matrices:
        """Return (N, 3, 3), positions on a reference plane -> positions in the frames as placed; NaN where unknown."""


class Source(Protocol):
    """A clip on disk."""

    @property
    def name(self) -> str:
        """A name unique within the data set; it seeds motion and exposure where the clip is evaluated."""

    def length(self, frames: int) -> int:
        """Return the number of frames of a take, where `frames` are asked for of what does not move by itself."""

    def take(self, key: Key, size: int, frames: int) -> Take:
        """Return a take of square frames of side `size` that depends on the key alone; `frames` long if synthetic."""

    def check(self) -> None:
        """Decode part of it; raise ValueError that names what cannot be used."""


def unknown(times: Sequence[Any]) -> Matrices:
    """Return (N, 3, 3) of NaN: motion that is not known."""
    return np.full((len(times), 3, 3), np.nan)
