"""Deformable convolution from its definition (Dai et al., 2017, equations 2 to 4; Zhu et al., 2019, equation 1)."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bilinear(image: Array, y: float, x: float) -> float:
    """Sum over the image's own pixels q of max(0, 1 - |q_y - y|) max(0, 1 - |q_x - x|) image[q] (equations 3 and 4)."""
    total = 0.0
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            total += (1 - abs(row - y)) * (1 - abs(column - x)) * image[row, column]
    return total


def deform_conv2d(
    x: Array, offset: Array, weight: Array, bias: Array, mask: Array | None = None, padding: int = 1
) -> Array:
    """One sample: x (C, H, W), offset (2*G*k*k, h, w), weight (O, C, k, k), bias (O,), mask (G*k*k, h, w)."""
    k, (_, height, width) = weight.shape[2], offset.shape
    groups = offset.shape[0] // (2 * k * k)
    out = np.zeros((len(weight), height, width))
    for y, x0, i, j, c in itertools.product(range(height), range(width), range(k), range(k), range(len(x))):
        tap = (c // (len(x) // groups)) * k * k + i * k + j
        down, right = offset[2 * tap, y, x0], offset[2 * tap + 1, y, x0]
        value = bilinear(x[c], y - padding + i + down, x0 - padding + j + right)
        out[:, y, x0] += weight[:, c, i, j] * value * (1 if mask is None else mask[tap, y, x0])
    return out + bias[:, None, None]
