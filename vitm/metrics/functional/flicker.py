"""Flicker: how unsteady the level of whole frames is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitm.color import luminance
from vitm.metrics.functional.code import clip_pair


def deviation(series: Tensor) -> Tensor:
    """Return the population standard deviation over the last dimension; where nothing varies the gradient is 0."""
    centred = series - series.mean(dim=-1, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(centred, dim=-1)
    return norm / math.sqrt(series.shape[-1])


def mean_luma(video: Tensor) -> Tensor:
    """Return the mean PQ luma of each frame, with BT.2020 weights: (..., 3, H, W) codes -> (...)."""
    return luminance(video).mean(dim=(-3, -2, -1))


def flicker(pred: Tensor, target: Tensor) -> Tensor:
    """Return the flicker of each clip: the standard deviation over time of mean PQ luma, prediction minus target.

    Convention: population deviation. A constant level error does not count; a drift does.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2.
        target: the same shape.

    Returns:
        (B,) in PQ code, fp64. Lower is better, 0 for identical clips. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.

    Example:
        >>> import torch
        >>> steady = torch.full((1, 2, 3, 8, 8), 0.5)
        >>> unsteady = steady + torch.tensor([0.0, 0.02]).view(1, 2, 1, 1, 1)
        >>> round(flicker(unsteady, steady).item(), 4)
        0.01
    """
    pred, target = clip_pair(pred, target, "flicker")
    return deviation(mean_luma(pred) - mean_luma(target))
