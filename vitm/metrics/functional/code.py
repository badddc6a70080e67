"""What every metric asks of its input, and the rounding to stored codes."""

from __future__ import annotations

import torch
from torch import Tensor


def as_codes(x: Tensor, name: str, keep_dtype: bool = False) -> Tensor:
    """Return PQ codes in fp64; with `keep_dtype` in the given precision, for metrics that fp32 is exact enough for.

    Raises:
        TypeError: for integers, whose scale is unknown, and for half precision, which cannot hold 16-bit codes.
        ValueError: unless the shape is (B, 3, H, W) or (B, T, 3, H, W).
    """
    if not x.is_floating_point():
        raise TypeError(f"{name} is {x.dtype}: expected PQ codes in [0, 1]; divide 16-bit codes by 65535")
    if x.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(f"{name} is {x.dtype}, which cannot hold 16-bit PQ codes: let the network's output be fp32")
    if x.ndim not in (4, 5) or x.shape[-3] != 3:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected (B, 3, H, W) or (B, T, 3, H, W)")
    return x if keep_dtype else x.double()


def code_pair(pred: Tensor, target: Tensor, keep_dtype: bool = False) -> tuple[Tensor, Tensor]:
    """Return a prediction and its target as codes of one shape, in fp64 unless `keep_dtype`.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ, or are neither (B, 3, H, W) nor (B, T, 3, H, W).
    """
    if pred.shape != target.shape:
        raise ValueError(f"pred has shape {tuple(pred.shape)}, target {tuple(target.shape)}: expected the same")
    return as_codes(pred, "pred", keep_dtype), as_codes(target, "target", keep_dtype)


def clip_pair(pred: Tensor, target: Tensor, name: str, least: int = 2) -> tuple[Tensor, Tensor]:
    """Return a prediction and its target as codes in fp64, if they are clips of at least `least` frames.

    Args:
        pred: prediction.
        target: truth.
        name: name of the metric, for the error.
        least: number of frames that the metric needs.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not (B, T, 3, H, W), and for fewer frames.
    """
    pred, target = code_pair(pred, target)
    check_clips(pred, name, least)
    return pred, target


def check_clips(video: Tensor, name: str, least: int = 2) -> None:
    """Raise a ValueError unless `video` is (B, T, 3, H, W) with at least `least` frames."""
    if video.ndim != 5 or video.shape[1] < least:
        frames = "frame" if least == 1 else "frames"
        raise ValueError(f"{name} needs clips (B, T, 3, H, W) of at least {least} {frames}, got {tuple(video.shape)}")


def quantize_16bit(code: Tensor) -> Tensor:
    """Return codes as a 16-bit file would hold them: clipped to [0, 1] and rounded to k / 65535.

    Args:
        code: (B, 3, H, W) or (B, T, 3, H, W), PQ codes, fp32 or fp64.

    Returns:
        The same shape in fp64 (fp32 does not hold k / 65535 exactly); the gradient is 0.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes.

    Example:
        >>> import torch
        >>> (quantize_16bit(torch.full((1, 3, 1, 1), 0.5)) * 65535).flatten().tolist()
        [32768.0, 32768.0, 32768.0]
    """
    return as_codes(code, "code").clamp(0.0, 1.0).mul_(65535).round_().div_(65535)
