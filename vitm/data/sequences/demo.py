"""The demo's rooms as panoramas of linear light: made once, in a minute, from photographs that are installed anyway."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from vitm.color import bt2020_to_bt709
from vitm.data.demo.folder import VERSION, Scene, demo_scenes
from vitm.data.paired.layouts import Split
from vitm.video import write_exr

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def write_demo_panoramas(root: str | Path, height: int = 512, furnishings: int = 10, workers: int = 2) -> Path:
    """Writes `root/{train,val,test}/<scene>_v1_<height>.exr`, linear BT.709, where they are not there yet.

    Args:
        root: the data set's folder.
        height: rows of the panoramas.
        furnishings: how often each of the eight training rooms is furnished: a network that knew what is behind every
            window by heart would not learn to look for it in other frames.
        workers: threads.

    Returns:
        `root`.

    Raises:
        FileExistsError: if `root` holds files that are not the demo's.
    """
    root = Path(root)
    anew = [
        replace(scene, name=f"{scene.name}_{seed}")
        for seed in range(1, furnishings)
        for scene in demo_scenes("train", seed)
    ]
    scenes = [*(scene for split in _SPLITS for scene in demo_scenes(split)), *anew]
    wanted = {demo_file(root, scene, height): scene for scene in scenes}
    strange = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".") and p not in wanted]
    if strange:
        raise FileExistsError(f"{root} holds other files ({strange[0].name}): give the demo a new or empty folder")
    jobs: list[Callable[[], None]] = [partial(_write, *job, height) for job in wanted.items() if not job[0].is_file()]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: job(), jobs))
    return root


def demo_file(root: Path, scene: Scene, height: int) -> Path:
    """Where a scene's panorama is kept."""
    return root / scene.split / f"{scene.name}_v{VERSION}_{height}.exr"


def _write(path: Path, scene: Scene, height: int) -> None:
    light = torch.from_numpy(scene.light(height)).permute(2, 0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_exr(path, bt2020_to_bt709(light).clamp(0, 65504).permute(1, 2, 0).numpy(), primaries="bt709", half=True)
