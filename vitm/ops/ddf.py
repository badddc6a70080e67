"""Decoupled dynamic filters: a 3x3 filter for each pixel, times one for each channel (HDCFM, section 3.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vitm.ops import kernels
from vitm.ops.tiling import row_bands
from vitm.ops.workers import Share, workers


def ddf(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    """Filter every pixel of every channel with the product of its pixel's and its channel's 3x3 filter.

    `out[b, c, y, x] = sum over taps (i, j) of x[b, c, y+i-1, x+j-1] * spatial[b, 3i+j, y, x] * channel[b, c, 3i+j]`,
    zeros outside the image (DDF, "mul", without filter normalisation; HDCFM, equation 2). Shifted products are added up
    in place: nothing of 9 times the size of `x` is built, and autograd keeps the three inputs only. Differentiable
    once. The result is laid out channel by channel; a channels-last `x` is copied once. On a GPU with Triton it is one
    kernel, `vitm.ops.kernels.ddf`.

    Args:
        x: Feature map `(B, C, H, W)`.
        spatial: Filters of the pixels `(B, 9, H, W)`, taps row by row.
        channel: Filters of the channels `(B, C, 9)`, taps row by row.

    Returns:
        `(B, C, H, W)`, fp32 (fp64 when an input is fp64), also under autocast.

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        >>> x = torch.rand(1, 4, 5, 6)
        >>> centre = torch.zeros(1, 9, 5, 6)
        >>> centre[:, 4] = 1  # filters of the pixels that pass the middle tap on
        >>> torch.equal(ddf(x, centre, torch.full((1, 4, 9), 2.0)), 2 * x)
        True
    """
    B, C, H, W = x.shape if x.ndim == 4 else (0, 0, 0, 0)
    if x.ndim != 4 or spatial.shape != (B, 9, H, W) or channel.shape != (B, C, 9):
        raise ValueError(
            f"ddf needs x (B, C, H, W), spatial (B, 9, H, W) and channel (B, C, 9), got {tuple(x.shape)}, "
            f"{tuple(spatial.shape)} and {tuple(channel.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(x.dtype, spatial.dtype), channel.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    x, spatial, channel = (t.to(dtype) for t in (x, spatial, channel))
    if H == W == 1:
        return x * spatial[:, 4:5] * channel[:, :, 4, None, None]  # the other taps see zeros
    if kernels.can_run(x, spatial, channel):
        from vitm.ops.kernels import ddf as fused

        return fused.ddf(x, spatial, channel)
    return by_shifts(x, spatial, channel)


def by_shifts(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    """Do what `ddf` does by plain operations, for arguments of one type."""
    out: Tensor = _DDF.apply(x, spatial, channel)
    return out


def pixels_at_once(device: torch.device) -> int:
    """Return the number of pixels of a part: on a CPU, so few that nine taps and one channel stay in a core's cache."""
    return 2**15 if device.type == "cpu" else 2**20


def drop_wrapped_taps(spatial: Tensor) -> Tensor:
    """Set to zero, in place, the taps `(..., 9, rows, W)` that reach beyond the left and the right edge.

    In rows that follow each other in memory these taps meet the neighbouring row's end instead of zeros.
    """
    spatial[..., 0::3, :, 0] = 0
    spatial[..., 2::3, :, -1] = 0
    return spatial


def filter_pixels(
    out: Tensor, x: Tensor, spatial: Tensor, channel: Tensor, width: int, start: int, share: Share
) -> None:
    """Apply both filters to consecutive pixels of an image given row after row.

    Args:
        out: `(C, n)`, overwritten; it must not overlap the pixels that the filters reach.
        x: The image `(C, H*W)`.
        spatial: filters of the pixels `(9, n)`, from `drop_wrapped_taps`.
        channel: filters of the channels `(C, 9)`.
        width: width W of the image.
        start: number of the first of the n pixels.
        share: function of `vitm.ops.workers` that divides the channels among threads.
    """
    if kernels.can_run(out, x, spatial, channel):
        from vitm.ops.kernels import ddf as fused

        fused.filter_pixels(out, x, spatial, channel, width, start)
        return
    taps = list(_taps(out.shape[1], x.shape[1], width, start))
    if out.device.type != "cpu":
        out.zero_()
        for tap, pixels, sources in taps:
            out[:, pixels].addcmul_(x[:, sources] * channel[:, tap, None], spatial[tap, pixels])
        return
    factors = channel.tolist()

    def filter_channels(channels: slice) -> Tensor:
        views = [(out[channels, p].unbind(), x[channels, s].unbind(), spatial[tap, p], tap) for tap, p, s in taps]
        for i, (out_c, factors_c) in enumerate(zip(out[channels], factors[channels], strict=True)):
            out_c.zero_()
            for outs, xs, weights, tap in views:
                outs[i].addcmul_(xs[i], weights, value=factors_c[tap])
        return out

    share(filter_channels, len(out))


