"""PSNR inside a mask."""

from __future__ import annotations

from torch import Tensor

from vitm.metrics.functional.masked_l1 import masked_sums


def masked_psnr(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the PSNR of each frame where a mask is not 0, weighted by the mask, with peak 1.

    Args:
        pred: (..., C, H, W), codes in any domain whose peak is 1.
        target: the same shape.
        mask: (..., 1, H, W) or (..., C, H, W), weights >= 0; True counts as 1.

    Returns:
        (...) in fp64, dB; nan for frames whose mask is 0 everywhere, inf where nothing inside differs.

    Raises:
        ValueError: for shapes that differ.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([0.5, 0.9]), torch.tensor([0.1, 0.8])
        >>> bright = torch.tensor([False, True])
        >>> round(masked_psnr(pred.view(1, 1, 2), target.view(1, 1, 2), bright.view(1, 1, 2)).item(), 3)
        20.0
    """
    total, weight = masked_sums(pred, target, mask, power=2)
    return -10 * (total / weight).log10()
