"""SSIM on the perceptually uniform scale PU21."""

from __future__ import annotations

from torch import Tensor

from vitm.metrics.functional.pu21 import PEAK, PU21Channels, encoded_pair
from vitm.metrics.functional.ssim import mean_ssim


def pu21_ssim(pred: Tensor, target: Tensor, channels: PU21Channels = "rgb") -> Tensor:
    """Return the SSIM ("gauss11" of `ssim`) of each frame on PU21 values, with 256 as range.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], clamped, fp32 or fp64.
        target: the same shape.
        channels: signal that is encoded: "rgb" for the mean over the linear channels; "y" for BT.2020 luminance.

    Returns:
        (B,) or (B, T) in fp64, 1 where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other channels, wrong shapes, or frames smaller than 11x11.

    Example:
        >>> import torch
        >>> frame = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> round(pu21_ssim(frame, frame).item(), 6)
        1.0
    """
    return mean_ssim(*encoded_pair(pred, target, channels), "gauss11", PEAK)
