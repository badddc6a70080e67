"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.metrics.functional.code import code_pair


def psnr(pred: Tensor, target: Tensor) -> Tensor:
    """Return the PSNR of each frame: 10 log10(1 / MSE), the MSE over all pixels and the three PQ channels.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64.
        target: the same shape.

    Returns:
        (B,) or (B, T) in dB, fp64; inf where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form.

    Example:
        >>> import torch
        >>> frame = torch.full((1, 3, 16, 16), 0.5)
        >>> round(psnr(frame, frame + 0.1).item(), 3)
        20.0
    """
    pred, target = code_pair(pred, target)
    mse = torch.linalg.vector_norm(pred - target, dim=(-3, -2, -1)).square() / pred.shape[-3:].numel()
    decibels: Tensor = -10 * mse.log10()
    return decibels
