"""What every kind of clip offers: a name, a length, and takes of it, whose motion is chosen and then fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitm.data.filming.motion import Floats, Placement
from vitm.data.filming.walk import Key

Matrices = NDArray[np.float64]


class Take(Protocol):
    """A clip whose motion is chosen; any frame can be asked for, in any order, at the same cost."""

    @property
    def still(self) -> bool:
        """True: `planes` gives one still, larger than a frame, that `film_still` films. False: it gives the frames."""

    def planes(self, times: Sequence[int], placement: Placement) -> Floats:
        """(N, crop, crop, 3) frames, or the (1, side, side, 3) still: linear RGB, float32, >= 0, at 0 EV."""

    def homographies(self, times: Sequence[int], placement: Placement) -> Matrices:
        """(N, 3, 3), positions on a reference plane -> positions in the frames as placed; NaN where not known."""


class Source(Protocol):
    """A clip on disk."""

    @property
    def name(self) -> str:
        """Unique within the data set; also the seed of motion and exposure where the clip is evaluated."""

    def length(self, frames: int) -> int:
        """Frames of a take, where `frames` are asked for of what does not move by itself."""

    def take(self, key: Key, size: int, frames: int) -> Take:
        """A take of square frames of side `size`, that depends on the key alone; `frames` long if it is synthetic."""

    def check(self) -> None:
        """Decodes part of it; ValueError names what cannot be used."""


def unknown(times: Sequence[Any]) -> Matrices:
    """(N, 3, 3) of NaN: motion that is not known."""
    return np.full((len(times), 3, 3), np.nan)
