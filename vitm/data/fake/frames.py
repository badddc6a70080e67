"""Tiny data sets in the true on-disk layouts, for tests and dry runs: moving waves, in SDR and in HDR."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from vitm.color.ycbcr import RGB_TO_YCBCR, code_scale
from vitm.data.splits import Split
from vitm.video import HDR10Writer, write_image

FakeLayout = Literal["triplets", "scenes", "clips", "stills"]


def fake_frames(frames: int, height: int, width: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return moving waves (sdr, hdr): uint8 and uint16 RGB codes (frames, height, width, 3); HDR reaches 1000 cd/m2."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    waves = np.zeros((frames, height, width, 3))
    for _ in range(4):
        fy, fx = rng.uniform(-0.3, 0.3, 2)
        wave = np.sin(fy * y + fx * x + rng.uniform(0.05, 0.15) * t + rng.uniform(0, 2 * np.pi))
        waves += wave[..., None] * rng.uniform(0.4, 1.0, 3)
    pq = 0.1 + 0.65 * (waves - waves.min()) / np.ptp(waves)
    sdr = np.clip(1.6 * pq - 0.1, 0, 1)  # highlights clip, as they do in real SDR
    return np.round(255 * sdr).astype(np.uint8), np.round(65535 * pq).astype(np.uint16)


def write_fake_triplets(
    root: str | Path,
    n: int = 4,
    size: tuple[int, int] = (48, 64),
    *,
    layout: FakeLayout = "triplets",
    frames: int = 3,
    splits: Sequence[Split] = ("train", "val", "test"),
    seed: int = 0,
) -> Path:
    """Write a data set of n samples a split that `HDR10Triplets` reads, and return `root`.

    Clips of ten frames (`layout="clips", frames=10`) are what `HDR10Clips` reads.

    Args:
        root: Folder to write to.
        n: Triplets (or, for `stills`, frames) in each split.
        size: Height and width in pixels.
        layout: One of the layouts of `vitm.data.paired.layouts`; `stills` in folders `<split>_{sdr,hdr}`, as HDRTV1K.
        frames: Frames of a sample.
        splits: The splits to write.
        seed: Seed of the content.
    """
    root = Path(root)
    for s, split in enumerate(splits):
        for i in range(n):
            name = f"{split}{i:03d}"
            sdr, hdr = fake_frames(1 if layout == "stills" else frames, *size, seed=seed + 1000 * s + i)
            for kind, t in product(("sdr", "hdr"), range(len(sdr))):
                file = {
                    "triplets": f"{split}/{kind}/{name}_{t + 1}.png",
                    "scenes": f"{split}/{kind}/{name}_{t + 12:06d}.png",
                    "clips": f"{split}/{kind}/{name}/{t:06d}.png",
                    "stills": f"{split}_{kind}/{i + 1:03d}.png",
                }[layout]
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                write_image(root / file, sdr[t] if kind == "sdr" else hdr[t], bits=8 if kind == "sdr" else 16)
    return root


def write_fake_frames(
    root: str | Path,
    n: int = 4,
    size: tuple[int, int] = (48, 64),
    *,
    splits: Sequence[Split] = ("train", "test"),
    seed: int = 0,
) -> Path:
    """Write n single frames a split as HDRTV1K has them, `train_sdr/001.png`, for `HDR10Frames`; return `root`.

    Args:
        root: Folder to write to.
        n: Frames in each split.
        size: Height and width in pixels.
        splits: The splits to write; HDRTV1K has no `val`.
        seed: Seed of the content.
    """
    return write_fake_triplets(root, n, size, layout="stills", splits=splits, seed=seed)


def write_fake_video_pair(
    folder: str | Path,
    scenes: Sequence[int] = (12, 12),
    size: tuple[int, int] = (48, 64),
    *,
    fps: int = 12,
    sdr_frames: Sequence[int] | None = None,
    hdr_frames: Sequence[int] | None = None,
    bars: int = 0,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Write `sdr.mp4` (H.264, 8 bits, BT.709) and `hdr.mp4` (HDR10) of the same film, and return their paths.

    Args:
        folder: Existing folder.
        scenes: Number of frames of each scene; a cut lies between two.
        size: Height and width in pixels, even.
        fps: Frames per second.
        sdr_frames: Frames of the film that the SDR file shows, in this order; None is all.
        hdr_frames: Frames of the film that the HDR file shows; None is all.
        bars: Height of the black bars at top and bottom, in pixels, inside `size`.
        seed: Seed of the content.
    """
    films = [fake_frames(n, *size, seed=seed + 1000 * i) for i, n in enumerate(scenes)]
    sdr, hdr = (np.concatenate(scenes) for scenes in zip(*films, strict=True))
    for film in (sdr, hdr):
        film[:, :bars] = film[:, size[0] - bars :] = 0
    folder = Path(folder)
    _write_h264(folder / "sdr.mp4", sdr[list(sdr_frames)] if sdr_frames is not None else sdr, fps)
    with HDR10Writer(folder / "hdr.mp4", size[1], size[0], fps, lossless=True, preset="ultrafast") as writer:
        for code in hdr[list(hdr_frames)] if hdr_frames is not None else hdr:
            writer.write(code / np.float32(65535))
    return folder / "sdr.mp4", folder / "hdr.mp4"


def _write_h264(path: Path, film: NDArray[np.uint8], fps: int) -> None:
    """Write RGB codes (frames, height, width, 3) as BT.709 4:2:0, narrow range; chroma is the mean of four samples."""
    gain, offset = code_scale(8, full_range=False)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "6"})
        stream.height, stream.width, stream.pix_fmt = *film.shape[1:3], "yuv420p"
        for code in film:
            ycbcr = code / 255 @ np.array(RGB_TO_YCBCR["bt709"]).T * gain + offset
            chroma = ycbcr[..., 1:].reshape(code.shape[0] // 2, 2, code.shape[1] // 2, 2, 2).mean(axis=(1, 3))
            planes = [ycbcr[..., 0].ravel(), chroma[..., 0].ravel(), chroma[..., 1].ravel()]
            packed = np.concatenate(planes).round().astype(np.uint8).reshape(-1, code.shape[1])
            frame = av.VideoFrame.from_ndarray(packed, format="yuv420p")
            for tagged in (stream.codec_context, frame):
                tagged.color_primaries = tagged.color_trc = tagged.colorspace = tagged.color_range = 1  # H.273
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
