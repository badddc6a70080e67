"""The demo's rooms as panoramas of linear light: made once, in a minute, from photographs that are installed anyway."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from vitm.color import bt2020_to_bt709
from vitm.data.demo.scenes import VERSION, DemoScene, demo_scenes
from vitm.data.splits import SPLITS
from vitm.video import write_exr


def write_demo_panoramas(root: str | Path, height: int = 512, furnishings: int = 10, workers: int = 2) -> Path:
    """Write `root/{train,val,test}/<scene>_v1_<height>.exr`, linear BT.709, where they are not there yet.

    Args:
        root: The data set's folder.
        height: Rows of the panoramas.
        furnishings: Number of times that each of the eight training rooms is furnished: a network that knew by heart
            what is behind every window would not learn to look for it in other frames.
        workers: Number of threads.

    Returns:
        `root`.

    Raises:
        FileExistsError: `root` holds files that are not the demo's.
    """
    root = Path(root)
    anew = [
        replace(scene, name=f"{scene.name}_{seed}")
        for seed in range(1, furnishings)
        for scene in demo_scenes("train", seed)
    ]
    scenes = [*(scene for split in SPLITS for scene in demo_scenes(split)), *anew]
    wanted = {demo_file(root, scene, height): scene for scene in scenes}
    others = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".") and p not in wanted]
    if others:
        raise FileExistsError(f"{root} holds other files ({others[0].name}): give the demo a new or empty folder")
    jobs: list[Callable[[], None]] = [partial(_write, *job, height) for job in wanted.items() if not job[0].is_file()]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: job(), jobs))
    return root


def demo_file(root: Path, scene: DemoScene, height: int) -> Path:
    """Return the file of a scene's panorama."""
    return root / scene.split / f"{scene.name}_v{VERSION}_{height}.exr"


def _write(path: Path, scene: DemoScene, height: int) -> None:
    light = torch.from_numpy(scene.light(height)).permute(2, 0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_exr(path, bt2020_to_bt709(light).clamp(0, 65504).permute(1, 2, 0).numpy(), primaries="bt709", half=True)