def _taps(n: int, m: int, width: int, start: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap, the pixels of `out` that have it, and the pixels of `x` that it meets (see `filter_pixels`)."""
    for tap in range(9):
        shift = start + (tap // 3 - 1) * width + tap % 3 - 1
        low, high = max(0, -shift), min(n, m - shift)
        if low < high:
            yield tap, slice(low, high), slice(low + shift, high + shift)


def _parts(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Yield the number of an image and the pixels of a band of its rows, for all parts to work on."""
    B, _, H, W = x.shape
    for b in range(B):
        for top, bottom in row_bands(H, max(1, pixels_at_once(x.device) // W)):
            yield b, slice(top * W, bottom * W)


class _DDF(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return _fused(x, spatial, channel)
        x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device)
        taps = drop_wrapped_taps(spatial.clone(memory_format=torch.contiguous_format))
        images, outs, taps = x.flatten(2), out.flatten(2), taps.flatten(2)
        with workers(x) as share:
            for b, pixels in _parts(x):
                filter_pixels(
                    outs[b, :, pixels], images[b], taps[b, :, pixels], channel[b], x.shape[3], pixels.start, share
                )
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, spatial, channel = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return _fused_backward(grad, x, spatial, channel)
        grad = grad.contiguous()
        x, taps = x.contiguous(), drop_wrapped_taps(spatial.clone(memory_format=torch.contiguous_format))
        grads = torch.zeros_like(x), torch.zeros_like(taps), torch.zeros_like(channel)
        with torch.autocast(x.device.type, enabled=False):
            for b, pixels in _parts(x):
                _pixels_backward(
                    (grads[0][b].flatten(1), grads[1][b].flatten(1)[:, pixels], grads[2][b]),
                    grad[b].flatten(1)[:, pixels],
                    (x[b].flatten(1), taps[b].flatten(1)[:, pixels], channel[b]),
                    x.shape[3],
                    pixels.start,
                )
        drop_wrapped_taps(grads[1])
        return grads


def _pixels_backward(
    grads: tuple[Tensor, Tensor, Tensor], grad: Tensor, inputs: tuple[Tensor, Tensor, Tensor], width: int, start: int
) -> None:
    """Add the gradients of `filter_pixels` for `grad` (C, n) to those of `x` (C, m), `spatial` and `channel`."""
    grad_x, grad_spatial, grad_channel = grads
    x, spatial, channel = inputs
    n = grad.shape[1]
    step = 2**11 * torch.get_num_threads() if grad.device.type == "cpu" else n
    for first in range(0, n, step):
        last = min(n, first + step)
        for tap, pixels, sources in _taps(last - first, x.shape[1], width, start + first):
            pixels = slice(pixels.start + first, pixels.stop + first)
            product = grad[:, pixels] * x[:, sources]
            grad_spatial[tap, pixels] += channel[:, tap] @ product
            grad_channel[:, tap] += product @ spatial[tap, pixels]
            torch.mul(grad[:, pixels], channel[:, tap, None], out=product)
            grad_x[:, sources].addcmul_(product, spatial[tap, pixels])


def _shifted(x: Tensor) -> list[Tensor]:
    H, W = x.shape[2:]
    padded = F.pad(x, [1] * 4)
    return [padded[:, :, tap // 3 : tap // 3 + H, tap % 3 : tap % 3 + W] for tap in range(9)]


def _fused(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    """Compute all taps in one expression, for a compiler to fuse."""
    out = torch.zeros_like(x)
    for tap, view in enumerate(_shifted(x)):
        out = out + view * spatial[:, tap : tap + 1] * channel[:, :, tap, None, None]
    return out


def _fused_backward(grad: Tensor, x: Tensor, spatial: Tensor, channel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = torch.zeros_like(x)
    grads_spatial, grads_channel = [], []
    for tap, view in enumerate(_shifted(x)):
        factor = channel[:, :, tap, None, None]
        grads_spatial.append((grad * view * factor).sum(1))
        grads_channel.append((grad * view * spatial[:, tap : tap + 1]).sum((2, 3)))
        back = _shifted(grad * spatial[:, tap : tap + 1])[8 - tap]
        grad_x = grad_x + back * factor
    return grad_x, torch.stack(grads_spatial, 1), torch.stack(grads_channel, 2)
