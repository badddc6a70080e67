"""The mean absolute difference inside a mask."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_l1(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean absolute difference of each frame where a mask is not 0, weighted by the mask.

    Convention: the domain is the caller's; a value may be compared only with values of the same domain and mask.

    Args:
        pred: (..., C, H, W), codes in any domain.
        target: the same shape.
        mask: (..., 1, H, W) or (..., C, H, W), weights >= 0; True counts as 1.

    Returns:
        (...) in fp64; nan for frames whose mask is 0 everywhere. Lower is better. Differentiable.

    Raises:
        ValueError: for shapes that differ.

    Example:
        >>> import torch
        >>> pred, target = torch.tensor([0.5, 0.9]), torch.tensor([0.5, 0.6])
        >>> bright = torch.tensor([False, True])
        >>> round(masked_l1(pred.view(1, 1, 2), target.view(1, 1, 2), bright.view(1, 1, 2)).item(), 3)
        0.3
    """
    total, weight = masked_sums(pred, target, mask)
    return total / weight


def masked_sums(pred: Tensor, target: Tensor, mask: Tensor, power: int = 1) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of absolute differences, to a power, and the sum of weights; see `masked_l1`."""
    if pred.shape != target.shape:
        raise ValueError(f"pred has shape {tuple(pred.shape)}, target {tuple(target.shape)}: expected the same")
    if mask.shape not in (pred.shape, (*pred.shape[:-3], 1, *pred.shape[-2:])):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: expected that of pred, {tuple(pred.shape)}, or 1 channel"
        )
    weights = mask.double().expand_as(pred)
    # not weight times difference: what lies outside may be infinite
    differences = torch.where(weights > 0, (pred.double() - target.double()).abs() ** power, 0.0) * weights
    return differences.sum(dim=(-3, -2, -1)), weights.sum(dim=(-3, -2, -1))
