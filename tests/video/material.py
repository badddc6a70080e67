"""Frames for the tests, as planes."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np

BT709 = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
HDR10 = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}
HLG = {"color_primaries": 9, "color_trc": 18, "colorspace": 9, "color_range": 1}


def fill_frame(width: int, height: int, pix_fmt: str, planes: Sequence[np.ndarray]) -> av.VideoFrame:
    """A frame whose memory planes hold these rows (as FFmpeg lays them out, padding added)."""
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, rows in zip(frame.planes, planes, strict=True):
        row_bytes = np.ascontiguousarray(rows).view(np.uint8).reshape(rows.shape[0], -1)
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[: row_bytes.shape[0], : row_bytes.shape[1]] = row_bytes
        plane.update(padded)
    return frame


def planes_420(
    n: int, width: int = 64, height: int = 48, bits: int = 10, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Random frames in the nominal range, each with its number in the top-left corner as a luma code."""
    rng = np.random.default_rng(seed)
    step, dtype = 1 << (bits - 8), np.uint8 if bits == 8 else np.uint16
    frames = []
    for i in range(n):
        y = rng.integers(16 * step, 235 * step, (height, width))
        y[:16, :16] = (20 + 8 * i) * step
        chroma = rng.integers(100 * step, 156 * step, (2, height // 2, width // 2))
        chroma[:, :8, :8] = 128 * step
        frames.append((y.astype(dtype), chroma[0].astype(dtype), chroma[1].astype(dtype)))
    return frames


def moving_blocks(n: int, height: int = 96, width: int = 128, seed: int = 0) -> list[np.ndarray]:
    """PQ frames (H, W, 3) of random colours, flat in blocks of 16 that move by 16 pixels a frame and grow brighter."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((height // 16, width // 16, 3), dtype=np.float32).repeat(16, axis=0).repeat(16, axis=1)
    return [np.roll(blocks, 16 * i, axis=1) * np.float32(0.4 + 0.3 * i / n) for i in range(n)]


def inner_pixels(frames: np.ndarray) -> np.ndarray:
    """One pixel of each block, away from its borders, of (..., H, W, 3)."""
    return frames[..., 7::16, 7::16, :]
