"""One whole clip for evaluation, frame by frame: what is held does not grow with its length."""

from __future__ import annotations

import copy
import zlib
from typing import Self

import torch
from einops import rearrange
from torch import Tensor

from vitm.data.filming.motion import Placement, film_still, homography_flow
from vitm.data.sequences.exposure import EV_RANGE, expose, exposure_walk
from vitm.data.sequences.source import Source
from vitm.data.sequences.videos import Footage


class LongClip:
    """A clip whose frames are read, filmed and exposed when they are asked for, in any order.

    Motion and exposure depend on the seed and on the clip's name alone. The last frame asked for is kept, and the still
    of a clip that has one; nothing else is.

    Args:
        source: The clip on disk.
        size: Side of the square frames, in pixels.
        frames: Length of clips that do not move by themselves.
        seed: Seed of motion and exposure.
        ev_range: Least and largest exposure in stops.
        limit: Number of frames from the first on that are shown; None is all.
    """

    def __init__(
        self,
        source: Source,
        size: int = 512,
        frames: int = 181,
        *,
        seed: int = 0,
        ev_range: tuple[float, float] = EV_RANGE,
        limit: int | None = None,
    ) -> None:
        self.name = source.name
        self.device = torch.device("cpu")
        self._footage = source if isinstance(source, Footage) else None
        length = source.length(frames)
        self._length = length if limit is None else min(length, limit)
        key = seed, zlib.crc32(self.name.encode())
        self._take = source.take((*key, 0), size, frames)
        self._walk = exposure_walk((*key, 1), ev_range)
        self._whole = Placement(size, size)
        self._still: Tensor | None = None
        self._last: tuple[int, tuple[Tensor, Tensor]] | None = None

    def __len__(self) -> int:
        return self._length

    def to(self, device: torch.device | str, **_: object) -> Self:
        """Return the same clip with its frames on another device."""
        moved = copy.copy(self)
        moved.device, moved._still, moved._last = torch.device(device), None, None
        return moved

    def frame(self, t: int) -> tuple[Tensor, Tensor]:
        """Return (ldr, linear) of frame t, each (3, size, size), in the domains of `vitm.data.batch.SequenceSample`.

        Raises:
            IndexError: The clip has no such frame.
        """
        if self._last is None or self._last[0] != t:
            ev = torch.full((), self.ev(t), device=self.device)
            self._last = t, expose(self._film(t) if self._take.still else self._plane(t), ev)
        return self._last[1]

    def ldr(self, t: int) -> Tensor:
        """Return what the camera recorded, (3, size, size): gamma 2.2 code in [0, 1], 8-bit, clipped."""
        return self.frame(t)[0]

    def linear(self, t: int) -> Tensor:
        """Return the target at the frame's own exposure, (3, size, size): linear, not clipped."""
        return self.frame(t)[1]

    def ev(self, t: int) -> float:
        """Return the exposure in stops."""
        return float(self._walk(self._index(t)))

    def homography(self, t: int) -> Tensor:
        """Return (3, 3), float32: the shared plane's pixel positions -> the frame's; NaN where it is not known."""
        (matrix,) = self._take.homographies([self._index(t)], self._whole)
        return torch.from_numpy(matrix).float().to(self.device)

    def flow(self, t: int, other: int) -> tuple[Tensor, Tensor] | None:
        """Return where the pixels of frame t lie in another frame, as the data know it; None where they do not.

        Returns:
            flow (1, 2, size, size) in pixels, x first: `warp(frame other, flow)` lies on frame t; and seen
            (1, 1, size, size), bool: inside the other frame and not hidden there.
        """
        size, matrices = self._whole.size, torch.stack((self.homography(t), self.homography(other)))
        if matrices.isfinite().all():
            return homography_flow(matrices[:1], matrices[1:], (size, size))
        known = self._footage.flow(t, other) if self._footage is not None else None
        if known is None or known[0].shape[-2:] != (size, size):
            return None
        flow, seen = known
        return flow.to(self.device), seen.to(self.device)

    def _index(self, t: int) -> int:
        if not 0 <= t < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}; frame {t} was asked for")
        return t

    def _film(self, t: int) -> Tensor:
        if self._still is None:
            self._still = self._plane(0)
        return film_still(self._still, self.homography(t)[None], self._whole.size)[0]

    def _plane(self, t: int) -> Tensor:
        (plane,) = self._take.planes([t], self._whole)
        return torch.from_numpy(rearrange(plane, "h w c -> c h w")).contiguous().to(self.device)
