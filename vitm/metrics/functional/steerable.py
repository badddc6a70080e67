"""The steerable pyramid of one isotropic band a level, with Simoncelli's "sp0" filters."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vitm.metrics.functional.filters import Array, reflected


def _octant(*rows: tuple[float, ...]) -> Array:
    """Return a filter of eightfold symmetry from its top-left octant: rows from the diagonal to the middle column."""
    n = len(rows)
    quarter = np.zeros((n, n))
    for i, row in enumerate(rows):
        quarter[i, i:] = quarter[i:, i] = row
    half = np.concatenate((quarter, quarter[-2::-1]))
    return np.concatenate((half, half[:, -2::-1]), axis=1)


HI0FILT = _octant(
    (0.00059972, -6.068e-05, -0.00033249, -0.00033256, -0.00024066),
    (0.00012631, 0.00049271, 0.00014597, -0.00037321),
    (-0.00161665, -0.01437358, -0.02420138),
    (-0.06300923, -0.09623594),
    (0.8554893,),
)
LO0FILT = _octant(
    (-0.0004514, -0.00011371, -0.00037258, -0.00374386),
    (-0.00611952, -0.0134416, -0.0075632),
    (0.06441488, 0.1524935),
    (0.3153017,),
)
BFILT = _octant(
    (-9.066e-05, -0.00173864, -0.0049425, -0.00788939, -0.01009473),
    (-0.00462515, -0.00727254, -0.00762341, -0.00909195),
    (-0.0212954, -0.02435662, -0.03487008),
    (-0.01730466, -0.03158605),
    (0.9464195,),
)
LOFILT = _octant(
    (-0.0002257, -0.00080644, -5.686e-05, 0.00087414, -0.00018628, -0.00103164, -0.00187192),
    (0.00141762, -0.00019038, -0.00244906, -0.00459642, -0.00700674, -0.0069489),
    (-0.00305976, -0.006401, -0.0067208, -0.00523618, -0.0037816),
    (-0.00526002, 0.00393862, 0.01722078, 0.024496),
    (0.03220744, 0.06306262, 0.07624674),
    (0.1116388, 0.1348999),
    (0.1576508,),
)


def decompose(x: Tensor, height: int) -> list[Tensor]:
    """Return the bands of images, from fine to coarse.

    Source: Simoncelli and Freeman, ICIP 1995; the filters' numbers are those of matlabPyrTools and pyrtools (MIT).

    Args:
        x: (N, H, W), fp32 or fp64, at least 7 pixels along each axis at every level.
        height: number of times that the size is halved (odd sizes upward).

    Returns:
        `height` + 2 bands (N, h, w): the high-pass residual and the first band in full size, one band for each smaller
        size, and the low-pass residual. Band i is scaled by 2^-i.
    """
    low, bands = reflected(x, LO0FILT), [reflected(x, HI0FILT)]
    for _ in range(height):
        bands.append(reflected(low, BFILT / 2))
        low = reflected(low, LOFILT / 2, stride=2)
    return [*bands, low / 2]
