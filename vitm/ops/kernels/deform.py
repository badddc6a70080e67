"""Bilinear sampling at positions that offsets shift, for deformable convolution: one pass, forward and backward.

Plain operations write the positions of all taps as coordinates of a grid, in a layout of their own, and read them
again. Here an offset is read once: its position, four corners and four weights serve all channels of its group. What is
left is to write the samples, C times the taps, for the matrix product that follows: of 15 channels and 9 taps, 135
numbers a pixel beside 18 offsets and 15 channels, 0.65 ms for 2160 x 3840 in bf16 at 4.3 TB/s. A program has 128 pixels
of one tap for 128 threads; taps of the same pixels follow each other, so that the second cache has the image. A thread
takes 32 registers (compiled for compute capability 9.0), so that all 2,048 of a multiprocessor have theirs, and 48 in
the backward pass, for 1,280.

The product stays a kernel of its own. DSLNet's, of 15 channels in 5 groups to 64 at 2160 x 3840, moves 960 bytes of a
pixel to sample and 796 to multiply, in fp32, in which it always computes: 1.9 and 1.5 ms. One kernel for both would
move 676, in 1.3 ms. But its 143 GFLOP take 2.4 ms at the 60 TFLOP/s that fp32 has outside of tensor cores: the product
waits for no memory. Apart both take 4.2 ms; in one, the corners of 135 samples, of about 30 instructions each, keep the
same units busy for 1.0 ms more, which makes 3.4 if Triton multiplied fp32 as fast as cuBLAS does. Three products of
TF32 in place of one could save 2 ms at most, of the 190 ms that DSLNet's 11.4 TFLOP need in fp32, and 29 in TF32.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIXELS = 128  # of a program
_WARPS = 4


def sample(x: Tensor, offset: Tensor, mask: Tensor | None, size: int, padding: int, top: int) -> Tensor:
    """Sample the image of each tap of a convolution with stride 1 where offsets put it; differentiable once.

    Args:
        x: (B, C, H, W), fp32.
        offset: (B, 2*G*size*size, h, w), as `vitm.ops.deform.deform_conv2d` has it; its rows are those from `top` on.
        mask: factors (B, G*size*size, h, w), or None.
        size: height and width of the kernels.
        padding: zeros on each side of the image.
        top: number of the first row.

    Returns:
        (B, C, size*size, h, w), fp32; zeros outside the image.
    """
    out: Tensor = _Sample.apply(x, offset, mask, size, padding, top)
    return out


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, offset: Tensor, mask: Tensor | None, size: int, padding: int, top: int) -> Tensor:
        x, offset = x.contiguous(), offset.contiguous()
        mask = None if mask is None else mask.contiguous()
        out = x.new_empty(*x.shape[:2], size * size, *offset.shape[2:])
        if out.numel():
            numbers, options = _numbers(x, offset, size, padding, top)
            _forward[_grid(offset, size)](x, offset, mask, out, *numbers, HAS_MASK=mask is not None, **options)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.size, ctx.padding, ctx.top = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, offset, mask = ctx.saved_tensors
        x, offset, mask = x.contiguous(), offset.contiguous(), None if mask is None else mask.contiguous()
        grad_x, grad_offset = torch.zeros_like(x), torch.empty_like(offset)
        grad_mask = None if mask is None else torch.empty_like(mask)
        if grad.numel():
            numbers, options = _numbers(x, offset, ctx.size, ctx.padding, ctx.top)
            tensors = x, offset, mask, grad.contiguous(), grad_x, grad_offset, grad_mask
            _backward[_grid(offset, ctx.size)](*tensors, *numbers, HAS_MASK=mask is not None, **options)
        return grad_x, grad_offset, grad_mask, None, None, None


def _grid(offset: Tensor, size: int) -> tuple[int, int]:
    groups = offset.shape[1] // (2 * size * size)
    return size * size * triton.cdiv(offset.shape[2] * offset.shape[3], _PIXELS), len(offset) * groups


def _numbers(x: Tensor, offset: Tensor, size: int, padding: int, top: int) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return channels of a group, sizes of the image and the output, and places; and what is known when compiling."""
    channels = x.shape[1] // (offset.shape[1] // (2 * size * size))
    numbers = channels, *x.shape[2:], offset.shape[2] * offset.shape[3], offset.shape[3], padding, top
    return numbers, {"SIZE": size, "PIXELS": _PIXELS, "num_warps": _WARPS}


