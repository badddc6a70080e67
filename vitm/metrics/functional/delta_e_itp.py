"""Colour difference in ICtCp."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from vitm.color import pq_eotf, rgb2020_to_ictcp
from vitm.metrics.functional.code import code_pair

DeltaEReduction = Literal["mean", "p95", "none"]

_BAND = 2**14  # pixels a band: its planes stay in the CPU's cache, which makes a 1080p frame three times faster


def _band(pred: Tensor, target: Tensor) -> Tensor:
    """Return the map (h, W) of a few rows (3, h, W)."""
    i, ct, cp = (rgb2020_to_ictcp(pq_eotf(pred)) - rgb2020_to_ictcp(pq_eotf(target))).unbind(dim=-3)
    difference: Tensor = torch.linalg.vector_norm(torch.stack((i, ct / 2, cp)), dim=0)
    return 720 * difference


def _frame(pred: Tensor, target: Tensor) -> Tensor:
    """Return the map (H, W) of a frame (3, H, W)."""
    rows = max(1, _BAND // pred.shape[-1])
    bands = [slice(start, start + rows) for start in range(0, pred.shape[-2], rows)]
    return torch.cat([_band(pred[:, band], target[:, band]) for band in bands])


def _mean(pixels: Tensor) -> Tensor:
    return pixels.mean(dim=(-2, -1))


def _p95(pixels: Tensor) -> Tensor:
    """Return the 95th percentile, linear between order statistics; `torch.quantile` refuses more than 2^24 values."""
    flat = pixels.flatten(-2)
    position = 0.95 * (flat.shape[-1] - 1)
    low = flat.kthvalue(math.floor(position) + 1, dim=-1).values
    high = flat.kthvalue(math.ceil(position) + 1, dim=-1).values
    return low + (position - math.floor(position)) * (high - low)


def _none(pixels: Tensor) -> Tensor:
    return pixels


_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean, "p95": _p95, "none": _none}


def delta_e_itp(pred: Tensor, target: Tensor, reduction: DeltaEReduction = "mean") -> Tensor:
    """Return Delta E ITP (ITU-R BT.2124-0): 720 sqrt(dI^2 + dT^2 + dP^2) with T = Ct / 2; 1 is just noticeable.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64.
        target: the same shape.
        reduction: number for a frame: "mean" or "p95" (95th percentile) of its pixels, or "none" for the map.

    Returns:
        (B,) or (B, T) in fp64; with "none" (B, H, W) or (B, T, H, W). Lower is better, 0 for identical frames, where
        the gradient is 0 too.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for an unknown reduction, and for shapes that differ or are not of that form.

    Example:
        >>> import torch
        >>> grey = torch.full((1, 3, 8, 8), 0.5)
        >>> round(delta_e_itp(grey, grey + 1 / 720).item(), 2)  # intensity alone: one step
        1.0
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}: expected one of {', '.join(_REDUCTIONS)}")
    pred, target = code_pair(pred, target)
    maps = [_frame(x, y) for x, y in zip(pred.flatten(0, -4), target.flatten(0, -4), strict=True)]
    return _REDUCTIONS[reduction](torch.stack(maps).view(*pred.shape[:-3], *pred.shape[-2:]))
