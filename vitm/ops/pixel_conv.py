"""Convolution with one kernel per pixel and colour (KPN-MFI, section 3.2, equation 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vitm.ops import kernels as triton_kernels


def pixel_conv(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter every pixel of every channel with a kernel of its own.

    `out[b, c, p] = sum over taps of kernels[b, c, tap, p] * x[b, c, p + tap]`, zeros outside the image (KPN-MFI,
    equation 3; the paper writes the flipped kernel, the same thing for predicted kernels). Memory beyond the output is
    one padded `x`: nothing of k*k times the image's size is built, and autograd keeps `x` and `kernels` only.
    Differentiable once. On a GPU with Triton it is one kernel, `vitm.ops.kernels.pixel_conv`.

    Args:
        x: Image `(B, C, H, W)`, any range and domain.
        kernels: `(B, C*k*k, H, W)`, k odd; channel `c*k*k + (dy+r)*k + (dx+r)` holds tap (dy, dx) of colour c, r =
            (k-1)/2.

    Returns:
        `(B, C, H, W)`, fp32 (fp64 when an input is fp64), also under autocast.

    Raises:
        ValueError: The shapes do not belong together, or k is not an odd integer.

    Example:
        >>> x = torch.rand(1, 3, 5, 6)
        >>> kernels = torch.zeros(1, 27, 5, 6)
        >>> kernels[:, 4::9] = 2  # the middle tap of each colour's 3x3 kernel
        >>> torch.equal(pixel_conv(x, kernels), 2 * x)
        True
    """
    if x.ndim != 4 or kernels.ndim != 4 or x.shape[0] != kernels.shape[0] or x.shape[2:] != kernels.shape[2:]:
        raise ValueError(
            f"pixel_conv needs x (B, C, H, W) and kernels (B, C*k*k, H, W) of one size, got {tuple(x.shape)} and "
            f"{tuple(kernels.shape)}"
        )
    size = math.isqrt(kernels.shape[1] // x.shape[1])
    if size % 2 == 0 or x.shape[1] * size * size != kernels.shape[1]:
        raise ValueError(
            f"pixel_conv needs C*k*k kernel channels with k odd, got {kernels.shape[1]} for C = {x.shape[1]}; "
            f"for k = 5 predict {25 * x.shape[1]} channels"
        )
    if torch.float64 not in (x.dtype, kernels.dtype) and triton_kernels.can_run(x, kernels):
        from vitm.ops.kernels import pixel_conv as fused

        return fused.pixel_conv(x, kernels, size)
    return by_taps(x, kernels, size)


def by_taps(x: Tensor, kernels: Tensor, size: int = 5) -> Tensor:
    """Do what `pixel_conv` does by plain operations, for kernels of this height and width."""
    out: Tensor = _PixelConv.apply(x, kernels, size // 2)
    return out


def _bands(kernels: Tensor, channels: int) -> Iterator[tuple[slice, int, Tensor]]:
    """Yield images, first row and taps `(b, C, k*k, rows, W)` of each part to work on.

    On a CPU a part is one image's band of rows that stays in the cache while all taps pass over it; channels-last
    kernels are laid out channel by channel there. A compiler gets everything at once and fuses the taps itself.
    """
    B, _, H, W = kernels.shape
    if torch.compiler.is_compiling():
        yield slice(None), 0, kernels.view(B, channels, -1, H, W)
        return
    on_cpu = kernels.device.type == "cpu"
    rows = max(1, 2**15 * torch.get_num_threads() // W) if on_cpu else H
    for b in range(B):
        for top in range(0, H, rows):
            band = kernels[b, :, top : top + rows]
            if kernels.stride(1) == 1:
                band = band.flatten(1).contiguous().view(band.shape)  # two dimensions: torch's fast transposition
            yield slice(b, b + 1), top, band.view(1, channels, -1, *band.shape[1:])


def _views(padded: Tensor, images: slice, top: int, taps: Tensor) -> Iterator[Tensor]:
    """Yield the k*k shifted views of a padded image that belong to a part's taps, row by row."""
    size, (height, width) = math.isqrt(taps.shape[2]), taps.shape[3:]
    band = padded[images, :, top : top + height + size - 1]
    for dy in range(size):
        rows = band.narrow(2, dy, height)
        for dx in range(size):
            yield rows.narrow(3, dx, width)


class _PixelConv(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, kernels: Tensor, r: int) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(x.dtype, kernels.dtype), torch.float32)
        padded = F.pad(x.to(dtype), [r] * 4)
        out = torch.zeros(x.shape, dtype=dtype, device=x.device)
        for images, top, taps in _bands(kernels, x.shape[1]):
            part = out[images, :, top : top + taps.shape[3]]
            for tap, view in zip(taps.unbind(2), _views(padded, images, top, taps), strict=True):
                part.addcmul_(view, tap)  # eq. 3
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, kernels, ctx.r = inputs
        ctx.save_for_backward(x, kernels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernels = ctx.saved_tensors
        r: int = ctx.r
        (B, C, H, W), k2 = x.shape, (2 * r + 1) ** 2
        needs_x, needs_kernels, _ = ctx.needs_input_grad
        padded = F.pad(x.to(grad.dtype), [r] * 4)
        grad_padded = torch.zeros_like(padded)
        grad_taps = kernels.new_empty((B, C, k2, H, W) if needs_kernels else 0)
        for images, top, taps in _bands(kernels, C):
            rows = slice(top, top + taps.shape[3])
            part = grad[images, :, rows]
            if needs_x:
                for tap, view in zip(taps.unbind(2), _views(grad_padded, images, top, taps), strict=True):
                    view.addcmul_(part, tap)
            if needs_kernels:
                grad_band = grad_taps[images, :, :, rows].unbind(2)
                for grad_tap, view in zip(grad_band, _views(padded, images, top, taps), strict=True):
                    if torch.compiler.is_compiling():
                        grad_tap.copy_(part * view)
                    else:
                        torch.mul(part, view, out=grad_tap)
        grad_x = grad_padded[:, :, r : r + H, r : r + W].to(x.dtype) if needs_x else None
        return grad_x, grad_taps.flatten(1, 2) if needs_kernels else None, None
