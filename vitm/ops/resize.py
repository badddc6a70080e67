"""Resizing: bicubic as MATLAB's `imresize` defines it, which the field's metrics were written against; by area."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color.precision import as_float

_ROWS = 64  # samples a block: few enough that the blocks of the banded matrix hold little but weights


def _cubic(x: np.ndarray) -> np.ndarray:
    """Evaluate Keys' kernel with a = -0.5."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _blocks(size_in: int, size_out: int, scale: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield for every `_ROWS` output samples the input samples that they need, and the weights (output, input)."""
    stretch = min(scale, 1.0)  # antialiasing: the kernel widens where samples become fewer
    centre = (np.arange(size_out) + 0.5) / scale - 0.5
    taps = math.ceil(4 / stretch) + 2
    positions = np.floor(centre - 2 / stretch).astype(int)[:, None] + np.arange(taps)
    weights = _cubic((centre[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions % (2 * size_in)  # symmetric borders: the edge sample is repeated
    mirrored = np.where(mirrored < size_in, mirrored, 2 * size_in - 1 - mirrored)
    for start in range(0, size_out, _ROWS):
        needed, factors = mirrored[start : start + _ROWS], weights[start : start + _ROWS]
        low, high = int(needed.min()), int(needed.max()) + 1
        matrix = np.zeros((len(needed), high - low))
        np.add.at(matrix, (np.arange(len(needed))[:, None], needed - low), factors)
        yield slice(low, high), matrix


@lru_cache(maxsize=16)
def _matrices(size_in: int, size_out: int, scale: float, device: torch.device) -> tuple[tuple[slice, Tensor], ...]:
    """Return the blocks on a device, copied there once: each copy would wait for all work of the device."""
    with torch.inference_mode(False):  # what is cached must serve graphs later
        return tuple((needed, torch.from_numpy(m).to(device)) for needed, m in _blocks(size_in, size_out, scale))


def resize_bicubic(x: Tensor, size: tuple[int, int] | None = None, scale: float | None = None) -> Tensor:
    """Resize with the bicubic kernel (a = -0.5), antialiased, with symmetric borders.

    Convention: these are the rules of MATLAB's `imresize`. torch's `interpolate` and OpenCV differ at the borders, in
    the kernel (a = -0.75) or in antialiasing. The sums are in fp64, which neither autocast nor TF32 rounds; an exporter
    gets fp32, since TensorRT has no fp64.

    Args:
        x: (..., H, W), any range and domain; half precision is returned in fp32.
        size: (height, width) of the result; its ratio to the input's is the scale along each axis.
        scale: one scale for both axes; the result is ceil(scale * size). Give this or `size`.

    Returns:
        (..., height, width) in fp32, or in fp64 where the input is; differentiable.

    Raises:
        TypeError: for integers.
        ValueError: unless exactly one of `size` and `scale` is given, positive, and `x` has two dimensions with pixels.

    Example:
        >>> resize_bicubic(torch.rand(3, 135, 240), scale=0.25).shape
        torch.Size([3, 34, 60])
    """
    if (size is None) == (scale is None):
        raise ValueError(f"resize_bicubic needs either size or scale, got size {size} and scale {scale}")
    if (scale is not None and not scale > 0) or (size is not None and min(size) < 1):
        raise ValueError(f"cannot resize to size {size} or by scale {scale}: expected positive numbers")
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"cannot resize {tuple(x.shape)}: expected (..., H, W) with at least one pixel")
    x = as_float(x)
    y = x if torch.compiler.is_exporting() else x.double()
    for axis in (-2, -1):
        size_in = x.shape[axis]
        if size is not None:
            size_out, ratio = size[axis], size[axis] / size_in
        elif scale is not None:
            size_out, ratio = math.ceil(scale * size_in), scale
        if ratio == 1:
            continue
        if torch.compiler.is_compiling():  # which would unroll the blocks, and keep their sizes
            matrix = _any_matrix(size_in, size_out, ratio, y)
            y = matrix @ y if axis == -2 else y @ matrix.mT
            continue
        parts = [
            matrix @ y[..., needed, :] if axis == -2 else y[..., needed] @ matrix.T
            for needed, matrix in _matrices(size_in, size_out, ratio, y.device)
        ]
        y = torch.cat(parts, dim=axis)
    return y.to(x.dtype)


def _any_matrix(size_in: int, size_out: int, scale: float, like: Tensor) -> Tensor:
    """Return what `_blocks` yields in one piece (size_out, size_in), for a compiler, to which sizes are symbols."""
    stretch = min(scale, 1.0)
    centre = (torch.arange(size_out, dtype=like.dtype, device=like.device) + 0.5) / scale - 0.5
    first = (centre - 2 / stretch).floor().long()
    positions = first[:, None] + torch.arange(math.ceil(4 / stretch) + 2, device=like.device)
    x = ((centre[:, None] - positions) * stretch).abs()
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))
    weights = weights / weights.sum(1, keepdim=True)
    mirrored = positions % torch.full((), 2 * size_in, device=like.device)
    mirrored = torch.minimum(mirrored, 2 * size_in - 1 - mirrored)
    return like.new_zeros(size_out, size_in).scatter_add_(1, mirrored, weights)


def resize_area(x: Tensor, size: tuple[int, int], bounds: Tensor | None = None) -> Tensor:
    """Resize by the mean of the pixels that an area of the result touches, as `F.interpolate(mode="area")` does.

    An exporter gets matrix products, since its formats know such areas only for sizes that divide. Parts of pictures
    are resized by them, too: so the host need not know which.

    Args:
        x: (B, C, H, W).
        size: height and width of the result.
        bounds: (B, 4), the part of each picture that is resized: first row, row after the last, first column, column
            after the last. Default: all of it.

    Returns:
        (B, C, height, width); differentiable.

    Example:
        >>> resize_area(torch.arange(4.0).view(1, 1, 1, 4), (1, 2)).flatten().tolist()
        [0.5, 2.5]
    """
    if bounds is None and not torch.compiler.is_exporting():
        return F.interpolate(x, size=size, mode="area")
    if bounds is None:
        bounds = torch.tensor([[0, x.shape[2], 0, x.shape[3]]], device=x.device)
    rows, columns = (
        _area_means(n, m, part, x) for n, m, part in zip(size, x.shape[2:], bounds.chunk(2, 1), strict=True)
    )
    return rows @ x @ columns.mT


def _area_means(size_out: int, size_in: int, bounds: Tensor, like: Tensor) -> Tensor:
    """Return the weights (B, 1, size_out, size_in) of means along an axis, from `bounds` (B, 2) of each picture."""
    area, sample = (torch.arange(n, device=like.device) for n in (size_out, size_in))
    start, length = bounds[:, :1], bounds.diff(dim=1)
    first, after = start + area * length // size_out, start + ((area + 1) * length + size_out - 1) // size_out
    touched = ((sample >= first[..., None]) & (sample < after[..., None])).to(like.dtype)
    return (touched / touched.sum(2, keepdim=True)).unsqueeze(1)
