"""PU21: light on a perceptually uniform scale, on which SDR metrics are measured."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vitm.color import luminance, pq_eotf
from vitm.color.precision import as_float
from vitm.metrics.functional.code import code_pair

PU21Channels = Literal["rgb", "y"]

# Mantiuk & Azimi, PCS 2021, "banding + glare"; the digits are those of the BSD-3-Clause release (gfxdisp/pu21)
_P = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
_DARKEST, _BRIGHTEST = 0.005, 10_000.0
PEAK = 256.0  # about PU21(100 cd/m2): values read like those of SDR metrics on a 100 cd/m2 display


def pu21_encode(luminance_nits: Tensor) -> Tensor:
    """Return PU21 values of light (Mantiuk & Azimi, PCS 2021, "banding + glare"): equal steps are equally visible.

    Args:
        luminance_nits: luminance in cd/m2 of any shape, clamped to [0.005, 10000].

    Returns:
        The same shape: 0 at 0.005, 256.4 at 100, 595.4 at 10,000 cd/m2; fp32, or fp64 where the input is.

    Raises:
        TypeError: for integers.

    Example:
        >>> import torch
        >>> [round(value, 1) for value in pu21_encode(torch.tensor([0.005, 100.0, 10000.0])).tolist()]
        [0.0, 256.4, 595.4]
    """
    y = as_float(luminance_nits).clamp(_DARKEST, _BRIGHTEST) ** _P[3]
    return (_P[6] * (((_P[0] + _P[1] * y) / (1 + _P[2] * y)) ** _P[4] - _P[5])).clamp(min=0.0)


def encoded_pair(pred: Tensor, target: Tensor, channels: PU21Channels) -> tuple[Tensor, Tensor]:
    """Return PU21 values of two videos of PQ codes: of each linear channel, or of the luminance.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other channels, and for shapes that differ or are not those of `code_pair`.
    """
    if channels not in ("rgb", "y"):
        raise ValueError(f"unknown PU21 channels {channels!r}: expected 'rgb' or 'y'")
    light = (pq_eotf(code) for code in code_pair(pred, target))
    x, y = (pu21_encode(nits if channels == "rgb" else luminance(nits)) for nits in light)
    return x, y
