"""Convert raw planes to R'G'B' and back, in float32.

FFmpeg's swscale is wrong by up to 4 ten-bit codes, and by 113 in untagged frames. So PyAV only gives and takes raw
planes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vitm.color.ycbcr import RGB_TO_YCBCR, YCBCR_TO_RGB, code_scale, rgb_to_ycbcr
from vitm.video.errors import VideoDecodeError

Codes = npt.NDArray[Any]  # uint8 or uint16
Float = npt.NDArray[np.float32]

SUPPORTED = (
    "yuv420p, yuv422p, yuv440p, yuv444p (8, 10, 12, 16 bit), yuva, yuvj, nv12, p010le, gray and gbrp (8 to 16 bit), "
    "packed RGB (8, 16 bit), ya"
)

_BAND = 2**21  # pixels that are converted at once: what is between codes and R'G'B' needs no memory of large frames

# Place of the first chroma sample from the first luma sample on, in luma pixels (x, y); H.273, figure 1
_SITING = {
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "topleft": (0.0, 0.0),
    "top": (0.5, 0.0),
}


@dataclass(frozen=True)
class PixelLayout:
    """How the samples of one of FFmpeg's pixel formats lie in memory.

    Attributes:
        bits: bits a sample.
        chroma: "4:2:0", "4:2:2", "4:4:0", "4:4:4", "rgb" or "grey".
        packing: "planar", "semiplanar" (Cb and Cr interleaved), or the order of packed channels ("bgr0", "ya").
        shift: unused low bits of each sample.
        always_full: the format's name says full range.
        alpha: whether there is an alpha channel, which is not read.
    """

    bits: int
    chroma: str
    packing: str = "planar"
    shift: int = 0
    always_full: bool = False
    alpha: bool = False

    @property
    def is_packed(self) -> bool:
        """Return whether the channels of a pixel lie side by side."""
        return self.packing not in ("planar", "semiplanar")

    @property
    def is_rgb(self) -> bool:
        """Return whether there are R'G'B' or grey codes, which no matrix mixes."""
        return self.chroma in ("rgb", "grey")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def subsampling(self) -> tuple[int, int]:
        """Return luma samples for one chroma sample, (across, down)."""
        return {"4:2:0": (2, 2), "4:2:2": (2, 1), "4:4:0": (1, 2)}.get(self.chroma, (1, 1))


_PACKED = {
    "nv12": PixelLayout(8, "4:2:0", "semiplanar"),
    "p010le": PixelLayout(10, "4:2:0", "semiplanar", shift=6),
    **{f"{order}24": PixelLayout(8, "rgb", order) for order in ("rgb", "bgr")},
    **{order: PixelLayout(8, "rgb", order) for order in ("rgb0", "bgr0", "0rgb", "0bgr")},
    **{order: PixelLayout(8, "rgb", order, alpha=True) for order in ("rgba", "bgra", "argb", "abgr")},
    **{f"{order}48le": PixelLayout(16, "rgb", order) for order in ("rgb", "bgr")},
    **{f"{order}64le": PixelLayout(16, "rgb", order, alpha=True) for order in ("rgba", "bgra")},
    "ya8": PixelLayout(8, "grey", "ya", alpha=True),
    "ya16le": PixelLayout(16, "grey", "ya", alpha=True),
}


def pixel_layout(name: str) -> PixelLayout:
    """Return the layout of a pixel format.

    Raises:
        VideoDecodeError: for a format that is not supported.
    """
    if name in _PACKED:
        return _PACKED[name]
    if m := re.fullmatch(r"yuv([ja]?)4(20|22|40|44)p(?:(10|12|16)le)?", name):
        return PixelLayout(int(m[3] or 8), f"4:{m[2][0]}:{m[2][1]}", always_full=m[1] == "j", alpha=m[1] == "a")
    if m := re.fullmatch(r"gbr(a?)p(?:(10|12|14|16)le)?", name):
        return PixelLayout(int(m[2] or 8), "rgb", alpha=bool(m[1]))
    if m := re.fullmatch(r"gray(?:(10|12|14|16)le)?", name):
        return PixelLayout(int(m[1] or 8), "grey")
    raise VideoDecodeError(f"pixel format {name!r} is not supported (supported: {SUPPORTED})")


