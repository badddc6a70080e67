"""The demo's scenes: which rooms there are, what hangs in them, and how a camera films them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitm.data.arrays import Floats
from vitm.data.demo.render import render_room
from vitm.data.demo.stages import STAGES
from vitm.data.filming.camera import CameraPath, FilmedClip, Pose, film
from vitm.data.filming.panorama import Panorama, add_glare, exposed
from vitm.data.splits import Split

VERSION = 1  # of what is drawn here; raise it with every change that alters a pixel
PEAK_NITS = 4000.0
_GREY_NITS = {"day": 28.0, "night": 12.0, "courtyard": 55.0}  # the grade: evenings are darker


@dataclass(frozen=True)
class DemoScene:
    """A furnished room or courtyard that the demo films.

    Attributes:
        name: The stem of the scene's files.
        split: The split it belongs to; no photograph is in two splits.
        stage: A key of `vitm.data.demo.stages.STAGES`.
        photos: Photographs on the walls, keys of `PHOTOGRAPHS`.
        surface: Photograph of a wall's or the ground's surface, or None.
        seed: Seed of the furniture and the camera.
    """

    name: str
    split: Split
    stage: str
    photos: tuple[str, ...]
    surface: str | None
    seed: int

    def light(self, height: int, grey_nits: float = 30.0) -> Floats:
        """Return the linear BT.2020 panorama (height, 2 height, 3) of the scene, with its glare; see `exposed`."""
        room = STAGES[self.stage](np.random.default_rng(self.seed), list(self.photos), self.surface)
        return add_glare(exposed(render_room(room, height), grey_nits))

    def world(self, height: int = 896) -> Panorama:
        """Return the panorama of `height` rows, graded for a 4000 cd/m2 display."""
        return Panorama(self.light(height, _GREY_NITS[self.stage]), PEAK_NITS)

    def path(self, take: int, takes: int) -> CameraPath:
        """Return the camera of one of several takes; together they look all around."""
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


def demo_scenes(split: Split, seed: int = 0) -> list[DemoScene]:
    """Return the scenes of a split; the same seed gives the same scenes.

    Raises:
        ValueError: The split is unknown.
    """
    if split not in _SHOTS:
        raise ValueError(f"unknown split {split!r}: expected one of {sorted(_SHOTS)}")
    start = 100 * seed + 20 * list(_SHOTS).index(split)
    return [
        DemoScene(f"{split}{k}_{stage}", split, stage, photos, surface, start + k)
        for k, (stage, photos, surface) in enumerate(_SHOTS[split])
    ]


def demo_clip(
    n_frames: int = 24, size: tuple[int, int] = (216, 384), scene: int = 0, seed: int = 0, panorama_height: int = 896
) -> FilmedClip:
    """Film a clip of a test scene, for previews and for the converter.

    Args:
        n_frames: Number of frames, 24 a second.
        size: Height and width.
        scene: The test scene: 0 by day, 1 by night, 2 outdoors.
        seed: Seed of the scenes.
        panorama_height: Rows of the panorama that is filmed.
    """
    chosen = demo_scenes("test", seed)[scene]
    return film(chosen.world(panorama_height), chosen.path(1, 4), n_frames, size)
