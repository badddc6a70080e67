"""VITM-TC's stacks of convolutions at full resolution, without gradients: in bands of rows. Exact up to rounding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vitm.ops.tiling import map_rows, needs_whole_maps

BAND_PIXELS = 2**22  # pixels of a band
CPU_BAND_PIXELS = 3 * 2**14  # the same on a CPU, for each thread


def in_bands(network: nn.Module, fn: Callable[..., Tensor], *inputs: Tensor, halo: int) -> Tensor:
    """Return fn(*inputs), computed band by band where no gradients are needed.

    On the CPU bands are so small that memory is used again rather than asked for: up to 1.3 times faster.

    Args:
        network: the module whose layers `fn` calls.
        fn: function of full-resolution maps: layers of `network`, local in space.
        *inputs: maps (B, _, H, W).
        halo: number of 3x3 convolutions one after another in `fn`.
    """
    x = inputs[0]
    pixels = CPU_BAND_PIXELS * torch.get_num_threads() if x.device.type == "cpu" else BAND_PIXELS
    band = max(4 * halo, pixels // x.shape[3])
    if band >= x.shape[2] or any(needs_whole_maps(network, t) for t in inputs):
        return fn(*inputs)
    return map_rows(fn, inputs, halo=halo, band=band)
