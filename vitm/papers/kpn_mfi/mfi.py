"""Multi-frame interaction (MFI), the module that KPN-MFI adds to an image network (KPN-MFI, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.color.precision import as_float
from vitm.ops.attention import correlate, softmax_attention


def neighbours(t: int, n_frames: int) -> tuple[int, int]:
    """Return the earlier and the later neighbour of frame `t` in a clip (section 3.2, the text after equation 7).

    Inside a clip these are t-1 and t+1. The first frame takes (1, 2) and the last one (n-3, n-2); clips of one or two
    frames repeat what they have.

    Example:
        >>> [neighbours(t, 4) for t in range(4)]
        [(1, 2), (0, 2), (1, 3), (1, 2)]
    """
    last = n_frames - 1
    if t == 0:
        return min(1, last), min(2, last)
    if t == last:
        return max(last - 2, 0), last - 1
    return t - 1, t + 1


class SelfAttention(nn.Module):
    """Attention x + softmax(q^T k) v over all positions, without 1/sqrt(d) (Figure 1: it re-calibrates features)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // reduction, 1)
        self.key = nn.Conv2d(channels, channels // reduction, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        """Attend with the map of `x` to `values` (default: to x itself): (B, C, h, w) to (B, C, h, w)."""
        y = x if values is None else values
        attended = softmax_attention(self.query(x).flatten(2), self.key(x).flatten(2), self.value(y).flatten(2))
        return y + attended.view_as(y)


class MFI(nn.Module):
    """Exchange between frames: features of a clip's frames in, features aware of their two neighbours out.

    Convention: usable alone. Put one after the last down-sampling layer of any image network whose weights are shared
    by the frames (Table 2 of the paper). Features are (B, C, h, w), one tensor a frame, of any h and w.

    Args:
        channels: number of channels C.
        corr_norm: divisor of equation 5's sum over the m positions. `"mean"`: m, the same function class at
            a fixed size and independent of the resolution; `"sum"`: 1, as printed; `"softmax"`: rows of R pass through
            a softmax, as Figure 1 draws.
        fc: FC of equation 6. `"se"`: two layers with ReLU and sigmoid; `"linear"`: one layer, as printed.
        anchor: frame whose positions are the rows of R. `"neighbour"`: as printed in equations 4 and 5; `"current"`:
            the current frame, with V from the neighbour, which is ordinary cross attention.
    """

    def __init__(
        self,
        channels: int = 64,
        corr_norm: Literal["mean", "sum", "softmax"] = "mean",
        fc: Literal["se", "linear"] = "se",
        anchor: Literal["neighbour", "current"] = "neighbour",
    ) -> None:
        super().__init__()
        self.corr_norm = corr_norm
        self.anchor = anchor
        self.p = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))  # earlier, later
        self.q = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.v = nn.Conv2d(channels, channels, 1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.fc: nn.Module = nn.Linear(channels, channels)
        if fc == "se":
            self.fc = nn.Sequential(
                nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.Sigmoid()
            )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map one (B, C, h, w) tensor a frame to as many tensors of the same shape."""
        n = len(features)
        return [self.interact(y, *(features[i] for i in neighbours(t, n))) for t, y in enumerate(features)]

    def interact(self, current: Tensor, earlier: Tensor, later: Tensor) -> Tensor:
        """Compute C_{(t-1, t+1) -> t} of equation 7 for one frame."""
        z = [self._relate(i, current, y) for i, y in enumerate((earlier, later))]
        z_t = self.fuse(torch.cat(z, dim=1))
        omega = self.fc(current.mean(dim=(2, 3)))[..., None, None]
        modulation = omega * z_t  # eq. 6
        interacted: Tensor = (1 + modulation) * current  # eq. 7
        return interacted

    def _relate(self, slot: int, current: Tensor, neighbour: Tensor) -> Tensor:
        p = F.normalize(as_float(self.p[slot](neighbour).flatten(2)), dim=1)
        q = F.normalize(as_float(self.q[slot](current).flatten(2)), dim=1)
        v = as_float(self.v(current if self.anchor == "neighbour" else neighbour).flatten(2))
        rows, columns = (p, q) if self.anchor == "neighbour" else (q, p)
        if self.corr_norm == "softmax":
            z = softmax_attention(rows, columns, v)
        else:
            z = correlate(rows, columns, v)  # eq. 4 and 5, without the m x m map
            if self.corr_norm == "mean":
                z = z / columns.shape[-1]
        return z.view_as(current).to(current.dtype)


class OfficialMFI(nn.Module):
    """The module of the authors' released file, which differs from the paper's equations 4 to 7.

    Self-attention a slot, then attention maps computed from the neighbours alone and applied to the current frame; no
    cosine, no channel attention. `sequential_update` keeps the released loop, which writes each result back before the
    next frame is computed, so that results depend on the order of frames.
    """

    def __init__(self, channels: int = 64, sequential_update: bool = True) -> None:
        super().__init__()
        self.sequential_update = sequential_update
        self.slots = nn.ModuleList(SelfAttention(channels) for _ in range(3))
        self.guides = nn.ModuleList(SelfAttention(channels) for _ in range(2))
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map one (B, C, h, w) tensor a frame to as many tensors of the same shape."""
        inputs, outputs = list(features), []
        for t in range(len(inputs)):
            earlier, later = (inputs[i] for i in neighbours(t, len(inputs)))
            outputs.append(self.interact(inputs[t], earlier, later))
            if self.sequential_update:
                inputs[t] = outputs[t]
        return outputs

    def interact(self, current: Tensor, earlier: Tensor, later: Tensor) -> Tensor:
        """Compute the fused feature of one frame."""
        earlier, current, later = (slot(y) for slot, y in zip(self.slots, (earlier, current, later), strict=True))
        guided = [guide(y, current) for guide, y in zip(self.guides, (earlier, later), strict=True)]
        fused: Tensor = self.fuse(torch.cat(guided, dim=1)) * current + current
        return fused
