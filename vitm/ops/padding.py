"""Padding of frames of any size for networks that halve them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad at the bottom and on the right until height and width are multiples of a number.

    Args:
        x: (B, C, H, W).
        multiple: divisor of the height and the width of the result.

    Returns:
        (B, C, H', W'): reflected at the last row and column, or repeated where the frame is too small to be reflected.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.zeros(1, 3, 9, 16), 8).shape
        torch.Size([1, 3, 16, 16])
    """
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not (bottom or right):
        return x
    reflects = bottom < x.shape[-2] and right < x.shape[-1]
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if reflects else "replicate")
