"""Decoupled dynamic filters: one pass over the features, forward and backward.

Nine shifted products by plain operations read and write 64 channels nine times. Here they are read once, with the nine
filters of a pixel, and written once: 64 + 9 + 64 channels, 0.53 ms for 2160 x 3840 in bf16 at 4.3 TB/s, and twice that
in fp32. HDCFM multiplies its factors into the filters of the channels, and its averages have to see rectified features
before the filters are known, so there is no modulation and no ReLU to be done in this pass.

A program has 128 consecutive pixels of 8 channels. The nine reads of a feature meet in the first cache; the programs of
64 channels follow each other, so that the filters of their pixels come from the second, eight times: 200 channels in
all, which that cache delivers while memory does its 137. 256 threads sum up four numbers each and take 80 registers
(compiled for compute capability 9.0; 172 for 16 channels), so that 768 of them fit onto a multiprocessor with its
65,536, each with up to 36 reads under way.

The backward pass to the features is the same pass with the taps turned round. That to the filters has 64 numbers of the
channels to sum over for each pixel, and all pixels for each channel: a program goes through the channels of 128 pixels,
then through those of other pixels, and has sums of its own for the channels, so that programs never wait for each other
and sums come out alike each time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIXELS, _CHANNELS = 128, 8  # of a program at a time
_WARPS = 8
_PROGRAMS = 1024  # of a picture, at most, that sum up the gradients of filters: eight for each multiprocessor


def ddf(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    """Filter every pixel of every channel, as `vitm.ops.ddf.ddf`; differentiable once.

    Args:
        x: (B, C, H, W), of any strides.
        spatial: (B, 9, H, W).
        channel: (B, C, 9). All three are fp32, or all fp64.

    Returns:
        (B, C, H, W).
    """
    out: Tensor = _DDF.apply(x, spatial, channel)
    return out


def filter_pixels(out: Tensor, x: Tensor, spatial: Tensor, channel: Tensor, width: int, start: int) -> None:
    """Apply both filters to consecutive pixels of an image given row after row, as `vitm.ops.ddf.filter_pixels`.

    Args:
        out: (C, n), overwritten; it must not overlap the pixels that the filters reach.
        x: the image (C, H*W).
        spatial: filters of the pixels (9, n).
        channel: filters of the channels (C, 9).
        width: width W of the image.
        start: number of the first of the n pixels.
    """
    _filter(out[None], x.unflatten(1, (-1, width))[None], spatial.contiguous()[None], channel[None], start)


class _DDF(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        _filter(out.flatten(2), x, spatial.contiguous().flatten(2), channel)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, spatial, channel = ctx.saved_tensors
        spatial = spatial.contiguous().flatten(2)
        needs_x, *needs_filters = ctx.needs_input_grad
        grad_x = grad_spatial = grad_channel = None
        if needs_x:
            grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            _filter(grad_x.flatten(2), grad, spatial, channel, turned=True)
        if any(needs_filters):
            grad_spatial, grad_channel = _filters_backward(grad, x, spatial, channel)
        return grad_x, grad_spatial, grad_channel


def _filter(out: Tensor, x: Tensor, spatial: Tensor, channel: Tensor, start: int = 0, turned: bool = False) -> None:
    """Filter n pixels from `start` on: `out` (B, C, n), x (B, C, H, W), `spatial` (B, 9, n), `channel` (B, C, 9)."""
    batch, channels, pixels = out.shape
    if not out.numel():
        return
    chunks = triton.cdiv(channels, _CHANNELS)
    sizes = pixels, *x.shape[2:], start, channels, chunks
    strides = *x.stride(), *spatial.stride()[:2], *out.stride()[:2]
    options = {"TURNED": turned, "PIXELS": _PIXELS, "CHANNELS": _CHANNELS, "num_warps": _WARPS}
    grid = chunks * triton.cdiv(pixels, _PIXELS), batch
    _filter_kernel[grid](x, spatial, channel.contiguous(), out, *sizes, *strides, **options)


def _filters_backward(grad: Tensor, x: Tensor, spatial: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of `spatial`, as (B, 9, H, W), and `channel`, from that of the result."""
    batch, channels, height, width = x.shape
    grad_spatial = spatial.new_empty(batch, 9, height, width)
    blocks = triton.cdiv(height * width, _PIXELS)
    programs = min(blocks, _PROGRAMS)
    sums = channel.new_zeros(batch, programs, channels, 9)
    if x.numel():
        sizes = height, width, channels, blocks, programs
        options = {"PIXELS": _PIXELS, "CHANNELS": _CHANNELS, "num_warps": _WARPS}
        _filters_kernel[programs, batch](
            grad, x, spatial, channel.contiguous(), grad_spatial, sums, *sizes, *grad.stride(), *x.stride(), **options
        )
    return grad_spatial, sums.sum(1)