@triton.jit
def _place(offset, group, tap, pixel, inside, pixels, out_width, padding, top, SIZE: tl.constexpr):
    """Return the row and the column that a tap samples, and where its offset and its mask are."""
    at = (group * SIZE * SIZE + tap) * pixels + pixel
    down = tl.load(offset + at + (group * SIZE * SIZE + tap) * pixels, mask=inside, other=0.0)
    right = tl.load(offset + at + (group * SIZE * SIZE + tap + 1) * pixels, mask=inside, other=0.0)
    y = (pixel // out_width + top - padding + tap // SIZE).to(down.dtype) + down
    x = (pixel % out_width - padding + tap % SIZE).to(down.dtype) + right
    return y, x, at


@triton.jit
def _forward(
    x,
    offset,
    mask,
    out,
    channels,
    height,
    width,
    pixels,
    out_width,
    padding,
    top,
    SIZE: tl.constexpr,
    PIXELS: tl.constexpr,
    HAS_MASK: tl.constexpr,
):
    group = tl.program_id(1).to(tl.int64)  # of all groups of all images
    tap = tl.program_id(0) % (SIZE * SIZE)
    pixel = tl.program_id(0) // (SIZE * SIZE) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    y, across, at = _place(offset, group, tap, pixel, inside, pixels, out_width, padding, top, SIZE)
    above, before = tl.floor(y), tl.floor(across)
    part_y, part_x = y - above, across - before
    factor = tl.load(mask + at, mask=inside, other=0.0) if HAS_MASK else tl.full((PIXELS,), 1.0, dtype=part_y.dtype)
    for c in range(channels):
        plane = x + (group * channels + c) * height * width
        value = tl.zeros_like(part_y)
        for corner in tl.static_range(4):
            row, column = above + corner // 2, before + corner % 2
            weight = (part_y if corner // 2 else 1 - part_y) * (part_x if corner % 2 else 1 - part_x)
            reached = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            value += weight * tl.load(plane + row.to(tl.int32) * width + column.to(tl.int32), mask=reached, other=0.0)
        to = ((group * channels + c) * SIZE * SIZE + tap) * pixels + pixel
        tl.store(out + to, value * factor, mask=inside)


@triton.jit
def _backward(
    x,
    offset,
    mask,
    grad,
    grad_x,
    grad_offset,
    grad_mask,
    channels,
    height,
    width,
    pixels,
    out_width,
    padding,
    top,
    SIZE: tl.constexpr,
    PIXELS: tl.constexpr,
    HAS_MASK: tl.constexpr,
):
    group = tl.program_id(1).to(tl.int64)
    tap = tl.program_id(0) % (SIZE * SIZE)
    pixel = tl.program_id(0) // (SIZE * SIZE) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    y, across, at = _place(offset, group, tap, pixel, inside, pixels, out_width, padding, top, SIZE)
    above, before = tl.floor(y), tl.floor(across)
    part_y, part_x = y - above, across - before
    factor = tl.load(mask + at, mask=inside, other=0.0) if HAS_MASK else tl.full((PIXELS,), 1.0, dtype=part_y.dtype)
    slope_y, slope_x, of_mask = tl.zeros_like(part_y), tl.zeros_like(part_y), tl.zeros_like(part_y)
    for c in range(channels):
        plane = (group * channels + c) * height * width
        asked = tl.load(grad + ((group * channels + c) * SIZE * SIZE + tap) * pixels + pixel, mask=inside, other=0.0)
        for corner in tl.static_range(4):
            row, column = above + corner // 2, before + corner % 2
            of_y = part_y if corner // 2 else 1 - part_y
            of_x = part_x if corner % 2 else 1 - part_x
            reached = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = plane + row.to(tl.int32) * width + column.to(tl.int32)
            value = asked * tl.load(x + place, mask=reached, other=0.0)
            tl.atomic_add(grad_x + place, asked * factor * of_y * of_x, mask=reached)
            slope_y += (2 * (corner // 2) - 1) * value * of_x
            slope_x += (2 * (corner % 2) - 1) * value * of_y
            of_mask += value * of_y * of_x
    first = at + (group * SIZE * SIZE + tap) * pixels
    tl.store(grad_offset + first, slope_y * factor, mask=inside)
    tl.store(grad_offset + first + pixels, slope_x * factor, mask=inside)
    if HAS_MASK:
        tl.store(grad_mask + at, of_mask, mask=inside)
