"""KPN-MFI's layers at full resolution, without gradients: in bands of rows, so that few wide maps exist at a time.

Exact up to rounding: every band is computed with all rows that its result depends on.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vitm.ops.tiling import map_rows

BAND_ROWS = 64  # rows of full resolution in a band


def encode_in_bands(encode: Callable[[Tensor], Tensor], sdr: Tensor) -> Tensor:
    """Return encode(sdr), for an encoder of two 3x3 convolutions at full resolution.

    Args:
        encode: function of (B, 3, h, W), to (B, C, h, W).
        sdr: frames (B, 3, H, W).
    """
    return map_rows(encode, (sdr,), halo=2, band=BAND_ROWS)


def filter_in_bands(
    filter_frame: Callable[[Tensor, Tensor, Tensor], Tensor],
    half: Tensor,
    full: Tensor,
    sdr: Tensor,
    kernel_radius: int,
) -> Tensor:
    """Return filter_frame(half, full, sdr): the last step up to full resolution, and the predicted filters.

    Args:
        filter_frame: function of the same rows of all three.
        half: features (B, C, H/2, W/2), which are enlarged and pass through three 3x3 convolutions.
        full: features (B, C, H, W), the skip.
        sdr: frames (B, 3, H, W), which the kernels filter.
        kernel_radius: radius r of these kernels.

    Returns:
        (B, 3, H, W).
    """
    # rows at half resolution that a result depends on: 2 of the up-sampling, 2 + r full ones of what follows it
    halo = 2 + (kernel_radius + 3) // 2
    return map_rows(filter_frame, (half, full, sdr), halo=halo, band=BAND_ROWS // 2)
