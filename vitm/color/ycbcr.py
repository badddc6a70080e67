"""Y'CbCr, non-constant luminance, of BT.709 and BT.2020, and its integer codes.

`vitm.video` uses the same numbers on raw planes: take them from `RGB_TO_YCBCR`, `YCBCR_TO_RGB` and `code_scale`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from vitm.color.gamut import Matrix, apply_matrix
from vitm.color.precision import as_float

YCbCrMatrix = Literal["bt709", "bt2020"]

_LUMA_WEIGHTS: dict[str, tuple[float, float, float]] = {
    "bt709": (0.2126, 0.7152, 0.0722),  # BT.709-6, item 3.2
    "bt2020": (0.2627, 0.6780, 0.0593),  # BT.2020-2, table 4; BT.2100-2, table 6
    "bt601": (0.299, 0.587, 0.114),  # BT.601-7, item 2.5.1; also JPEG
    "bt470bg": (0.299, 0.587, 0.114),  # H.273, table 4, code 5: the same
    "fcc": (0.30, 0.59, 0.11),  # H.273, table 4, code 4
    "smpte240m": (0.212, 0.701, 0.087),  # H.273, table 4, code 7
}


def _forward(kr: float, kg: float, kb: float) -> Matrix:
    """Return the matrix of Y = kr R + kg G + kb B, Cb = (B - Y) / (2 - 2 kb), Cr = (R - Y) / (2 - 2 kr).

    BT.709-6, items 3.2 and 3.3; BT.2100-2, table 6.
    """
    cb, cr = 2 * (1 - kb), 2 * (1 - kr)
    return (kr, kg, kb), (-kr / cb, -kg / cb, 0.5), (0.5, -kg / cr, -kb / cr)


def _inverse(kr: float, kg: float, kb: float) -> Matrix:
    """Return the matrix of R = Y + (2 - 2 kr) Cr, B = Y + (2 - 2 kb) Cb, and G from the definition of Y."""
    cb, cr = 2 * (1 - kb), 2 * (1 - kr)
    return (1.0, 0.0, cr), (1.0, -kb * cb / kg, -kr * cr / kg), (1.0, cb, 0.0)


RGB_TO_YCBCR: dict[str, Matrix] = {name: _forward(*weights) for name, weights in _LUMA_WEIGHTS.items()}
YCBCR_TO_RGB: dict[str, Matrix] = {name: _inverse(*weights) for name, weights in _LUMA_WEIGHTS.items()}


def _matrix(table: dict[str, Matrix], name: str) -> Matrix:
    if name not in get_args(YCbCrMatrix):
        raise ValueError(f"unknown Y'CbCr matrix {name!r}: expected one of {sorted(get_args(YCbCrMatrix))}")
    return table[name]


def rgb_to_ycbcr(rgb: Tensor, matrix: YCbCrMatrix = "bt2020") -> Tensor:
    """Convert non-linear R'G'B' to Y'CbCr (BT.709-6, items 3.2-3.3; BT.2100-2, table 6, non-constant luminance).

    Args:
        rgb: (..., 3, H, W), gamma, PQ or HLG codes, nominally in [0, 1].
        matrix: "bt709" or "bt2020".

    Returns:
        The same shape: Y in [0, 1], Cb and Cr in [-0.5, 0.5] for inputs in [0, 1] (nothing is clipped).

    Raises:
        ValueError: for another matrix, or if there are not three channels.

    Example:
        >>> blue = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)
        >>> [round(x, 4) for x in rgb_to_ycbcr(blue).flatten().tolist()]
        [0.0593, 0.5, -0.0402]
    """
    return apply_matrix(rgb, _matrix(RGB_TO_YCBCR, matrix))


def ycbcr_to_rgb(ycbcr: Tensor, matrix: YCbCrMatrix = "bt2020") -> Tensor:
    """Convert Y'CbCr to non-linear R'G'B', the inverse of `rgb_to_ycbcr`.

    Args:
        ycbcr: (..., 3, H, W), Y in [0, 1], Cb and Cr in [-0.5, 0.5].
        matrix: "bt709" or "bt2020".

    Returns:
        The same shape; outside [0, 1] where the colour lies outside the R'G'B' cube (nothing is clipped).

    Raises:
        ValueError: for another matrix, or if there are not three channels.

    Example:
        >>> grey = torch.tensor([0.5, 0.0, 0.0]).view(3, 1, 1)
        >>> ycbcr_to_rgb(grey).flatten().tolist()
        [0.5, 0.5, 0.5]
    """
    return apply_matrix(ycbcr, _matrix(YCBCR_TO_RGB, matrix))


def code_scale(bits: int, full_range: bool = False) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return gain and offset of the integer codes of (Y, Cb, Cr): code = gain * value + offset.

    BT.2100-2, table 9; BT.709-6, item 4.6.

    Args:
        bits: bits a sample, 8 to 16.
        full_range: whether all codes 0 .. 2^bits - 1 are used, or television's narrow range (16-235 for Y at 8 bit).

    Raises:
        ValueError: for other bit depths.
    """
    if not 8 <= bits <= 16:
        raise ValueError(f"expected 8 to 16 bits a sample, got {bits}")
    centre = float(1 << (bits - 1))
    if full_range:
        peak = float((1 << bits) - 1)
        return (peak, peak, peak), (0.0, centre, centre)
    step = 1 << (bits - 8)
    return (219.0 * step, 224.0 * step, 224.0 * step), (16.0 * step, centre, centre)


def _planewise(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)


def _check_planes(x: Tensor) -> None:
    if x.ndim < 3 or x.shape[-3] != 3:
        raise ValueError(f"expected (..., 3, H, W), got {tuple(x.shape)}")


def quantize_ycbcr(ycbcr: Tensor, bits: int, full_range: bool = False) -> Tensor:
    """Convert Y'CbCr to integer codes, rounded half up (BT.2100-2, table 9).

    Args:
        ycbcr: (..., 3, H, W), Y in [0, 1], Cb and Cr in [-0.5, 0.5].
        bits: bits a sample, 8 to 16.
        full_range: whether codes have full instead of narrow range.

    Returns:
        Codes, int32, the same shape. Narrow-range codes are clamped to the video data range (4 to 1019 at 10 bit),
        full-range codes to 0 .. 2^bits - 1.

    Raises:
        ValueError: for other bit depths, or if there are not three channels.
        TypeError: for integer tensors.
    """
    gain, offset = code_scale(bits, full_range)
    _check_planes(ycbcr)
    x = as_float(ycbcr)
    margin = 0 if full_range else 1 << (bits - 8)
    codes = torch.floor(x * _planewise(gain, x) + _planewise(offset, x) + 0.5)
    return codes.clamp(margin, (1 << bits) - 1 - margin).to(torch.int32)


def dequantize_ycbcr(codes: Tensor, bits: int, full_range: bool = False) -> Tensor:
    """Convert integer codes to Y'CbCr, the inverse of `quantize_ycbcr`.

    Args:
        codes: (..., 3, H, W), codes of any integer or floating point type.
        bits: bits a sample, 8 to 16.
        full_range: whether codes have full instead of narrow range.

    Returns:
        The same shape, fp32 (fp64 for fp64): Y in [0, 1], Cb and Cr in [-0.5, 0.5] for codes in the nominal range.
        Codes outside it give values outside these intervals (nothing is clipped).

    Raises:
        ValueError: for other bit depths, or if there are not three channels.
    """
    gain, offset = code_scale(bits, full_range)
    _check_planes(codes)
    x = codes if codes.dtype == torch.float64 else codes.float()
    return (x - _planewise(offset, x)) / _planewise(gain, x)
