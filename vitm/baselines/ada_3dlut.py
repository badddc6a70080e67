"""Ada-3DLUT: a table of colours, mixed for each frame from three that are learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.color_table import apply_color_table, color_grid

WIDTHS = (16, 32, 64, 128, 128)  # of the layers that look at the frame
HEAD_STD = 1e-3  # of the initial head; not 0, which would leave the tables alike
LOOK = 256  # height and width at which they look


class FrameReader(nn.Module):
    """Five convolutions of stride 2 on the frame at 256 x 256, each with a LeakyReLU, all but the last normalised."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, m in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(n, m, 3, 2, 1), nn.LeakyReLU(0.2), nn.InstanceNorm2d(m, affine=True)]
        self.layers = nn.Sequential(*layers[:-1], nn.Dropout(0.5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
            elif isinstance(module, nn.InstanceNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, sdr: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 128, 8, 8)."""
        codes: Tensor = self.layers(F.interpolate(sdr, size=(LOOK, LOOK), mode="bilinear", align_corners=False))
        return codes


class Ada3DLUT(nn.Module):
    """Three tables of 33 x 33 x 33 colours, added with weights that a small network takes from the frame.

    Zeng et al., "Learning Image-Adaptive 3D Lookup Tables for High Performance Photo Enhancement in Real-Time", TPAMI
    2020, made for photographs. The result is sum_n w_n phi_n(sdr), with phi_n the trilinear lookup in table n; a lookup
    is linear in its table, so the tables are added first. 593,516 parameters.

    It begins near the identity, with PQ code as the SDR's: the first table is one, the others are zeros, and all
    weights are near 1. (By the released code's initialisation of the head, the weights begin with a noise of more than
    1, from dropout of 8192 features, which takes thousands of steps to settle.)

    Convention: any height and width; the network looks at the frame resized bilinearly to 256 x 256, without
    antialiasing, as published. Colours are clamped to [0, 1] before the lookup.

    Args:
        size: number of vertices of a table along each axis.
        tables: number of tables.

    Example:
        >>> sdr = torch.rand(1, 3, 30, 41)
        >>> network = Ada3DLUT().eval()
        >>> torch.equal(network(sdr), network.convert(sdr, network.weights(sdr)))
        True
    """

    colors_by_scene = True

    def __init__(self, size: int = 33, tables: int = 3) -> None:
        super().__init__()
        if size < 2 or tables < 1:
            raise ValueError(f"expected size >= 2 and tables >= 1, got size {size} and {tables} tables")
        self.reader = FrameReader()
        self.head = nn.Conv2d(WIDTHS[-1], tables, 8)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        assert self.head.bias is not None
        nn.init.ones_(self.head.bias)
        self.size = size
        self.values = nn.Parameter(torch.zeros(tables, 3, size**3))
        self.values.data[0] = color_grid(size).flatten(1)

    @property
    def tables(self) -> Tensor:
        """The tables (N, 3, size, size, size), with values at [:, :, b, g, r]."""
        return self.values.view(-1, 3, self.size, self.size, self.size)

    def weights(self, sdr: Tensor) -> Tensor:
        """Return the weights (B, tables) of the tables for frames (B, 3, H, W)."""
        weights: Tensor = self.head(self.reader(sdr)).flatten(1)
        return weights

    def convert(self, sdr: Tensor, weights: Tensor) -> Tensor:
        """Convert frames (B, 3, H, W) by the tables, added with weights (B, tables)."""
        return apply_color_table(sdr, torch.einsum("bn,ncijk->bcijk", weights, self.tables))

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
        return self.convert(sdr, self.weights(sdr))

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the lookup with the frames' mean weights, see `vitm.nets.interface.ColorMapNetwork`."""
        weights = torch.stack([self.weights(sdr) for sdr in frames]).mean(0)
        return lambda sdr: self.convert(sdr, weights)


def roughness(tables: Tensor) -> Tensor:
    """Return the total variation of tables: squared differences of neighbours, mean over places, sum over axes.

    The paper's smooth regularisation. As in the released code, the first and the last difference along an axis count
    twice.

    Args:
        tables: (N, 3, S, S, S), S >= 3.

    Returns:
        A scalar: the sum over tables.
    """
    total = tables.new_zeros(())
    for axis in (-3, -2, -1):
        squared = tables.diff(dim=axis).square().movedim(axis, -1)
        twice = squared[..., 0] + squared[..., -1]
        total = total + (squared.sum(-1) + twice).mean((-3, -2, -1)).sum() / squared.shape[-1]
    return total


def falls(tables: Tensor) -> Tensor:
    """Return by how much tables fall where a coordinate grows: the paper's monotonicity regularisation.

    Args:
        tables: (N, 3, S, S, S).

    Returns:
        A scalar, mean over places, sum over axes and tables; 0 for monotonic tables.
    """
    means = [F.relu(-tables.diff(dim=axis)).mean((-4, -3, -2, -1)).sum() for axis in (-3, -2, -1)]
    return torch.stack(means).sum()