def frame_planes(frame: av.VideoFrame) -> tuple[Codes, Codes, Codes]:
    """Return the codes of a decoded frame, exactly as stored: (Y, Cb, Cr), (R, G, B), or three times grey.

    Returns:
        Three arrays of uint8 or uint16; they are views of the frame's memory where the layout allows.

    Raises:
        VideoDecodeError: for a pixel format that is not supported.
    """
    layout = pixel_layout(frame.format.name)
    planes: list[Codes] = []
    for plane, height in zip(frame.planes, _plane_heights(frame, layout), strict=not layout.alpha):
        rows = np.frombuffer(plane, layout.dtype).reshape(-1, plane.line_size // layout.dtype.itemsize)
        planes.append(rows[:height] >> layout.shift if layout.shift else rows[:height])
    width = frame.width
    if layout.is_packed:
        order = layout.packing
        packed = planes[0][:, : len(order) * width].reshape(frame.height, width, len(order))
        a, b, c = (packed[..., order.index(name)] for name in ("rgb" if layout.chroma == "rgb" else "yyy"))
        return a, b, c
    if layout.chroma == "grey":
        grey = planes[0][:, :width]
        return grey, grey, grey
    chroma_width = -(-width // layout.subsampling[0])
    if layout.packing == "semiplanar":
        pairs = planes[1][:, : 2 * chroma_width]
        return planes[0][:, :width], pairs[:, 0::2], pairs[:, 1::2]
    y, cb, cr = planes[0][:, :width], planes[1][:, :chroma_width], planes[2][:, :chroma_width]
    return (cr, y, cb) if layout.chroma == "rgb" else (y, cb, cr)  # gbrp: G, B, R


def _plane_heights(frame: av.VideoFrame, layout: PixelLayout) -> tuple[int, ...]:
    if layout.is_packed or layout.chroma == "grey":
        return (frame.height,)
    chroma = -(-frame.height // layout.subsampling[1])
    return (frame.height, chroma) if layout.packing == "semiplanar" else (frame.height, chroma, chroma)


def upsample_chroma(
    plane: Float, size: tuple[int, int], subsampling: tuple[int, int], location: str, first_row: int = 0
) -> Float:
    """Interpolate a chroma plane bilinearly at the places of the luma samples; edges are repeated.

    Args:
        plane: (h, w).
        size: (width, height) of the result.
        subsampling: luma samples for one chroma sample, (across, down).
        location: place of the chroma samples: "left", "topleft", "center", ...
        first_row: row of the luma plane at which the result begins.
    """
    (sx, sy), (px, py) = subsampling, _SITING[location]
    px, py = px * (sx > 1), py * (sy > 1)
    # chroma position of luma x: (x - px) / sx; warpAffine takes just this inverse map, and 1/4 steps are exact in it
    inverse = np.array([[1 / sx, 0, -px / sx], [0, 1 / sy, (first_row - py) / sy]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    full: Float = cv2.warpAffine(plane, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return full


def planes_to_rgb(
    planes: tuple[Codes, Codes, Codes], layout: PixelLayout, matrix: str, full_range: bool, location: str | None
) -> Float:
    """Convert codes to non-linear R'G'B'.

    Args:
        planes: planes from `frame_planes`.
        layout: layout of the frame's pixel format.
        matrix: name of the matrix in `vitm.color.ycbcr.YCBCR_TO_RGB`, or "rgb".
        full_range: whether the codes are full range.
        location: place of subsampled chroma; None for "left".

    Returns:
        (H, W, 3), float32, nominally in [0, 1]. Nothing is clipped: footroom, headroom, and Y'CbCr outside the R'G'B'
        cube, give values slightly outside.
    """
    gain, offset = code_scale(layout.bits, full_range)
    rgb: Float
    if layout.is_rgb:
        scale, zero = np.float32(1 / gain[0]), np.float32(offset[0])  # R, G, B are coded as Y is (BT.2100-2, table 9)
        rgb = (cv2.merge([p.astype(np.float32) for p in planes]) - zero) * scale
        return rgb
    linear = np.array(YCBCR_TO_RGB[matrix]) / np.array(gain)
    affine = np.column_stack([linear, -linear @ np.array(offset)])
    y, cb, cr = planes
    height, width = y.shape
    subsampled = layout.subsampling != (1, 1)
    if subsampled:
        cb, cr = cb.astype(np.float32), cr.astype(np.float32)
    rgb = np.empty((height, width, 3), np.float32)
    rows = max(1, _BAND // width // 16) * 16  # OpenCV takes up to 16 pixels at a time
    for start in range(0, height, rows):
        end = min(height, start + rows + 1)  # and rounds the end of a call otherwise: the next band writes it once more
        if subsampled:
            size = (width, end - start)
            chroma = [upsample_chroma(c, size, layout.subsampling, location or "left", start) for c in (cb, cr)]
        else:
            chroma = [c[start:end].astype(np.float32) for c in (cb, cr)]
        cv2.transform(cv2.merge([y[start:end].astype(np.float32), *chroma]), affine, dst=rgb[start:end])
    return rgb


def rgb_to_planes(rgb: Float, chroma: Literal["4:2:0", "4:2:2"] = "4:2:0") -> tuple[Codes, Codes, Codes]:
    """Convert R'G'B' (PQ or HLG) to BT.2020 non-constant luminance, 10-bit narrow range, chroma sited top-left.

    The chroma is filtered by [1 2 1] / 4 about the places of its samples, across, and in 4:2:0 down as well; codes are
    rounded half up.

    Args:
        rgb: (H, W, 3), W even, in 4:2:0 H as well; at least 0, and at most 1 (PQ) or 1.09 (HLG).
        chroma: subsampling of the chroma.

    Returns:
        Y (H, W), Cb and Cr (H or H / 2, W / 2), uint16, nominally 64-940 and 64-960 (BT.2100-2, tables 6 and 9).
    """
    gain, offset = (np.array(v) for v in code_scale(10, full_range=False))
    forward = np.array(RGB_TO_YCBCR["bt2020"]) * gain[:, None]
    # + 0.5: conversion to integers cuts off, so this rounds half up
    ycbcr = cv2.transform(rgb, np.column_stack([forward, offset + 0.5]))
    across = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    down, step = (across, 2) if chroma == "4:2:0" else (np.ones(1, np.float32), 1)
    filtered = cv2.sepFilter2D(ycbcr, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE)[::step, ::2]
    y, cb, cr = (c.astype(np.uint16) for c in (ycbcr[..., 0], filtered[..., 1], filtered[..., 2]))
    return y, cb, cr


def tensor_to_planes(
    rgb: Tensor, chroma: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"
) -> tuple[Tensor, Tensor, Tensor]:
    """Convert R'G'B' as `rgb_to_planes` does, on the device of the tensor, which the host does not wait for.

    Sums come in another order, so that a code may be another one where the exact value is half-way between two.

    Args:
        rgb: (3, H, W), as for `rgb_to_planes`.
        chroma: subsampling of the chroma; "4:4:4" for none.

    Returns:
        Y (H, W), Cb and Cr (H or H / 2, W or W / 2), uint16.

    Example:
        >>> y, cb, _ = tensor_to_planes(torch.ones(3, 2, 4))
        >>> y[0].tolist(), cb.tolist()
        ([940, 940, 940, 940], [[512, 512]])
    """
    gain, offset = code_scale(10, full_range=False)
    ycbcr = rgb_to_ycbcr(rgb, "bt2020")
    y, cbcr = ycbcr[0], ycbcr[1:]
    if chroma != "4:4:4":
        cbcr = _every_second(cbcr, 2)
    if chroma == "4:2:0":
        cbcr = _every_second(cbcr, 1)
    # + 0.5: conversion to integers cuts off, so this rounds half up
    y, cb, cr = ((plane * g + (o + 0.5)).to(torch.uint16) for plane, g, o in zip((y, *cbcr), gain, offset, strict=True))
    return y, cb, cr


def _every_second(x: Tensor, dim: int) -> Tensor:
    """Return every second sample along a dimension, filtered by [1 2 1] / 4; the first one is repeated before it."""
    even, odd = torch.unflatten(x, dim, (-1, 2)).unbind(dim + 1)
    before = torch.cat((even.narrow(dim, 0, 1), odd.narrow(dim, 0, odd.shape[dim] - 1)), dim)
    return (before + 2 * even + odd) / 4


def new_frame(planes: tuple[Codes, Codes, Codes], pixel_format: str) -> av.VideoFrame:
    """Return a frame that holds these planes: of a planar format, or of one with Cb and Cr in turn, as p010le."""
    layout, stored = pixel_layout(pixel_format), [*planes]
    if layout.packing == "semiplanar":
        y, cb, cr = planes
        stored = [y << layout.shift, np.stack((cb, cr), -1).reshape(len(cb), -1) << layout.shift]
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixel_format)
    for plane, rows in zip(frame.planes, stored, strict=True):
        memory = np.frombuffer(plane, rows.dtype).reshape(-1, plane.line_size // rows.itemsize)
        memory[: rows.shape[0], : rows.shape[1]] = rows
    return frame
