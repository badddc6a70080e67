"""PU21: light on a perceptually uniform scale, and SDR metrics on it."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vitm.color import luminance, pq_eotf
from vitm.color.precision import as_float
from vitm.metrics.functional.code import code_pair
from vitm.metrics.functional.ssim import mean_ssim

PU21Channels = Literal["rgb", "y"]

# Mantiuk & Azimi, PCS 2021, "banding + glare"; the digits are those of the BSD-3-Clause release (gfxdisp/pu21)
_P = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
_DARKEST, _BRIGHTEST = 0.005, 10_000.0
_PEAK = 256.0  # about PU21(100 cd/m2): values read like those of SDR metrics on a 100 cd/m2 display


def pu21_encode(luminance_nits: Tensor) -> Tensor:
    """PU21 of light (Mantiuk & Azimi, PCS 2021, "banding + glare"): equal steps are equally visible.

    Args:
        luminance_nits: any shape, cd/m2, clamped to [0.005, 10000].

    Returns:
        The same shape: 0 at 0.005, 256.4 at 100, 595.4 at 10,000 cd/m2; fp32, or fp64 where the input is.

    Raises:
        TypeError: for integers.
    """
    y = as_float(luminance_nits).clamp(_DARKEST, _BRIGHTEST) ** _P[3]
    return (_P[6] * (((_P[0] + _P[1] * y) / (1 + _P[2] * y)) ** _P[4] - _P[5])).clamp(min=0.0)


def _encoded_pair(pred: Tensor, target: Tensor, channels: PU21Channels) -> tuple[Tensor, Tensor]:
    if channels not in ("rgb", "y"):
        raise ValueError(f"unknown PU21 channels {channels!r}: expected 'rgb' or 'y'")
    light = (pq_eotf(code) for code in code_pair(pred, target))
    x, y = (pu21_encode(nits if channels == "rgb" else luminance(nits)) for nits in light)
    return x, y


def pu21_psnr(pred: Tensor, target: Tensor, channels: PU21Channels = "rgb") -> Tensor:
    """PSNR of each frame on PU21 values, with 256 as peak.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], clamped, fp32 or fp64.
        target: the same shape.
        channels: "rgb" encodes each linear channel, the MSE is over all three; "y" encodes BT.2020 luminance.

    Returns:
        (B,) or (B, T) in dB, fp64; inf where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other channels, and for shapes that differ or are not of that form.
    """
    x, y = _encoded_pair(pred, target, channels)
    return -10 * ((x - y) / _PEAK).square().mean(dim=(-3, -2, -1)).log10()


def pu21_ssim(pred: Tensor, target: Tensor, channels: PU21Channels = "rgb") -> Tensor:
    """SSIM ("gauss11" of `ssim`) of each frame on PU21 values, with 256 as range.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], clamped, fp32 or fp64.
        target: the same shape.
        channels: "rgb" is the mean over the encoded linear channels; "y" encodes BT.2020 luminance.

    Returns:
        (B,) or (B, T) in fp64, 1 where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other channels, wrong shapes, or frames smaller than 11x11.
    """
    return mean_ssim(*_encoded_pair(pred, target, channels), "gauss11", _PEAK)
