"""The demo data: rooms hung with photographs, filmed by a turning camera, written as triplets or as longer clips."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from torch import Tensor

from vitm.data.demo.photographs import PHOTOGRAPHS
from vitm.data.demo.render import render
from vitm.data.demo.stage import STAGES
from vitm.data.filming.camera import CameraPath, Clip, Pose, film
from vitm.data.filming.panorama import Floats, Panorama, exposed, glare

Split = Literal["train", "val", "test"]
GENERATOR = "vitm.data.demo"  # in the manifest; a folder with another one is not ours
VERSION = 1  # of what the generator draws; raise it with every change that alters a pixel
PEAK_NITS = 4000.0
_TAKES: dict[int, dict[Split, int]] = {  # frames of a take -> how many a scene has
    3: {"train": 8, "val": 4, "test": 4},
    10: {"train": 3, "val": 1, "test": 1},
}
_GREY_NITS = {"day": 28.0, "night": 12.0, "courtyard": 55.0}  # the grade: evenings are darker


@dataclass(frozen=True)
class Scene:
    """A demo scene.

    Attributes:
        name: unique; the stem of its files.
        split: "train", "val" or "test"; no photograph is in two splits.
        stage: a key of `vitm.data.demo.stage.STAGES`.
        photos: photographs on the walls, keys of `PHOTOGRAPHS`.
        surface: photograph of a wall's or the ground's surface, or None.
        seed: of the furniture and the camera.
    """

    name: str
    split: Split
    stage: str
    photos: tuple[str, ...]
    surface: str | None
    seed: int

    def light(self, height: int, grey_nits: float = 30.0) -> Floats:
        """The scene's linear BT.2020 panorama (height, 2 height, 3), with its glare; see `exposed`."""
        room = STAGES[self.stage](np.random.default_rng(self.seed), list(self.photos), self.surface)
        return glare(exposed(render(room, height), grey_nits))

    def world(self, height: int = 896) -> Panorama:
        """The scene's panorama of `height` rows, graded for a 4000 cd/m2 display."""
        return Panorama(self.light(height, _GREY_NITS[self.stage]), PEAK_NITS)

    def path(self, take: int, takes: int) -> CameraPath:
        """The camera of one of several takes: together they look all around."""
        rng = np.random.default_rng((self.seed, take))
        yaw = 360 * (take + float(rng.uniform(0, 0.5))) / takes
        pose = Pose(yaw, float(rng.uniform(-5, 6)), 0.0, float(rng.uniform(48, 66)))
        return CameraPath(pose, seed=int(rng.integers(2**31)))


_SHOTS: dict[Split, tuple[tuple[str, tuple[str, ...], str | None], ...]] = {
    "train": (
        ("day", ("astronaut", "coffee"), "brick"),
        ("night", ("coffee", "hubble_deep_field", "astronaut", "retina"), "brick"),
        ("courtyard", ("astronaut", "coffee", "retina"), None),
        ("day", ("retina", "hubble_deep_field", "coffee"), None),
        ("night", ("retina", "hubble_deep_field", "coffee", "astronaut"), None),
        ("courtyard", ("coffee", "hubble_deep_field", "astronaut"), "brick"),
        ("day", ("coffee", "astronaut", "retina"), None),
        ("night", ("astronaut", "coffee"), "brick"),
    ),
    "val": (("day", ("camera",), None), ("courtyard", ("camera",), "grass")),
    "test": (
        ("day", ("chelsea", "rocket"), None),
        ("night", ("rocket", "chelsea"), None),
        ("courtyard", ("chelsea", "rocket"), "gravel"),
    ),
}


def demo_scenes(split: Split, seed: int = 0) -> list[Scene]:
    """The scenes of a split; the same seed gives the same scenes.

    Raises:
        ValueError: for an unknown split.
    """
    if split not in _SHOTS:
        raise ValueError(f"unknown split {split!r}: expected one of {sorted(_SHOTS)}")
    start = 100 * seed + 20 * list(_SHOTS).index(split)
    return [
        Scene(f"{split}{k}_{stage}", split, stage, photos, surface, start + k)
        for k, (stage, photos, surface) in enumerate(_SHOTS[split])
    ]


def demo_clip(
    n_frames: int = 24, size: tuple[int, int] = (216, 384), scene: int = 0, seed: int = 0, panorama_height: int = 896
) -> Clip:
    """A clip of a test scene, for previews and for the converter.

    Args:
        n_frames: frames, 24 a second.
        size: (H, W).
        scene: which test scene: 0 by day, 1 by night, 2 outdoors.
        seed: of the scenes.
        panorama_height: rows of the world's panorama.
    """
    chosen = demo_scenes("test", seed)[scene]
    return film(chosen.world(panorama_height), chosen.path(1, 4), n_frames, size)


def write_demo(
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
        root: the data set's folder; what an earlier version of this function wrote there is replaced.
        size: (H, W) of a frame.
        seed: of the rooms and cameras.
        panorama_height: rows of the panoramas that are filmed; fewer are faster and softer.
        workers: threads.
        frames: of a take: 3 for `HDR10Triplets`, 10 for `HDR10Clips`.
        takes: how many a scene gives, by split; None is 8, 4 and 4 of 3 frames, 3, 1 and 1 of 10.

    Returns:
        `root`.

    Raises:
        FileExistsError: if `root` holds something that this function did not write.
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
        raise FileExistsError(f"{root} holds other files: give write_demo a new or empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        new = Path(scratch) / "new"
        scenes = [scene for split in _SHOTS for scene in demo_scenes(split, seed)]
        with ThreadPoolExecutor(workers) as pool:
            made = pool.map(lambda scene: list(_write_scene(new, scene, plan)), scenes)
            checksums = dict(entry for entries in made for entry in entries)
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
    """Whether a demo data set stands at `root` with every file as its manifest says, and made to `plan`."""
    manifest = _manifest(root)
    if manifest is None or any(manifest.get(key) != value for key, value in (plan or {}).items()):
        return False
    files = {root / name: checksum for name, checksum in manifest.get("files", {}).items()}
    return bool(files) and all(file.is_file() and _checksum(file) == checksum for file, checksum in files.items())


def _manifest(root: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((root / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_ours(root: Path) -> bool:
    return (_manifest(root) or {}).get("generator") == GENERATOR


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write_scene(root: Path, scene: Scene, plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write a scene's frames; yields their names and checksums."""
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


def _write_frame(folder: Path, name: str, clip: Clip, frame: int) -> Iterator[tuple[str, str]]:
    for kind, image, top in (("sdr", clip.sdr, 255), ("hdr", clip.hdr_pq, 65535)):
        file = folder / kind / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_png(file, image[frame], top)
        yield file.relative_to(folder.parent).as_posix(), _checksum(file)


def _write_png(file: Path, image: Tensor, top: int) -> None:
    codes = (image.permute(1, 2, 0) * top).round().numpy().astype(np.uint8 if top == 255 else np.uint16)
    if not cv2.imwrite(str(file), np.ascontiguousarray(codes[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"cannot write {file}")
