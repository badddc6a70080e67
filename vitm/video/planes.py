"""Raw planes <-> R'G'B', in the project's own float32.

FFmpeg's swscale is off by up to 4 ten-bit codes, and by 113 on untagged frames: only raw planes cross PyAV.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from vitm.color.ycbcr import RGB_TO_YCBCR, YCBCR_TO_RGB, code_scale
from vitm.video.errors import VideoDecodeError

Codes = npt.NDArray[Any]  # uint8 or uint16
Float = npt.NDArray[np.float32]

SUPPORTED = "yuv420p, yuv422p, yuv444p (8, 10, 12 bit), yuvj, nv12, p010le, gbrp (8 to 16 bit), rgb24, bgr24, rgb48le"

# Position of the first chroma sample relative to the first luma sample, in luma pixels (x, y); H.273, figure 1.
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
        chroma: "4:2:0", "4:2:2", "4:4:4" or "rgb".
        packing: "planar", "semiplanar" (Cb and Cr interleaved), or the order of packed channels ("rgb", "bgr").
        shift: unused low bits of each sample.
        always_full: the format's name says full range.
    """

    bits: int
    chroma: str
    packing: str = "planar"
    shift: int = 0
    always_full: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def subsampling(self) -> tuple[int, int]:
        """Luma samples for one chroma sample, (across, down)."""
        return {"4:2:0": (2, 2), "4:2:2": (2, 1)}.get(self.chroma, (1, 1))


_PACKED = {
    "nv12": PixelLayout(8, "4:2:0", "semiplanar"),
    "p010le": PixelLayout(10, "4:2:0", "semiplanar", shift=6),
    "rgb24": PixelLayout(8, "rgb", "rgb"),
    "bgr24": PixelLayout(8, "rgb", "bgr"),
    "rgb48le": PixelLayout(16, "rgb", "rgb"),
}


def pixel_layout(name: str) -> PixelLayout:
    """The layout of a pixel format.

    Raises:
        VideoDecodeError: for a format that is not supported.
    """
    if name in _PACKED:
        return _PACKED[name]
    if m := re.fullmatch(r"yuv(j?)4(20|22|44)p(?:(10|12)le)?", name):
        return PixelLayout(int(m[3] or 8), f"4:{m[2][0]}:{m[2][1]}", always_full=bool(m[1]))
    if m := re.fullmatch(r"gbrp(?:(10|12|14|16)le)?", name):
        return PixelLayout(int(m[1] or 8), "rgb")
    raise VideoDecodeError(f"pixel format {name!r} is not supported (supported: {SUPPORTED})")


