"""Trilinear lookup in colour tables: one pass over the picture, forward and backward.

The plain form writes where each pixel lies in the table and reads it again; here a pixel is read once and written once:
24 bytes of fp32, which is 0.05 ms for 2160 x 3840 at 4.3 TB/s. A table of 33 vertices takes 0.4 MB: it stays in the
cache of 50 MB, and its eight reads for each pixel and channel are served there, whose latency many threads must hide.
So a program has 256 pixels for 128 threads. Two pixels a thread take 32 registers (compiled for compute capability
9.0), with which a multiprocessor with its 65,536 has its 2,048 threads; eight would take 168, and leave 384. The
backward pass takes 71, for 896 threads. Nothing depends on the size of the picture, so there is nothing to tune.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIXELS = 256  # of a program
_WARPS = 4


def look_up(rgb: Tensor, table: Tensor) -> Tensor:
    """Look colours up in tables, as `vitm.ops.color_table.apply_color_table`; differentiable once.

    Args:
        rgb: (B, 3, H, W), R, G and B in [0, 1], of any strides; values outside are clamped, and get no gradient.
        table: (B, C, N, N, N) or (1, C, N, N, N).

    Returns:
        (B, C, H, W), in the type of `table`.
    """
    out: Tensor = _LookUp.apply(rgb.to(table.dtype), table)
    return out


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(rgb: Tensor, table: Tensor) -> Tensor:
        table = table.contiguous()
        out = table.new_empty(len(rgb), table.shape[1], *rgb.shape[2:])
        if out.numel():
            _forward[_grid(rgb)](rgb, table, out, *_numbers(rgb, table), PIXELS=_PIXELS, num_warps=_WARPS)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rgb, table = ctx.saved_tensors
        needs_rgb, needs_table = ctx.needs_input_grad
        grad, table = grad.contiguous(), table.contiguous()
        grad_rgb = torch.zeros(rgb.shape, dtype=rgb.dtype, device=rgb.device)
        grad_table = torch.zeros_like(table)
        if grad.numel():
            numbers = _numbers(rgb, table)
            needs = {"NEEDS_RGB": needs_rgb, "NEEDS_TABLE": needs_table}
            _backward[_grid(rgb)](
                rgb, table, grad, grad_rgb, grad_table, *numbers, PIXELS=_PIXELS, num_warps=_WARPS, **needs
            )
        return grad_rgb if needs_rgb else None, grad_table if needs_table else None


def _grid(rgb: Tensor) -> tuple[int, int]:
    return triton.cdiv(rgb.shape[2] * rgb.shape[3], _PIXELS), len(rgb)


def _numbers(rgb: Tensor, table: Tensor) -> tuple[int, ...]:
    """Return number of pixels, width, strides of the picture, stride from table to table, their channels and sizes."""
    between = table.stride(0) if len(table) > 1 else 0
    return (rgb.shape[2] * rgb.shape[3], rgb.shape[3], *rgb.stride(), between, table.shape[1], table.shape[-1])


@triton.jit
def _cell(v, size):
    """Return the vertex below a value along one axis, and the distance to it in cells."""
    at = tl.minimum(tl.maximum(v, 0.0), 1.0) * (size - 1)
    below = tl.minimum(at.to(tl.int32), size - 2)
    return below, at - below


@triton.jit
def _forward(
    rgb,
    table,
    out,
    pixels,
    width,
    stride_b,
    stride_c,
    stride_y,
    stride_x,
    between,
    channels,
    size,
    PIXELS: tl.constexpr,
):
    picture = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    here = rgb + picture * stride_b + (pixel // width).to(tl.int64) * stride_y + (pixel % width) * stride_x
    r, part_r = _cell(tl.load(here, mask=inside, other=0.0), size)
    g, part_g = _cell(tl.load(here + stride_c, mask=inside, other=0.0), size)
    b, part_b = _cell(tl.load(here + 2 * stride_c, mask=inside, other=0.0), size)
    vertex = table + picture * between + (b * size + g) * size + r
    for c in range(channels):
        value = tl.zeros_like(part_r)
        for corner in tl.static_range(8):
            r1 = corner % 2
            g1 = corner // 2 % 2
            b1 = corner // 4
            weight = part_r if r1 else 1 - part_r
            weight *= part_g if g1 else 1 - part_g
            weight *= part_b if b1 else 1 - part_b
            place = ((c * size + b1) * size + g1) * size + r1
            value += weight * tl.load(vertex + place, mask=inside, other=0.0)
        tl.store(out + (picture * channels + c) * pixels + pixel, value, mask=inside)


@triton.jit
def _backward(
    rgb,
    table,
    grad,
    grad_rgb,
    grad_table,
    pixels,
    width,
    stride_b,
    stride_c,
    stride_y,
    stride_x,
    between,
    channels,
    size,
    NEEDS_RGB: tl.constexpr,
    NEEDS_TABLE: tl.constexpr,
    PIXELS: tl.constexpr,
):
    picture = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    here = rgb + picture * stride_b + (pixel // width).to(tl.int64) * stride_y + (pixel % width) * stride_x
    red = tl.load(here, mask=inside, other=0.0)
    green = tl.load(here + stride_c, mask=inside, other=0.0)
    blue = tl.load(here + 2 * stride_c, mask=inside, other=0.0)
    r, part_r = _cell(red, size)
    g, part_g = _cell(green, size)
    b, part_b = _cell(blue, size)
    place = picture * between + (b * size + g) * size + r
    slope_r, slope_g, slope_b = tl.zeros_like(red), tl.zeros_like(red), tl.zeros_like(red)
    for c in range(channels):
        asked = tl.load(grad + (picture * channels + c) * pixels + pixel, mask=inside, other=0.0)
        for corner in tl.static_range(8):
            r1 = corner % 2
            g1 = corner // 2 % 2
            b1 = corner // 4
            of_r = part_r if r1 else 1 - part_r
            of_g = part_g if g1 else 1 - part_g
            of_b = part_b if b1 else 1 - part_b
            vertex = place + ((c * size + b1) * size + g1) * size + r1
            if NEEDS_TABLE:
                tl.atomic_add(grad_table + vertex, asked * of_r * of_g * of_b, mask=inside)
            if NEEDS_RGB:
                value = asked * tl.load(table + vertex, mask=inside, other=0.0)
                slope_r += (2 * r1 - 1) * value * of_g * of_b
                slope_g += (2 * g1 - 1) * value * of_r * of_b
                slope_b += (2 * b1 - 1) * value * of_r * of_g
    if NEEDS_RGB:
        target = grad_rgb + picture * 3 * pixels + pixel
        scale = size - 1.0
        tl.store(target, tl.where((red > 0) & (red < 1), slope_r * scale, 0.0), mask=inside)
        tl.store(target + pixels, tl.where((green > 0) & (green < 1), slope_g * scale, 0.0), mask=inside)
        tl.store(target + 2 * pixels, tl.where((blue > 0) & (blue < 1), slope_b * scale, 0.0), mask=inside)
