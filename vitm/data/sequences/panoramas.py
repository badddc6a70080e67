"""HDR panoramas filmed by a turning camera: linear light without a knee, and exact homographies.

They are filmed in the processes that decode, with OpenCV: a panorama is 100 MB, so that filming it on the device would
send it there anew for each sample, or keep all of them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from vitm.data.arrays import Floats
from vitm.data.filming.camera import CameraPath, Pose
from vitm.data.filming.motion import Homography, Placement
from vitm.data.filming.panorama import mended, read_radiance
from vitm.data.filming.walk import Key
from vitm.data.sequences.exposure import base_gain
from vitm.data.sequences.source import Matrices
from vitm.video.images import image_header

_ROWS = 2048  # of a panorama that is kept in memory: 11 pixels a degree, as much as a frame shows
_SWING = (
    12.0,
    4.0,
    2.5,
    3.0,
)  # degrees of yaw, pitch, roll and zoom: what leaves the frame comes back within +-90 frames
_FIELD_OF_VIEW = (48.0, 66.0)
_VIEWS = 4  # drawn for a take; the one with the brightest highlights is filmed
_FLOOR = 0.002  # of the median: what is darker is raised to it, so that logarithms do not spread black dots
_TO_CAMERA = np.diag((1.0, -1.0, -1.0))  # x right, y down, z ahead <-> x right, y up, -z ahead


@dataclass(frozen=True)
class PanoramaFile:
    """An equirectangular panorama, .exr or .hdr, linear light, twice as wide as high."""

    name: str
    path: Path

    @classmethod
    def open(cls, name: str, path: Path) -> PanoramaFile:
        """Return the panorama after a look at its shape; raise ValueError for another shape."""
        header = image_header(path)
        if header.width != 2 * header.height:
            raise ValueError(
                f"{path} is {header.width}x{header.height}; expected an equirectangular panorama, twice as wide as "
                "high (the frames of a sequence go into a folder of their own)"
            )
        return cls(name, path)

    def length(self, frames: int) -> int:
        """Return the length that is asked for."""
        return frames

    def take(self, key: Key, size: int, frames: int) -> PanoramaTake:
        """Return a take by a camera that turns about a random direction: of four, the one with the highest contrast."""
        rng = np.random.default_rng(key)
        seeds = rng.integers(2**31, size=_VIEWS)
        poses = [
            Pose(float(rng.uniform(0, 360)), float(rng.uniform(-5, 6)), 0.0, float(rng.uniform(*_FIELD_OF_VIEW)))
            for _ in seeds
        ]
        takes = [
            PanoramaTake(self, CameraPath(p, int(s), _SWING), size, frames) for p, s in zip(poses, seeds, strict=True)
        ]
        return max(takes, key=lambda take: take.contrast)

    def check(self) -> None:
        """Decode it; raise ValueError if most of it is black."""
        _log_light(self.path)


@lru_cache(maxsize=2)
def _log_light(path: Path) -> Floats:
    """Return log2 of the light (H + 4, 2 H + 4, 3), with two pixels around it: what lies beyond the edges."""
    linear = mended(read_radiance(path))
    if len(linear) > _ROWS:
        linear = cv2.resize(linear, (2 * _ROWS, _ROWS), interpolation=cv2.INTER_AREA)
    floor = _FLOOR * float(np.median(linear))
    if floor <= 0:
        raise ValueError(f"{path}: more than half of the panorama is black; remove it")
    log = np.log2(np.maximum(linear, floor))
    h = len(log)
    over = np.roll(log, h, axis=1)  # across a pole lies the other side of the globe
    tall = np.concatenate((over[1::-1], log, over[: h - 3 : -1]))
    return np.ascontiguousarray(np.concatenate((tall[:, -2:], tall, tall[:, :2]), axis=1))


def look_into(path: Path, rays: Floats) -> Floats:
    """Return linear light (H, W, 3) seen along rays (H, W, 3) in a panorama file; bicubic in the logarithm.

    Convention:
        As `vitm.data.filming.panorama.Panorama`: y up, the centre of the panorama is -z, its first row the zenith.
    """
    log = _log_light(path)
    x, y, z = (rays[..., k] for k in range(3))
    h = len(log) - 4
    column = (np.arctan2(x, -z) / (2 * np.pi) + 0.5) * (2 * h) - 0.5 + 2
    row = (0.5 - np.arctan2(y, np.hypot(x, z)) / np.pi) * h - 0.5 + 2
    seen = cv2.remap(log, column.astype(np.float32), row.astype(np.float32), cv2.INTER_CUBIC)
    return np.asarray(np.exp2(np.minimum(seen, log.max())))


@dataclass(frozen=True)
class PanoramaTake:
    """A panorama filmed along a path."""

    source: PanoramaFile
    path: CameraPath
    size: int
    frames: int
    still: bool = False

    def planes(self, times: Sequence[int], placement: Placement) -> Floats:
        """Return the frames, see `Take`; each is filmed once, directly where and how it is placed."""
        distinct = {t: self._film(t, placement) for t in {*times}}
        return np.stack([distinct[t] for t in times]) * np.float32(self._gain_and_contrast[0])

    def homographies(self, times: Sequence[int], placement: Placement) -> Matrices:
        """Return K R K^-1, as placed, (N, 3, 3); the plane is the picture of the pose about which the camera turns."""
        plane = np.linalg.inv(self._camera(self.path.start))
        return np.stack([placement.matrix @ self._camera(self.path(t)) @ plane for t in times])

    @property
    def contrast(self) -> float:
        """Stops from the median to the 99th percentile of what is seen."""
        return self._gain_and_contrast[1]

    def _camera(self, pose: Pose) -> Homography:
        """Return the matrix from world directions to pixel positions (times depth)."""
        focal, middle = pose.focal(self.size), (self.size - 1) / 2
        lens = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
        return np.asarray(lens @ _TO_CAMERA @ pose.rotation.T)

    def _film(self, t: int, placement: Placement) -> Floats:
        pose = self.path(t)
        to_world = np.linalg.inv(placement.matrix @ self._camera(pose))
        per_degree = pose.focal(self.size) * np.pi / 180
        n = int(np.clip(round(len(_log_light(self.source.path)) / 180 / per_degree), 1, 4))  # samples across a pixel
        at = (np.arange(n * placement.crop) + 0.5) / n - 0.5
        x, y = np.meshgrid(at, at)
        rays = np.stack((x, y, np.ones_like(x)), -1) @ to_world.T
        seen = look_into(self.source.path, rays)
        return np.asarray(cv2.resize(seen, (placement.crop, placement.crop), interpolation=cv2.INTER_AREA))

    @cached_property
    def _gain_and_contrast(self) -> tuple[float, float]:
        """Gain and contrast, from five thumbnails along the path."""
        times = np.linspace(0, self.frames - 1, 5)
        seen = np.stack([look_into(self.source.path, self.path(float(t)).rays((48, 48))) for t in times])
        top = seen.max(-1)
        return base_gain(seen), float(np.log2(np.percentile(top, 99) / np.median(top)))
