"""Structural similarity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vitm.metrics.functional.code import code_pair

SSIMVariant = Literal["gauss11", "uniform7", "kpn"]

_BAND = 2**14  # pixels a band: its maps stay in the CPU's cache, which makes a 1080p frame five times faster


def _gaussian_mean(x: Tensor) -> Tensor:
    """Return the means over Gaussian windows, as sums of shifted views: conv2d takes 3.4 times as long in fp64."""
    taps = [math.exp(-(offset**2) / (2 * 1.5**2)) for offset in range(-5, 6)]
    for dim in (-2, -1):
        size = x.shape[dim] - 10
        total = x.narrow(dim, 0, size) * (taps[0] / sum(taps))
        for i, tap in enumerate(taps[1:], start=1):
            total.add_(x.narrow(dim, i, size), alpha=tap / sum(taps))
        x = total
    return x


def _uniform_mean(x: Tensor) -> Tensor:
    """Return the means over 7x7 windows, row by row and column by column; seven samples are three pairs and one."""
    for dim in (-2, -1):
        size = x.shape[dim] - 6
        pair = x.narrow(dim, 0, size + 5) + x.narrow(dim, 1, size + 5)
        total = pair.narrow(dim, 0, size) + pair.narrow(dim, 2, size)
        x = total.add_(pair.narrow(dim, 4, size)).add_(x.narrow(dim, 6, size)) / 7
    return x


class _Variant(NamedTuple):
    mean: Callable[[Tensor], Tensor]
    window: int
    moment_scale: float
    data_range: float


_VARIANTS = {
    "gauss11": _Variant(_gaussian_mean, 11, 1.0, 1.0),
    "uniform7": _Variant(_uniform_mean, 7, 49 / 48, 1.0),
    "kpn": _Variant(_uniform_mean, 7, 49 / 48, 2.0),
}


def mean_ssim(pred: Tensor, target: Tensor, variant: SSIMVariant, peak: float = 1.0) -> Tensor:
    """Return the SSIM of each frame: the mean over its positions and channels, whatever the channels hold.

    Args:
        pred: (..., C, H, W), fp64.
        target: the same shape.
        variant: window, moments and range, see `ssim`.
        peak: signal range that R = 1 stands for.

    Returns:
        (...) in fp64.

    Raises:
        ValueError: for an unknown variant, or frames smaller than the window.
    """
    if variant not in _VARIANTS:
        raise ValueError(f"unknown SSIM variant {variant!r}: expected one of {', '.join(_VARIANTS)}")
    mean, window, scale, data_range = _VARIANTS[variant]
    H, W = pred.shape[-2:]
    if min(H, W) < window:
        raise ValueError(f"SSIM {variant!r} needs frames of at least {window}x{window}, got {(H, W)}")
    c1, c2 = (2 * (k * data_range * peak) ** 2 for k in (0.01, 0.03))
    rows = max(8, _BAND // W)

    def band(x: Tensor, y: Tensor) -> Tensor:
        # With s = x + y and d = x - y: s^2 - d^2 = 4 xy and s^2 + d^2 = 2 (x^2 + y^2). Four means instead of five.
        s, d = x + y, x - y
        ms, md, ss, dd = mean(torch.stack((s, d, s * s, d * d)))
        ms, md = ms * ms, md * md
        vs, vd = scale * (ss - ms), scale * (dd - md)
        similarity: Tensor = (ms - md + c1) * (vs - vd + c2) / ((ms + md + c1) * (vs + vd + c2))
        return similarity.sum()

    def plane(x: Tensor, y: Tensor) -> Tensor:
        bands = [slice(start, start + rows + window - 1) for start in range(0, H - window + 1, rows)]
        return torch.stack([band(x[part], y[part]) for part in bands]).sum() / ((H - window + 1) * (W - window + 1))

    values = [plane(x, y) for x, y in zip(pred.flatten(0, -3), target.flatten(0, -3), strict=True)]
    return torch.stack(values).view(pred.shape[:-2]).mean(dim=-1)


def ssim(pred: Tensor, target: Tensor, variant: SSIMVariant = "gauss11") -> Tensor:
    """Return the SSIM of each frame (Wang et al. 2004, eq. 13): the mean over the positions of the three PQ channels.

    Convention: windows lie inside the frame (no padding), C1 = (0.01 R)^2, C2 = (0.03 R)^2.

    - "gauss11": Gaussian 11x11, sigma 1.5, population moments, R = 1. The field's usual one.
    - "uniform7": flat 7x7, sample moments (N / (N - 1)), R = 1.
    - "kpn": "uniform7" with R = 2, as the code of KPN-MFI evaluates. It reads higher; compare it with that paper only.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64.
        target: the same shape.
        variant: window, moments and range.

    Returns:
        (B,) or (B, T) in fp64, 1 where the frames are identical.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for an unknown variant, wrong shapes, or frames smaller than the window.

    Example:
        >>> import torch
        >>> frame = torch.linspace(0, 1, 768, dtype=torch.float64).view(1, 3, 16, 16)
        >>> round(ssim(frame, 0.9 * frame).item(), 4)
        0.9908
    """
    return mean_ssim(*code_pair(pred, target), variant)
