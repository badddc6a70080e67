"""Edge-preserving smoothing, the illumination estimate of KPN-MFI's temporal loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def bilateral_blur(x: Tensor, kernel_size: int = 9, sigma_color: float = 10.0, sigma_space: float = 5.0) -> Tensor:
    """Apply the bilateral filter as OpenCV's `bilateralFilter` defines it (KPN-MFI, section 3.4: d = 9, 10, 5).

    `out(p) = sum_q w(p, q) x(q) / sum_q w(p, q)` over the disc of radius `kernel_size // 2`, with `w = exp(-|p - q|^2 /
    (2 sigma_space^2) - d^2 / (2 sigma_color^2))`; d is the sum over channels of |x(p) - x(q)|, so the channels are
    filtered jointly. Borders are reflected without repeating the edge. OpenCV reads the exponential from a table and
    differs by 2e-4 on values of 0..255. Memory beyond the output is a few images, with gradients too. Differentiable
    once.

    Args:
        x: Image `(B, C, H, W)`, in the scale of `sigma_color` (the defaults are made for 0..255).
        kernel_size: Diameter of the neighbourhood, odd.
        sigma_color: Standard deviation over values.
        sigma_space: Standard deviation over pixels.

    Returns:
        `(B, C, H, W)`, fp32 (fp64 when `x` is fp64), also under autocast.

    Raises:
        ValueError: `kernel_size` is even, or the image is too small to be reflected.

    Example:
        >>> step = torch.zeros(1, 1, 16, 16)
        >>> step[..., 8:] = 255
        >>> torch.allclose(bilateral_blur(step), step)  # the edge is kept
        True
    """
    radius = _radius(x, kernel_size)
    padded = F.pad(x.to(torch.promote_types(x.dtype, torch.float32)), [radius] * 4, mode="reflect")
    out: Tensor = _Bilateral.apply(padded, radius, sigma_color, sigma_space)
    return out


def guided_filter(x: Tensor, radius: int = 5, eps: float = 0.01) -> Tensor:
    """Apply the guided filter (He et al.) with the image as its own guide, each channel alone, borders reflected.

    This is what KPN-MFI's published code uses where the paper has a bilateral filter. Not affected by autocast.

    Args:
        x: Image `(B, C, H, W)`, in the scale of `eps` (the default is made for 0..1).
        radius: radius of the box, which is `2 * radius + 1` pixels wide.
        eps: variance below which a window counts as flat.

    Returns:
        `(B, C, H, W)`, fp32 (fp64 when `x` is fp64).

    Raises:
        ValueError: The image is too small to be reflected.

    Example:
        >>> flat = torch.full((1, 3, 12, 12), 0.5)
        >>> torch.allclose(guided_filter(flat), flat)
        True
    """
    size = 2 * radius + 1
    _radius(x, size)
    x = x.to(torch.promote_types(x.dtype, torch.float32))

    def box(t: Tensor) -> Tensor:
        t = F.avg_pool2d(F.pad(t, [radius] * 4, mode="reflect"), (size, 1), stride=1)
        return F.avg_pool2d(t, (1, size), stride=1)

    mean = box(x)
    variance = box(x * x) - mean * mean
    gain = variance / (variance + eps)
    return box(gain) * x + box(mean - gain * mean)


def _radius(x: Tensor, kernel_size: int) -> int:
    radius = kernel_size // 2
    if kernel_size % 2 == 0 or x.ndim != 4 or min(x.shape[2:]) <= radius:
        raise ValueError(
            f"a filter of {kernel_size} pixels needs an odd size and (B, C, H, W) with sides of more than {radius} "
            f"pixels, got {tuple(x.shape)}"
        )
    return radius


# A pair of pixels p and q = p + offset has one weight for both directions, so half of the disc is enough: each pair
# adds to both.
def _pairs(padded: Tensor, radius: int) -> Iterator[tuple[float, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield squared distance, index of all p and index of all q, in bands of rows that stay in a CPU's cache."""
    B, _, height, width = padded.shape
    on_cpu = padded.device.type == "cpu"
    rows = max(1, 2**15 * torch.get_num_threads() // (B * width)) if on_cpu else height
    for top in range(0, height, rows):
        for dy in range(radius + 1):
            bottom = min(top + rows, height - dy)
            for dx in range(-radius if dy else 1, radius + 1):
                if dy * dy + dx * dx <= radius * radius and top < bottom:
                    p = (..., slice(top, bottom), slice(max(0, -dx), width - max(0, dx)))
                    q = (..., slice(top + dy, bottom + dy), slice(max(0, dx), width - max(0, -dx)))
                    yield dy * dy + dx * dx, p, q


class _Bilateral(torch.autograd.Function):
    """Filter an image that already has its border; the border is cut from the result."""

    @staticmethod
    def forward(padded: Tensor, radius: int, sigma_color: float, sigma_space: float) -> Tensor:
        total, weights = _weighted_sums(padded, radius, sigma_color, sigma_space)
        height, width = padded.shape[2:]
        return (total / weights)[:, :, radius : height - radius, radius : width - radius]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, float, float], output: Tensor) -> None:
        padded, *ctx.options = inputs
        ctx.save_for_backward(padded)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, None]:
        (padded,) = ctx.saved_tensors
        radius, sigma_color, sigma_space = ctx.options
        total, weights = _weighted_sums(padded, *ctx.options)
        out = total.div_(weights)
        share = F.pad(grad, [radius] * 4).div_(weights)  # dL/d(weighted sum); zero on the border
        grad_padded = share.clone()  # p itself has weight 1
        for distance2, p, q in _pairs(padded, radius):
            difference = padded[q] - padded[p]
            d = difference.abs().sum(1, keepdim=True)
            w = _weight(d, distance2, sigma_color, sigma_space)
            # dL/dw of both directions, then dw/dd = -w d / sigma_color^2 and dd/dx = sign(difference)
            slope = (share[p] * (padded[q] - out[p]) + share[q] * (padded[p] - out[q])).sum(1, keepdim=True)
            through_d = difference.sign_().mul_(slope.mul_(w).mul_(d).div_(-(sigma_color**2)))
            grad_padded[q] += through_d
            grad_padded[p] -= through_d
            grad_padded[q] += share[p] * w
            grad_padded[p] += share[q] * w
        return grad_padded, None, None, None


def _weighted_sums(padded: Tensor, radius: int, sigma_color: float, sigma_space: float) -> tuple[Tensor, Tensor]:
    total, weights = padded.clone(), torch.ones_like(padded[:, :1])  # p itself has weight 1
    for distance2, p, q in _pairs(padded, radius):
        d = (padded[q] - padded[p]).abs_().sum(1, keepdim=True)
        w = _weight(d, distance2, sigma_color, sigma_space)
        weights[p] += w
        weights[q] += w
        total[p].addcmul_(w, padded[q])
        total[q].addcmul_(w, padded[p])
    return total, weights


def _weight(d: Tensor, distance2: float, sigma_color: float, sigma_space: float) -> Tensor:
    exponent = (d * d).mul_(-0.5 / sigma_color**2)
    return exponent.exp_().mul_(math.exp(-0.5 * distance2 / sigma_space**2))