def frame_planes(frame: av.VideoFrame) -> tuple[Codes, Codes, Codes]:
    """The codes of a decoded frame, exactly as stored: (Y, Cb, Cr), or (R, G, B) of an RGB format.

    Returns:
        Three arrays of uint8 or uint16; they are views of the frame's memory where the layout allows.

    Raises:
        VideoDecodeError: for a pixel format that is not supported.
    """
    layout = pixel_layout(frame.format.name)
    planes: list[Codes] = []
    for plane, height in zip(frame.planes, _plane_heights(frame, layout), strict=True):
        rows = np.frombuffer(plane, layout.dtype).reshape(-1, plane.line_size // layout.dtype.itemsize)
        planes.append(rows[:height] >> layout.shift if layout.shift else rows[:height])
    width = frame.width
    if layout.packing in ("rgb", "bgr"):
        packed = planes[0][:, : 3 * width].reshape(frame.height, width, 3)
        a, b, c = (packed[..., i] for i in range(3))
        return (a, b, c) if layout.packing == "rgb" else (c, b, a)
    chroma_width = -(-width // layout.subsampling[0])
    if layout.packing == "semiplanar":
        pairs = planes[1][:, : 2 * chroma_width]
        return planes[0][:, :width], pairs[:, 0::2], pairs[:, 1::2]
    y, cb, cr = planes[0][:, :width], planes[1][:, :chroma_width], planes[2][:, :chroma_width]
    return (cr, y, cb) if layout.chroma == "rgb" else (y, cb, cr)  # gbrp: G, B, R


def _plane_heights(frame: av.VideoFrame, layout: PixelLayout) -> tuple[int, ...]:
    if layout.packing in ("rgb", "bgr"):
        return (frame.height,)
    chroma = -(-frame.height // layout.subsampling[1])
    return (frame.height, chroma) if layout.packing == "semiplanar" else (frame.height, chroma, chroma)


def upsample_chroma(plane: Float, size: tuple[int, int], subsampling: tuple[int, int], location: str) -> Float:
    """Bilinear interpolation of a chroma plane at the places of the luma samples; edges are repeated.

    Args:
        plane: (h, w).
        size: (width, height) of the luma plane.
        subsampling: luma samples for one chroma sample, (across, down).
        location: where the chroma samples sit: "left", "topleft", "center", ...
    """
    (sx, sy), (px, py) = subsampling, _SITING[location]
    px, py = px * (sx > 1), py * (sy > 1)
    # chroma position of luma x: (x - px) / sx; warpAffine takes just this inverse map, and 1/4 steps are exact in it
    inverse = np.array([[1 / sx, 0, -px / sx], [0, 1 / sy, -py / sy]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    full: Float = cv2.warpAffine(plane, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return full


def planes_to_rgb(
    planes: tuple[Codes, Codes, Codes], layout: PixelLayout, matrix: str, full_range: bool, location: str | None
) -> Float:
    """Codes to non-linear R'G'B'.

    Args:
        planes: from `frame_planes`.
        layout: layout of the frame's pixel format.
        matrix: "bt709", "bt2020" or "rgb".
        full_range: whether the codes are full range.
        location: location of subsampled chroma.

    Returns:
        (H, W, 3), float32, nominally in [0, 1]. Nothing is clipped: footroom, headroom, and Y'CbCr outside the R'G'B'
        cube, give values slightly outside.
    """
    gain, offset = code_scale(layout.bits, full_range)
    rgb: Float
    if layout.chroma == "rgb":
        scale, zero = np.float32(1 / gain[0]), np.float32(offset[0])  # R, G, B are coded as Y is (BT.2100-2, table 9)
        rgb = (cv2.merge([p.astype(np.float32) for p in planes]) - zero) * scale
        return rgb
    y, cb, cr = (p.astype(np.float32) for p in planes)
    if layout.subsampling != (1, 1):
        size = (y.shape[1], y.shape[0])
        cb, cr = (upsample_chroma(c, size, layout.subsampling, location or "left") for c in (cb, cr))
    linear = np.array(YCBCR_TO_RGB[matrix]) / np.array(gain)
    rgb = cv2.transform(cv2.merge([y, cb, cr]), np.column_stack([linear, -linear @ np.array(offset)]))
    return rgb


def rgb_to_planes(rgb: Float, chroma: Literal["4:2:0", "4:2:2"] = "4:2:0") -> tuple[Codes, Codes, Codes]:
    """Non-linear R'G'B' (PQ or HLG) to BT.2020 non-constant luminance, 10-bit narrow range, chroma sited top-left.

    The chroma is filtered by [1 2 1] / 4 about the places of its samples, across, and in 4:2:0 down as well; codes are
    rounded half up.

    Args:
        rgb: (H, W, 3), W even, in 4:2:0 H as well; at least 0, and at most 1 (PQ) or 1.09 (HLG).
        chroma: how the chroma is subsampled.

    Returns:
        Y (H, W), Cb and Cr (H or H / 2, W / 2), uint16, nominally 64-940 and 64-960 (BT.2100-2, tables 6 and 9).
    """
    gain, offset = (np.array(v) for v in code_scale(10, full_range=False))
    forward = np.array(RGB_TO_YCBCR["bt2020"]) * gain[:, None]
    # + 0.5: the conversion to integers cuts, so this rounds half up
    y, cb, cr = cv2.split(cv2.transform(rgb, np.column_stack([forward, offset + 0.5])))
    across = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    down, step = (across, 2) if chroma == "4:2:0" else (np.ones(1, np.float32), 1)
    cb, cr = (
        cv2.sepFilter2D(c, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE)[::step, ::2] for c in (cb, cr)
    )
    return y.astype(np.uint16), cb.astype(np.uint16), cr.astype(np.uint16)


def new_frame(planes: tuple[Codes, Codes, Codes], pixel_format: str) -> av.VideoFrame:
    """A frame of a planar format that holds these planes."""
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pixel_format)
    for plane, rows in zip(frame.planes, planes, strict=True):
        memory = np.frombuffer(plane, rows.dtype).reshape(-1, plane.line_size // rows.itemsize)
        memory[: rows.shape[0], : rows.shape[1]] = rows
    return frame
