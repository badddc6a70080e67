"""PSNR on the perceptually uniform scale PU21."""

from __future__ import annotations

from torch import Tensor

from vitm.metrics.functional.pu21 import PEAK, PU21Channels, encoded_pair


def pu21_psnr(pred: Tensor, target: Tensor, channels: PU21Channels = "rgb") -> Tensor:
    """Return the PSNR of each frame on PU21 values, with 256 as peak.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], clamped, fp32 or fp64.
        target: the same shape.
        channels: signal that is encoded: "rgb" for each linear channel, with the MSE over all three; "y" for BT.2020
            luminance.

    Returns:
        (B,) or (B, T) in dB, fp64; inf where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other channels, and for shapes that differ or are not of that form.

    Example:
        >>> import torch
        >>> from vitm.color import pq_inverse_eotf
        >>> white = pq_inverse_eotf(torch.full((1, 3, 8, 8), 100.0, dtype=torch.float64))
        >>> round(pu21_psnr(white, torch.zeros_like(white)).item(), 3)  # 100 cd/m2 is about the peak
        -0.013
    """
    x, y = encoded_pair(pred, target, channels)
    return -10 * ((x - y) / PEAK).square().mean(dim=(-3, -2, -1)).log10()
