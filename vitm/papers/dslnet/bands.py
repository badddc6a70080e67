"""DSLNet without gradients: two full-resolution feature maps, and bands of rows. Exact up to rounding.

Every band is computed with all rows that its result depends on. Maps are replaced by the next ones where these need the
same rows alone.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from vitm.ops.tiling import map_rows, rows_at_once, update_rows
from vitm.papers.dslnet.alignment import DMFA, DynamicDepthwise, StackedConvs
from vitm.papers.dslnet.layers import Blocks
from vitm.papers.dslnet.modulation import Coefficients


class Trunk(Protocol):
    """The parts of `DSLNet` that are run here; see there."""

    align: DMFA | StackedConvs
    head: nn.Sequential
    blocks: Blocks
    plain_branch: nn.Sequential | None
    enhance_head: nn.Sequential | None
    enhance: Blocks
    last: nn.Conv2d

    def fuse(
        self, residual: Tensor, aligned: Tensor, rows: Tensor, coefficients: Coefficients | None, height: int
    ) -> Tensor:
        """Return F_Mod + F_skip of some rows of a map."""


@torch.no_grad()
def convert_in_bands(trunk: Trunk, x: Tensor, rows: Tensor, coefficients: Coefficients | None) -> Tensor:
    """Return what `DSLNet.convert` returns.

    Args:
        trunk: the network.
        x: all frames on channels (B, 3 N, H, W), H and W even.
        rows: numbers of the rows of a map, (H, 1).
        coefficients: coefficients of the modulation; None without it.
    """
    aligned = align_in_bands(trunk.align, x)
    band = rows_at_once(aligned)
    skip = update_in_bands(trunk.blocks, map_rows(trunk.head, (aligned,), halo=2, band=band))
    # Modulation is pointwise: its result can take the place of `aligned`. Stacked convolutions need their halo.
    halo, place = (1, aligned) if trunk.plain_branch is None else (len(trunk.plain_branch) // 2, None)
    features = map_rows(
        lambda s, a, numbers: trunk.fuse(s, a, numbers, coefficients, x.shape[2]),
        (skip, aligned, rows),
        halo=halo,
        band=band,
        out=place,
    )
    if trunk.enhance_head is not None:
        head = map_rows(trunk.enhance_head, (features,), halo=1, band=band, out=skip)
        features = update_in_bands(trunk.enhance, head)
    return map_rows(trunk.last, (features,), halo=1, band=band)


def align_in_bands(align: DMFA | StackedConvs, x: Tensor) -> Tensor:
    """Return align(x), of all frames on channels (B, 3 N, H, W)."""
    if isinstance(align, StackedConvs):
        return map_rows(align.convs, (x,), halo=len(align.convs) // 2, band=rows_at_once(x))
    half = map_rows(align.stem, (x,), halo=align.stem_reach, band=2 * rows_at_once(x), multiple=2)
    kernels = align.middle.kernels(half) if isinstance(align.middle, DynamicDepthwise) else None
    offsets = map_rows(
        lambda band: align.predict_offsets(band, kernels), (half,), halo=align.offsets_reach, band=rows_at_once(half)
    )
    return align.sample(x, offsets)


def update_in_bands(blocks: Blocks, x: Tensor) -> Tensor:
    """Replace x by blocks(x), and return it."""
    for block in blocks:
        update_rows(block, x, halo=block.reach, band=rows_at_once(x))  # type: ignore[arg-type]
    return x