@triton.jit
def _filter_kernel(
    x,
    spatial,
    channel,
    out,
    pixels,
    height,
    width,
    start,
    channels,
    chunks,
    x_b,
    x_c,
    x_y,
    x_x,
    spatial_b,
    spatial_tap,
    out_b,
    out_c,
    TURNED: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    picture = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) // chunks * PIXELS + tl.arange(0, PIXELS)
    row, column = (start + place) // width, (start + place) % width
    c = (tl.program_id(0) % chunks * CHANNELS + tl.arange(0, CHANNELS)).to(tl.int64)
    total = tl.zeros((CHANNELS, PIXELS), dtype=out.dtype.element_ty)
    for tap in tl.static_range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        if TURNED:
            down, right = -down, -right
        y, across = row + down, column + right
        reached = (place < pixels) & (y >= 0) & (y < height) & (across >= 0) & (across < width)
        source = place + down * width + right if TURNED else place
        weight = tl.load(spatial + picture * spatial_b + tap * spatial_tap + source, mask=reached, other=0.0)
        factor = tl.load(channel + (picture * channels + c) * 9 + tap, mask=c < channels, other=0.0)
        at = picture * x_b + y.to(tl.int64) * x_y + across * x_x
        known = (c < channels)[:, None] & reached[None, :]
        value = tl.load(x + c[:, None] * x_c + at[None, :], mask=known, other=0.0)
        total += value * factor[:, None] * weight[None, :]
    known = (c < channels)[:, None] & (place < pixels)[None, :]
    tl.store(out + picture * out_b + c[:, None] * out_c + place[None, :], total, mask=known)


@triton.jit
def _filters_kernel(
    grad,
    x,
    spatial,
    channel,
    grad_spatial,
    sums,
    height,
    width,
    channels,
    blocks,
    programs,
    g_b,
    g_c,
    g_y,
    g_x,
    x_b,
    x_c,
    x_y,
    x_x,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    picture = tl.program_id(1).to(tl.int64)
    mine = sums + (picture * programs + tl.program_id(0)) * channels * 9
    taps = picture * 9 * height * width
    for block in range(tl.program_id(0), blocks, programs):
        place = block * PIXELS + tl.arange(0, PIXELS)
        inside = place < height * width
        row, column = place // width, place % width
        asked_at = picture * g_b + row.to(tl.int64) * g_y + column * g_x
        for tap in tl.static_range(9):
            y, across = row + (tap // 3 - 1), column + (tap % 3 - 1)
            reached = inside & (y >= 0) & (y < height) & (across >= 0) & (across < width)
            source = picture * x_b + y.to(tl.int64) * x_y + across * x_x
            weight = tl.load(spatial + taps + tap * height * width + place, mask=reached, other=0.0)
            of_pixels = tl.zeros_like(weight)
            for first in range(0, channels, CHANNELS):
                c = (first + tl.arange(0, CHANNELS)).to(tl.int64)
                known = (c < channels)[:, None] & reached[None, :]
                product = tl.load(grad + c[:, None] * g_c + asked_at[None, :], mask=known, other=0.0)
                product *= tl.load(x + c[:, None] * x_c + source[None, :], mask=known, other=0.0)
                factor = tl.load(channel + (picture * channels + c) * 9 + tap, mask=c < channels, other=0.0)
                of_pixels += tl.sum(product * factor[:, None], axis=0)
                of_channels = tl.sum(product * weight[None, :], axis=1)
                tl.atomic_add(mine + c * 9 + tap, of_channels, mask=c < channels, sem="relaxed")
            tl.store(grad_spatial + taps + tap * height * width + place, of_pixels, mask=inside)
