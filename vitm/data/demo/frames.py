"""The demo data on disk: scenes filmed by a turning camera, written as triplets or as longer clips."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from vitm.data.demo.photographs import PHOTOGRAPHS
from vitm.data.demo.scenes import PEAK_NITS, VERSION, DemoScene, demo_scenes
from vitm.data.filming.camera import FilmedClip, film
from vitm.data.splits import SPLITS, Split
from vitm.files import digest

GENERATOR = "vitm.data.demo"  # in the manifest; a folder with another one is not ours
_TAKES: dict[int, dict[Split, int]] = {  # frames of a take -> how many a scene has
    3: {"train": 8, "val": 4, "test": 4},
    10: {"train": 3, "val": 1, "test": 1},
}


def write_demo_frames(
    root: Path,
    size: tuple[int, int] = (216, 384),
    seed: int = 0,
    panorama_height: int = 896,
    workers: int = 2,
    frames: int = 3,
    takes: dict[Split, int] | None = None,
) -> Path:
    """Write the demo data, or leave it as it is where it already stands whole.

    `root/{train,val,test}/{sdr,hdr}/<scene>_<take>_{1,2,3}.png` (KPN-MFI's layout; of other than 3 frames
    `<scene>_<take>/<frame>.png`; SDR 8-bit BT.709, HDR 16-bit PNG of 10-bit PQ BT.2020),
    `root/test_clip/{sdr,hdr}/<scene>_<frame>.png` (24 frames) and `root/manifest.json` (scenes, photographs and their
    licences, checksums). It is made in a folder beside and renamed when it is whole.

    Args:
        root: The data set's folder; what an earlier version of this function wrote there is replaced.
        size: Height and width of a frame.
        seed: Seed of the rooms and cameras.
        panorama_height: Rows of the panoramas that are filmed; fewer are faster and softer.
        workers: Number of threads.
        frames: Frames of a take: 3 for `HDR10Triplets`, 10 for `HDR10Clips`.
        takes: Takes of a scene, by split; None is 8, 4 and 4 of 3 frames, 3, 1 and 1 of 10.

    Returns:
        `root`.

    Raises:
        FileExistsError: `root` holds something that this function did not write.
    """
    root = Path(root)
    plan: dict[str, Any] = {
        "generator": GENERATOR,
        "version": VERSION,
        "seed": seed,
        "size": list(size),
        "panorama_height": panorama_height,
        "peak_nits": PEAK_NITS,
        "frames": frames,
        "takes": dict(takes or _TAKES[frames]),
    }
    if is_whole(root, plan):
        return root
    if root.exists() and any(root.iterdir()) and not _is_ours(root):
        raise FileExistsError(f"{root} holds other files: give the demo data a new or empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        new = Path(scratch) / "new"
        scenes = [scene for split in SPLITS for scene in demo_scenes(split, seed)]
        with ThreadPoolExecutor(workers) as pool:
            written = pool.map(lambda scene: list(_write_scene(new, scene, plan)), scenes)
            checksums = dict(file for files in written for file in files)
        used = sorted({name for scene in scenes for name in (*scene.photos, scene.surface) if name})
        manifest = plan | {
            "scenes": [asdict(scene) for scene in scenes],
            "photographs": {name: asdict(PHOTOGRAPHS[name]) for name in used},
            "files": checksums,
        }
        (new / "manifest.json").write_text(json.dumps(manifest, indent=1))
        if root.exists():
            shutil.move(root, Path(scratch) / "old")
        try:
            new.rename(root)
        except OSError:
            if not is_whole(root, plan):  # else another process was faster
                raise
    return root


def is_whole(root: Path, plan: dict[str, Any] | None = None) -> bool:
    """Return whether a demo data set stands at `root`, made to `plan`, with every file as its manifest says."""
    manifest = _manifest(root)
    if manifest is None or any(manifest.get(key) != value for key, value in (plan or {}).items()):
        return False
    files = {root / name: checksum for name, checksum in manifest.get("files", {}).items()}
    return bool(files) and all(file.is_file() and digest(file) == checksum for file, checksum in files.items())


def _manifest(root: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((root / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_ours(root: Path) -> bool:
    return (_manifest(root) or {}).get("generator") == GENERATOR


def _write_scene(root: Path, scene: DemoScene, plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write a scene's frames; yield their names and checksums."""
    takes, frames = plan["takes"][scene.split], plan["frames"]
    if not takes:
        return
    world = scene.world(plan["panorama_height"])
    size = tuple(plan["size"])
    for take in range(takes):
        first = 40 * take
        clip = film(world, scene.path(take, takes), frames, size, first)
        for k in range(frames):
            name = f"{scene.name}_{take:02d}" + (f"_{k + 1}.png" if frames == 3 else f"/{k:06d}.png")
            yield from _write_frame(root / scene.split, name, clip, k)
    if scene.split == "test" and scene.stage == "day":
        clip = film(world, scene.path(1, 4), 24, size)
        for k in range(24):
            yield from _write_frame(root / "test_clip", f"{scene.name}_{k:06d}.png", clip, k)


def _write_frame(folder: Path, name: str, clip: FilmedClip, frame: int) -> Iterator[tuple[str, str]]:
    for kind, image, top in (("sdr", clip.sdr, 255), ("hdr", clip.hdr_pq, 65535)):
        file = folder / kind / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_png(file, image[frame], top)
        yield file.relative_to(folder.parent).as_posix(), digest(file)


def _write_png(file: Path, image: Tensor, top: int) -> None:
    codes = (image.permute(1, 2, 0) * top).round().numpy().astype(np.uint8 if top == 255 else np.uint16)
    if not cv2.imwrite(str(file), np.ascontiguousarray(codes[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"cannot write {file}")
