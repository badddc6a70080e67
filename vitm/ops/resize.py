"""Bicubic resizing as MATLAB's `imresize` defines it, which the field's metrics were written against."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1.0
    outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


@lru_cache(maxsize=64)
def _matrix(size_in: int, size_out: int, scale: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size_out, size_in): each row holds the weights of one output sample."""
    stretch = min(scale, 1.0)  # antialiasing: the kernel widens where samples become fewer
    centre = (np.arange(size_out) + 0.5) / scale - 0.5
    taps = math.ceil(4 / stretch) + 2
    positions = np.floor(centre - 2 / stretch).astype(int)[:, None] + np.arange(taps)
    weights = _cubic((centre[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions % (2 * size_in)  # symmetric borders: the edge sample is repeated
    mirrored = np.where(mirrored < size_in, mirrored, 2 * size_in - 1 - mirrored)
    matrix = np.zeros((size_out, size_in))
    np.add.at(matrix, (np.arange(size_out)[:, None], mirrored), weights)
    return torch.from_numpy(matrix).to(device, dtype)


def resize_bicubic(x: Tensor, size: tuple[int, int] | None = None, scale: float | None = None) -> Tensor:
    """Resizes with the bicubic kernel (a = -0.5), antialiased, with symmetric borders.

    Convention: these are the rules of MATLAB's `imresize`. torch's `interpolate` and OpenCV differ at the borders, in
    the kernel (a = -0.75) or in antialiasing.

    Args:
        x: (..., H, W), any range and domain, fp32 or fp64.
        size: (height, width) of the result; its ratio to the input's is the scale along each axis.
        scale: one scale for both axes; the result is ceil(scale * size). Give this or `size`.

    Returns:
        (..., height, width) in the dtype of `x`; differentiable.

    Raises:
        ValueError: unless exactly one of `size` and `scale` is given, positive.
    """
    if (size is None) == (scale is None):
        raise ValueError("resize_bicubic needs either size or scale")
    for axis in (-2, -1):
        size_in = x.shape[axis]
        if size is not None:
            size_out, ratio = size[axis], size[axis] / size_in
        else:
            assert scale is not None
            size_out, ratio = math.ceil(scale * size_in), scale
        if size_out < 1:
            raise ValueError(f"cannot resize {tuple(x.shape)} to size {size} or by scale {scale}")
        if size_out == size_in and ratio == 1:
            continue
        # A product with a mostly empty matrix, and still the fastest form: it is one call of the BLAS library.
        matrix = _matrix(size_in, size_out, ratio, x.dtype, x.device)
        x = matrix @ x if axis == -2 else x @ matrix.T
    return x
