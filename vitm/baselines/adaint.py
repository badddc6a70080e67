"""AdaInt: tables of colours, mixed for each frame, with vertices that are placed for each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.ada_3dlut import WIDTHS, FrameReader
from vitm.ops.color_table import apply_color_table, color_grid, even_positions

POOLED = 2  # height and width of the features that the heads see


class AdaInt(nn.Module):
    """Ada-3DLUT whose tables have vertices at unequal intervals, which a linear layer predicts for each axis.

    Yang et al., "AdaInt: Learning Adaptive Intervals for 3D Lookup Tables on Real-time Image Enhancement", CVPR 2022,
    made for photographs (released code and weights: Apache-2.0). Intervals are a softmax, vertices their sums from 0 to
    1 (section 3.3); the lookup is trilinear between them, with gradients for the vertices (3.4, "AiLUT-Transform").
    619,724 parameters, DSLNet's 0.62 M: features of the frame are averaged to 2 x 2 before the heads.

    It begins as the identity with equal intervals, near a weight of 1.

    Convention: any height and width; see `Ada3DLUT`.

    Args:
        size: number of vertices of a table along each axis.
        tables: number of tables.

    Example:
        >>> AdaInt()(torch.rand(1, 3, 30, 41)).shape
        torch.Size([1, 3, 30, 41])
    """

    colors_by_scene = True

    def __init__(self, size: int = 33, tables: int = 3) -> None:
        super().__init__()
        if size < 2 or tables < 1:
            raise ValueError(f"expected size >= 2 and tables >= 1, got size {size} and {tables} tables")
        self.size = size
        self.reader = FrameReader()
        self.weigh = nn.Linear(WIDTHS[-1] * POOLED**2, tables)
        self.intervals = nn.Linear(WIDTHS[-1] * POOLED**2, 3 * (size - 1))
        nn.init.ones_(self.weigh.bias)
        nn.init.zeros_(self.intervals.weight)
        nn.init.ones_(self.intervals.bias)
        self.values = nn.Parameter(torch.zeros(tables, 3, size**3))
        self.values.data[0] = color_grid(size).flatten(1)

    @property
    def tables(self) -> Tensor:
        """The tables (N, 3, size, size, size), with values at [:, :, b, g, r]."""
        return self.values.view(-1, 3, self.size, self.size, self.size)

    def describe(self, sdr: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (B, tables) and the vertices (B, 3, size), from 0 to 1, for frames (B, 3, H, W)."""
        code = F.adaptive_avg_pool2d(self.reader(sdr), POOLED).flatten(1)
        intervals = self.intervals(code).unflatten(1, (3, self.size - 1)).softmax(-1)
        return self.weigh(code), F.pad(intervals.cumsum(-1), (1, 0))

    def convert(self, sdr: Tensor, weights: Tensor, vertices: Tensor) -> Tensor:
        """Convert frames (B, 3, H, W) by the tables, added with weights, between vertices; see `describe`."""
        table = torch.einsum("bn,ncijk->bcijk", weights, self.tables)
        return apply_color_table(even_positions(sdr, vertices), table)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or 0 in sdr.shape:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with pixels, got {tuple(sdr.shape)}")
        return self.convert(sdr, *self.describe(sdr))

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the lookup by the frames' mean weights and vertices, see `vitm.nets.interface.ColorMapNetwork`."""
        weights, vertices = zip(*(self.describe(sdr) for sdr in frames), strict=True)
        fixed = torch.stack(weights).mean(0), torch.stack(vertices).mean(0)
        return lambda sdr: self.convert(sdr, *fixed)
