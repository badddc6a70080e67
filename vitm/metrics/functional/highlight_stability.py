"""Stability of highlights: how much they swell and fade."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitm.color import luminance, pq_eotf
from vitm.metrics.functional.code import as_codes, check_clips
from vitm.metrics.functional.flicker import deviation


def highlight_nits(video: Tensor) -> Tensor:
    """Return the highlights of each frame: the 99th percentile of its luminance, linear between order statistics.

    Args:
        video: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64.

    Returns:
        (B,) or (B, T) in cd/m2, fp64.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes.
    """
    video = as_codes(video, "video")
    values = []
    for frame in video.flatten(0, -4):  # one at a time: fp64 light of a 4K frame is 200 MB
        light = luminance(pq_eotf(frame)).flatten()
        position = 0.99 * (len(light) - 1)
        low = light.kthvalue(math.floor(position) + 1).values
        high = light.kthvalue(math.ceil(position) + 1).values
        value = low + (position - math.floor(position)) * (high - low)
        values.append(value.masked_fill(light.isnan().any(), math.nan))  # sorting puts nan last
    return torch.stack(values).view(video.shape[:-3])


def variation(series: Tensor) -> Tensor:
    """Return the coefficient of variation over the last dimension of values >= 0; 0 where all are 0."""
    mean = series.mean(dim=-1)
    return deviation(series) / mean.clamp(min=torch.finfo(mean.dtype).tiny)


def highlight_stability(video: Tensor) -> Tensor:
    """Return how much the highlights of each clip swell and fade: the coefficient of variation of `highlight_nits`.

    Convention: standard deviation (population) over mean. Scenes vary by themselves: compare it with the target's.

    Args:
        video: (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64, T >= 2.

    Returns:
        (B,) in fp64, 0 for constant highlights. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes or fewer than two frames.

    Example:
        >>> import torch
        >>> flat = torch.tensor([0.5, 0.6]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 8, 8)  # 92 and 244 cd/m2
        >>> round(highlight_stability(flat).item(), 3)
        0.451
    """
    check_clips(video, "the stability of highlights")
    return variation(highlight_nits(video))
