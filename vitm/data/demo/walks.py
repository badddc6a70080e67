"""VITM-TC's data from walks through the demo's rooms: motion as in real video, whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vitm.data.demo.scenes import demo_scenes
from vitm.data.demo.walk import RoomWalk
from vitm.data.module import check_least
from vitm.data.sequences.long_sequences import LongSequences
from vitm.data.sequences.source import Source
from vitm.data.splits import Split


class DemoWalks(LongSequences):
    """Clips of VITM-TC with parallax and moving things: `RoomWalk`s, rendered when they are asked for, none on disk.

    The splits are the demo's: no photograph of a test room is in a training room. A batch does not know the motion, as
    with REDS; `RoomWalk.flow` does. Beside walks, it may hold the clips of folders: `root=["PANORAMAS", "demo_walks"]`.

    Args:
        root: `demo_walks`, from which nothing is read; folders in the list besides are as in `LongSequences`.
        furnishings: Number of times that each of the eight training rooms is furnished.
        drift: Speed of the balls that move, in metres a frame.
        **common: The other options of `LongSequences`.
    """

    def __init__(
        self, root: str | list[str] = "demo_walks", *, furnishings: int = 1, drift: float = 0.02, **common: Any
    ):
        super().__init__(root, **common)
        check_least(furnishings=(furnishings, 1))
        self.furnishings, self.drift = furnishings, drift

    @classmethod
    def demo_root(cls) -> Path:
        """Return a name: nothing has to be on disk."""
        return Path("demo_walks")

    def clips(self, root: Path, split: Split) -> list[Source]:
        """Return the walks of a split, the first `val_clips` to validate on; of a folder, the clips that it holds."""
        if root != self.demo_root():
            return super().clips(root, split)
        seeds = range(self.furnishings if split == "train" else 1)
        scenes = [replace(scene, name=f"{scene.name}_{seed}") for seed in seeds for scene in demo_scenes(split, seed)]
        walks: list[Source] = [
            RoomWalk(f"walk_{scene.name}", scene, self.frames, self.drift, self.size) for scene in scenes
        ]
        return walks[: self.val_clips] if split == "val" else walks
