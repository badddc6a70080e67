"""Small lossless videos of known colours, made with formulas of their own."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# BT.709-6, item 3.2 and BT.2020-2, table 4: weights of R' and B', divisors of Cb and Cr
WEIGHTS = {"bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593), "bt601": (0.299, 0.114)}
TAGS = {"bt709": (1, 1, 1), "bt2020": (9, 16, 9)}  # H.273: primaries, transfer, matrix


def codes(rgb: NDArray[np.float64], matrix: str, bits: int, full: bool) -> NDArray[np.float64]:
    """R'G'B' (..., 3) in [0, 1] to Y', Cb, Cr codes, not rounded (BT.2100-2, table 9)."""
    r, b = WEIGHTS[matrix]
    y = rgb @ np.array([r, 1 - r - b, b])
    cb, cr = (rgb[..., 2] - y) / (2 - 2 * b), (rgb[..., 0] - y) / (2 - 2 * r)
    unit = 2 ** (bits - 8)
    if full:
        top = 2**bits - 1
        return np.stack([top * y, top * cb + 128 * unit, top * cr + 128 * unit], -1)
    return np.stack([(219 * y + 16) * unit, (224 * cb + 128) * unit, (224 * cr + 128) * unit], -1)


def write_ffv1(
    path: Path,
    film: NDArray[np.float64],
    matrix: str,
    bits: int,
    *,
    full: bool = False,
    tags: bool = True,
    fps: int = 24,
) -> Path:
    """R'G'B' (T, H, W, 3) as lossless 4:2:0 of 2x2 pixels of one colour each."""
    dtype = np.uint8 if bits == 8 else np.uint16
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = film.shape[1:3]
        stream.pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
        for rgb in film:
            ycc = codes(rgb, matrix, bits, full).round().astype(dtype)
            planes = [ycc[..., 0].ravel(), ycc[::2, ::2, 1].ravel(), ycc[::2, ::2, 2].ravel()]
            frame = av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(-1, film.shape[2]), format=stream.pix_fmt)
            for tagged in (stream.codec_context, frame) if tags else ():
                tagged.color_primaries, tagged.color_trc, tagged.colorspace = TAGS[matrix]
                tagged.color_range = 2 if full else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def moving_bars(frames: int, colours: NDArray[np.float64], size: tuple[int, int] = (72, 128)) -> NDArray[np.float64]:
    """Bars of colours (N, 3), 16 pixels wide, that move by 4 pixels a frame; (T, H, W, 3)."""
    bars = np.repeat(colours[np.random.default_rng(1).integers(len(colours), size=64)], 16, axis=0)
    bars[: 16 * len(colours)] = np.repeat(colours, 16, axis=0)
    return np.stack([np.tile(np.roll(bars, -4 * t, axis=0)[: size[1]], (size[0], 1, 1)) for t in range(frames)])
