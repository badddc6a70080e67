"""Gaussian pyramid (KPN-MFI, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_pyramid(x: Tensor, levels: int = 5, kernel_size: int = 9, sigma: float = 1.7) -> list[Tensor]:
    """Blur and keep every second pixel, again and again.

    Level 1 is `x` itself; each next level is the one before, blurred by a Gaussian with reflected borders, at rows and
    columns 0, 2, 4, ... The blur is computed only at the pixels that are kept.

    Args:
        x: Image `(B, C, H, W)`, any range and domain.
        levels: Number of levels, full resolution included (KPN-MFI: 5).
        kernel_size: Taps of the Gaussian along each axis, odd.
        sigma: Its standard deviation in pixels.

    Returns:
        `levels` tensors, finest first, `(B, C, ceil(H / 2^i), ceil(W / 2^i))`, fp32 (fp64 when `x` is fp64), also under
        autocast.

    Raises:
        ValueError: `x` is too small to reflect at the coarsest blur (5 levels of 9 taps need more than 32 pixels).
    """
    radius = kernel_size // 2
    if kernel_size % 2 == 0 or levels < 1:
        raise ValueError(f"gaussian_pyramid needs an odd kernel_size and levels >= 1, got {kernel_size} and {levels}")
    too_small = radius << (levels - 2) if levels > 1 else 0
    if x.ndim != 4 or min(x.shape[2:]) <= too_small:
        raise ValueError(
            f"gaussian_pyramid with {levels} levels and {kernel_size} taps needs (B, C, H, W) with sides of more than "
            f"{too_small} pixels, got {tuple(x.shape)}: use larger crops or fewer levels"
        )
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    taps = torch.exp(-(torch.arange(-radius, radius + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    kernel = torch.outer(taps, taps).div_(taps.sum() ** 2).to(x)[None, None]
    pyramid = [x]
    with torch.autocast(x.device.type, enabled=False):
        for _ in range(levels - 1):
            # Channels as images: one kernel serves all, and conv2d is twice as fast as with groups.
            planes = F.pad(pyramid[-1], [radius] * 4, mode="reflect").flatten(0, 1).unsqueeze(1)
            planes = F.conv2d(planes, kernel, stride=2)
            pyramid.append(planes.view(*x.shape[:2], *planes.shape[2:]))
    return pyramid
