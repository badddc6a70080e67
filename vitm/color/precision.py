"""Precision of this room: every function first checks its tensor and leaves half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def as_float(x: Tensor) -> Tensor:
    """Convert half precision to fp32; leave fp32 and fp64 as they are.

    Raises:
        TypeError: for integer tensors, whose scale (8, 10 or 16 bit) is not known here.
    """
    if not x.is_floating_point():
        raise TypeError(f"expected a floating point tensor, got {x.dtype}: divide the codes by their peak first")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def rgb_planes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three planes (..., 1, H, W) of an image tensor (..., 3, H, W), at least fp32.

    Raises:
        ValueError: if the tensor has not three channels at dimension -3.
        TypeError: for integer tensors.
    """
    if x.ndim < 3 or x.shape[-3] != 3:
        raise ValueError(f"expected (..., 3, H, W), got {tuple(x.shape)}")
    x = as_float(x)
    return x[..., 0:1, :, :], x[..., 1:2, :, :], x[..., 2:3, :, :]
