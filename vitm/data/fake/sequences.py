"""Tiny long clips in the true layouts of REDS, SICE, EXR sequences and panoramas, for tests and dry runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vitm.data.arrays import Floats
from vitm.data.fake.frames import fake_frames
from vitm.data.splits import Split
from vitm.video import write_exr, write_image


def fake_light(height: int, width: int, seed: int = 0, t: int = 0) -> Floats:
    """Return HDR light (height, width, 3): soft waves of four stops that move with t, and a bright window, about 4."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    stops = np.zeros((height, width, 3))
    for _ in range(6):
        fy, fx = rng.uniform(-25, 25, 2)
        wave = np.sin(fy * y + fx * x + rng.uniform(0.05, 0.15) * t + rng.uniform(0, 2 * np.pi))
        stops += wave[..., None] * rng.uniform(0.2, 0.5, 3)
    middle = rng.uniform(0.3, 0.6, 2) * (height, width) / max(height, width)
    window = np.exp(-((np.hypot(y - middle[0], x - middle[1]) / 0.15) ** 4))[..., None]
    return np.asarray(2 ** (stops - 4 + window * (6 - stops * 0.75)), np.float32)


def write_fake_reds(
    root: str | Path,
    clips: int = 2,
    frames: int = 8,
    size: tuple[int, int] = (36, 64),
    *,
    splits: Sequence[Split] = ("train", "val"),
    seed: int = 0,
) -> Path:
    """Write `root/<split>/<split>_sharp/000/00000000.png`, ...: 8-bit frames, as REDS has them; return `root`."""
    for s, split in enumerate(splits):
        for clip in range(clips):
            folder = Path(root) / split / f"{split}_sharp" / f"{clip:03d}"
            folder.mkdir(parents=True)
            for t, frame in enumerate(fake_frames(frames, *size, seed=seed + 1000 * s + clip)[0]):
                write_image(folder / f"{t:08d}.png", frame, bits=8)
    return Path(root)


def write_fake_sice(
    root: str | Path,
    scenes: int = 3,
    exposures: int = 5,
    size: tuple[int, int] = (60, 80),
    *,
    step: float = 1.5,
    shift: int = 0,
    seed: int = 0,
) -> Path:
    """Write `root/Dataset_Part1/1/1.JPG`, ... and `Label/1.JPG`, as SICE has them; return `root`.

    Args:
        root: Folder to write to.
        scenes: Number of stacks; the second half is in `Dataset_Part2`, if there are two or more.
        exposures: Number of exposures of a stack, from dark to bright; the middle one is exposed as `fake_light` is.
        size: Height and width in pixels.
        step: Stops from one exposure to the next.
        shift: Pixels by which the camera moves to the right between two exposures.
        seed: Seed of the content.
    """
    first = -(-scenes // 2)
    for s in range(scenes):
        part, number = ("Dataset_Part1", s + 1) if s < first else ("Dataset_Part2", s - first + 1)
        folder, label = Path(root) / part / str(number), Path(root) / part / "Label"
        folder.mkdir(parents=True)
        label.mkdir(exist_ok=True)
        light = fake_light(*size, seed=seed + s)
        for k in range(exposures):
            ev = step * (k - exposures // 2)
            code = np.clip(np.roll(light, -shift * (k - exposures // 2), axis=1) * 2**ev, 0, 1) ** (1 / 2.2)
            _write_jpeg(folder / f"{k + 1}.JPG", code)
        _write_jpeg(label / f"{number}.JPG", (light / (1 + light)) ** (1 / 2.2))
    return Path(root)


def _write_jpeg(path: Path, code: Floats) -> None:
    bgr = np.round(code[..., ::-1] * 255).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    path.write_bytes(cv2.imencode(".jpg", bgr, options)[1].tobytes())


def write_fake_exr_sequence(
    root: str | Path, clips: int = 2, frames: int = 8, size: tuple[int, int] = (36, 64), *, seed: int = 0
) -> Path:
    """Write `root/clip0/clip0_0001.exr`, ...: linear light, a folder a clip; return `root`."""
    for clip in range(clips):
        folder = Path(root) / f"clip{clip}"
        folder.mkdir(parents=True)
        for t in range(frames):
            write_exr(folder / f"clip{clip}_{t + 1:04d}.exr", fake_light(*size, seed + clip, t), "bt709", half=True)
    return Path(root)


def write_fake_panoramas(root: str | Path, n: int = 3, height: int = 64, *, seed: int = 0) -> Path:
    """Write `root/world0.exr`, ...: equirectangular panoramas of linear light, (height, 2 height); return `root`."""
    Path(root).mkdir(parents=True, exist_ok=True)
    for k in range(n):
        write_exr(Path(root) / f"world{k}.exr", fake_light(height, 2 * height, seed + k), "bt709", half=True)
    return Path(root)
