"""CSRNet: colours mapped pixel by pixel, by a mapping that is tuned to the whole frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.tiling import map_rows, needs_whole_maps


class GlobalMapping(nn.Module):
    """1x1 convolutions, each followed by x (1 + a) + b with a and b of a channel from a vector of conditions.

    Between them there is a LeakyReLU. Without gradients it works in bands of rows.

    Args:
        widths: channels of the input, after each convolution, and of the output.
        conditions: length of the vector.
        slope: slope of the LeakyReLU; 0 is a ReLU.
        activate_last: whether the output goes through it too.
    """

    def __init__(self, widths: Sequence[int], conditions: int, slope: float = 0.0, activate_last: bool = False) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in pairwise(widths))
        self.scales = nn.ModuleList(nn.Linear(conditions, m) for m in widths[1:])
        self.shifts = nn.ModuleList(nn.Linear(conditions, m) for m in widths[1:])
        self.slope, self.activate_last = slope, activate_last

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Map (B, C, H, W) by conditions (B, conditions) to (B, C', H, W)."""
        factors = [1 + scale(conditions)[..., None, None] for scale in self.scales]
        addends = [shift(conditions)[..., None, None] for shift in self.shifts]

        def mapped(x: Tensor) -> Tensor:
            for i, conv in enumerate(self.convs):
                x = torch.addcmul(addends[i], conv(x), factors[i])
                if self.activate_last or i < len(self.convs) - 1:
                    x = F.leaky_relu(x, self.slope)
            return x

        return mapped(x) if needs_whole_maps(self, x) else map_rows(mapped, (x,), halo=0)


class CSRNet(nn.Module):
    """Three 1x1 convolutions, modulated by a vector that three strided convolutions take from the frame.

    He et al., "Conditional Sequential Modulation for Efficient Global Image Retouching", ECCV 2020: made for photo
    retouching, and since HDRTVNet (ICCV 2021) a baseline of SDR to HDR. 36,489 parameters with the default arguments.

    Convention: any height and width of at least 5. The vector is of the whole frame, so crops of a frame do not give
    crops of the result.

    Args:
        width: number of channels of the mapping.
        conditions: length of the vector, and channels of the convolutions that compute it.
    """

    colors_by_scene = True

    def __init__(self, width: int = 64, conditions: int = 32) -> None:
        super().__init__()
        self.estimator = nn.Sequential(
            nn.Conv2d(3, conditions, 7, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(conditions, conditions, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(conditions, conditions, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.mapping = GlobalMapping((3, width, width, 3), conditions)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 5.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < 5:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with H, W >= 5, got {tuple(sdr.shape)}")
        hdr_pq: Tensor = self.mapping(sdr, self._conditions(sdr))
        return hdr_pq

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the mapping by the frames' mean vector, see `vitm.nets.interface.ColorMapNetwork`."""
        conditions = torch.stack([self._conditions(sdr) for sdr in frames]).mean(0)
        return lambda sdr: self.mapping(sdr, conditions)

    def _conditions(self, sdr: Tensor) -> Tensor:
        conditions: Tensor = self.estimator(sdr).mean((2, 3))
        return conditions
