"""NumPy oracle of vitm.ops.resize: one output sample after the other, from the definition of MATLAB's `imresize`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cubic(distance: float) -> float:
    """Keys 1981, eq. 4, with a = -1/2."""
    a, t = -0.5, abs(distance)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    if t < 2:
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return 0.0


def reflect(index: int, size: int) -> int:
    """... 2 1 0 | 0 1 2 ... size-1 | size-1 size-2 ..."""
    while not 0 <= index < size:
        index = -1 - index if index < 0 else 2 * size - 1 - index
    return index


def resize_line(line: Array, size: int, scale: float) -> Array:
    """One row or column to `size` samples. Samples sit at pixel centres; the kernel is 1/scale times wider below 1."""
    widening = max(1.0, 1 / scale)
    result = np.zeros(size)
    for i in range(size):
        centre = (i + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for j in range(math.floor(centre - 2 * widening) - 1, math.ceil(centre + 2 * widening) + 2):
            weight = cubic((centre - j) / widening)
            total += weight * line[reflect(j, len(line))]
            weight_sum += weight
        result[i] = total / weight_sum
    return result


def imresize(image: Array, size: tuple[int, int] | None = None, scale: float | None = None) -> Array:
    """(H, W) to a size, whose ratios are the scales, or by a scale, to ceil(scale * size)."""
    for axis in (0, 1):
        n = image.shape[axis]
        if scale is not None:
            target, ratio = math.ceil(n * scale), scale
        else:
            assert size is not None
            target, ratio = size[axis], size[axis] / n
        image = np.apply_along_axis(resize_line, axis, image, target, ratio)
    return image
