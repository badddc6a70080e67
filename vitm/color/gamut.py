"""Primaries: BT.709 <-> BT.2020 in linear light, and luminance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vitm.color.precision import rgb_planes

Primaries = Literal["bt709", "bt2020"]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

_WHITE_D65 = (0.3127, 0.3290)
_CHROMATICITIES: dict[str, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),  # BT.709-6, item 1.3
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020-2, table 3
    "bt470bg": ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),  # BT.601-7, item 1.5.1, 625 lines
    "bt601": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # BT.601-7, item 1.5.1, 525 lines
    "smpte240m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # H.273, table 2, code 7
    "p3-d65": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # SMPTE EG 432-1; also Display P3
}
D65_PRIMARIES = tuple(_CHROMATICITIES)
_LUMINANCE: dict[str, tuple[float, float, float]] = {
    "bt709": (0.2126, 0.7152, 0.0722),  # BT.709-6, item 3.2
    "bt2020": (0.2627, 0.6780, 0.0593),  # BT.2020-2, table 4; BT.2100-2, table 5
}


def _rgb_to_xyz(primaries: str) -> Tensor:
    """Return the normalised primary matrix (SMPTE RP 177), whose RGB = 1 is the white point with Y = 1."""
    xy = torch.tensor((*_CHROMATICITIES[primaries], _WHITE_D65), dtype=torch.float64)
    xyz = torch.stack((xy[:, 0] / xy[:, 1], torch.ones(4, dtype=torch.float64), (1 - xy.sum(1)) / xy[:, 1]))
    matrix: Tensor = xyz[:, :3] * torch.linalg.solve(xyz[:, :3], xyz[:, 3])
    return matrix


def primaries_conversion(source: str, target: str) -> Matrix:
    """Return the matrix from linear RGB of some primaries to that of others, all of white D65.

    Args:
        source: a name in `D65_PRIMARIES`.
        target: another one.

    Example:
        >>> [[round(value, 3) for value in row] for row in primaries_conversion("bt709", "bt709")]
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    rows = torch.linalg.solve(_rgb_to_xyz(target), _rgb_to_xyz(source)).tolist()
    return tuple(tuple(row) for row in rows)  # type: ignore[return-value]


BT709_TO_BT2020 = primaries_conversion("bt709", "bt2020")
BT2020_TO_BT709 = primaries_conversion("bt2020", "bt709")


def apply_matrix(x: Tensor, matrix: Matrix) -> Tensor:
    """Apply a 3x3 matrix to the channels of (..., 3, H, W).

    Written as sums, not as a matrix product: autocast and TF32 would round a product to 8 or 11 bits.
    """
    a, b, c = rgb_planes(x)
    return torch.cat([row[0] * a + row[1] * b + row[2] * c for row in matrix], dim=-3)


def bt709_to_bt2020(rgb_linear: Tensor) -> Tensor:
    """Convert linear BT.709 to linear BT.2020 (BT.2087-0, annex 2, M2; digits derived from the primaries).

    Args:
        rgb_linear: (..., 3, H, W), linear light of any scale.

    Returns:
        The same shape; never negative where the input is not.

    Example:
        >>> import torch
        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        >>> [round(value, 3) for value in bt709_to_bt2020(red).flatten().tolist()]
        [0.627, 0.069, 0.016]
    """
    return apply_matrix(rgb_linear, BT709_TO_BT2020)


def bt2020_to_bt709(rgb_linear: Tensor) -> Tensor:
    """Convert linear BT.2020 to linear BT.709, the inverse of `bt709_to_bt2020`.

    Args:
        rgb_linear: (..., 3, H, W), linear light of any scale.

    Returns:
        The same shape; negative where the colour lies outside BT.709 (nothing is clipped here).

    Example:
        >>> import torch
        >>> white = torch.full((3, 1, 1), 100.0)
        >>> bt2020_to_bt709(white).flatten().round().tolist()
        [100.0, 100.0, 100.0]
    """
    return apply_matrix(rgb_linear, BT2020_TO_BT709)


def luminance(rgb_linear: Tensor, primaries: Primaries = "bt2020") -> Tensor:
    """Return the luminance of linear RGB, with the weights that the standards print.

    Args:
        rgb_linear: (..., 3, H, W), linear light of any scale.
        primaries: "bt709" (0.2126, 0.7152, 0.0722) or "bt2020" (0.2627, 0.6780, 0.0593).

    Returns:
        (..., 1, H, W) on the scale of the input.

    Raises:
        ValueError: for other primaries, or if there are not three channels.

    Example:
        >>> import torch
        >>> green = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
        >>> round(luminance(green).item(), 4), round(luminance(green, "bt709").item(), 4)
        (0.678, 0.7152)
    """
    if primaries not in _LUMINANCE:
        raise ValueError(f"unknown primaries {primaries!r}: expected one of {sorted(_LUMINANCE)}")
    r, g, b = rgb_planes(rgb_linear)
    weights = _LUMINANCE[primaries]
    return weights[0] * r + weights[1] * g + weights[2] * b
