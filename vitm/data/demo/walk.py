"""A camera that walks through a room of the demo: parallax, things that move, and exact flow with what is hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from vitm.color import bt2020_to_bt709
from vitm.data.arrays import Floats
from vitm.data.demo.raycast import BALLS, dot, meet
from vitm.data.demo.render import Eye
from vitm.data.demo.room import Room
from vitm.data.demo.scenes import DemoScene
from vitm.data.demo.stages import STAGES
from vitm.data.filming.camera import CameraPath, Pose
from vitm.data.filming.walk import Walk
from vitm.data.sequences.videos import Footage

_REACH = (0.5, 0.2, 0.5)  # metres from the middle of the room that the camera goes to, each way
_STRIDE = 30  # frames from one turning point of the camera to the next
_SWING = (12.0, 4.0, 2.5, 3.0)  # degrees of yaw, pitch, roll and zoom
_TURN = 30  # frames from one end of a ball's way to the other
_SEEN = 0.02  # share of the distance by which a point may be hidden and still counts as seen


@dataclass(frozen=True)
class RoomWalk(Footage):
    """A walk through a room, as a `Source` of long clips: it has parallax, which no homography describes.

    Convention: light maps are those of the room at rest, so balls that move take their shading along and leave their
        shadows behind. There is no glare.

    Attributes:
        name: The clip's name, see `Source`.
        scene: The room.
        frames: Number of frames.
        drift: Speed of the balls that are no lamps, in metres a frame, each to and fro in a direction of its own.
        size: Side of the square frames that it is rendered at.
    """

    name: str
    scene: DemoScene
    frames: int = 181
    drift: float = 0.0
    size: int = 256

    def length(self, frames: int) -> int:
        """Return its own length, whatever is asked for."""
        return self.frames

    def check(self) -> None:
        """Do nothing: a room is lit, and to render it takes longer than to look at a file."""

    def light(self, t: int) -> Floats:
        """Return the linear light (size, size, 3) of frame t, BT.709, of any scale; four rays a pixel."""
        eye = Eye(self.room(t), 16, self._eye.light)
        rays = self._rays(self._pose(t), 2 * self.size)
        angle = 1 / self._pose(t).focal(2 * self.size)
        seen = eye.trace(np.broadcast_to(self.place(t), rays.shape), rays, angle, first=True)
        roots = np.sqrt(np.sqrt(seen)).reshape(2 * self.size, 2 * self.size, 3)  # so that lamps keep smooth edges
        wide = torch.from_numpy(cv2.resize(roots, (self.size, self.size), interpolation=cv2.INTER_AREA) ** 4)
        return np.ascontiguousarray(bt2020_to_bt709(wide.permute(2, 0, 1)).clamp_min(0).permute(1, 2, 0).numpy())

    def flow(self, t: int, other: int) -> tuple[Tensor, Tensor]:
        """Return where the surfaces of frame t lie in another frame; mirror images are not followed.

        Returns:
            flow (1, 2, size, size) in pixels, x first, 0 behind the camera: `warp(frame other, flow)` lies on frame t;
            and seen (1, 1, size, size), bool: inside the other frame and not hidden there.
        """
        size = self.size, self.size
        rays = self._rays(self._pose(t), self.size)
        hit, distance, _ = meet(self.room(t), np.broadcast_to(self.place(t), rays.shape), rays, pencil=True)
        points = self.place(t) + rays * distance[:, None]
        for k in range(len(self._rest.balls)):
            points[hit == BALLS + k] += self._shift(k, other) - self._shift(k, t)
        towards = points - self.place(other)
        far = np.sqrt(dot(towards, towards))
        start = np.broadcast_to(self.place(other), rays.shape)
        _, nearest, _ = meet(self.room(other), start, towards / far[:, None])
        pixel = self._pose(other).project(towards.reshape(*size, 3), size)
        inside = ((pixel >= 0) & (pixel <= self.size - 1)).all(-1)  # not behind the camera, where it is NaN
        seen = inside & (nearest > (1 - _SEEN) * far).reshape(size)
        flow = np.nan_to_num(pixel - np.stack(np.meshgrid(*(np.arange(self.size),) * 2), -1))
        return torch.from_numpy(flow).float().permute(2, 0, 1)[None], torch.from_numpy(seen)[None, None]

    def place(self, t: int) -> Floats:
        """Return where the camera stands at frame t, (3,), metres in room coordinates."""
        walk = Walk((self.scene.seed, 7), -1.0, 1.0, _STRIDE, (3,))
        return np.asarray(walk(t) * _REACH, np.float32)

    def room(self, t: int) -> Room:
        """Return the room as it is at frame t."""
        balls = []
        for k, ball in enumerate(self._rest.balls):
            x, y, z = (np.asarray(ball.centre) + self._shift(k, t)).tolist()
            balls.append(replace(ball, centre=(x, y, z)))
        return replace(self._rest, balls=tuple(balls))

    @cached_property
    def _path(self) -> CameraPath:
        return replace(self.scene.path(0, 4), swing=_SWING)

    @property
    def _eye(self) -> Eye:
        return _eye_of(self.scene)

    @property
    def _rest(self) -> Room:
        return self._eye.room

    def _pose(self, t: int) -> Pose:
        return self._path(t)

    def _rays(self, pose: Pose, side: int) -> Floats:
        rays = pose.rays((side, side)).reshape(-1, 3).astype(np.float32)
        return np.asarray(rays / np.sqrt(dot(rays, rays))[:, None])

    def _shift(self, k: int, t: int) -> Floats:
        """Return how far ball k is from where it rests, (3,); lamps hang still."""
        if not self.drift or self._rest.balls[k].nits:
            return np.zeros(3, np.float32)
        angle = np.random.default_rng((self.scene.seed, 8, k)).uniform(0, 2 * np.pi)
        way = self.drift * _TURN / np.pi * np.arcsin(np.sin(np.pi * t / _TURN))  # a triangular wave
        return np.array([np.cos(angle) * way, 0.0, np.sin(angle) * way], np.float32)


@lru_cache(maxsize=8)
def _eye_of(scene: DemoScene) -> Eye:
    return Eye(STAGES[scene.stage](np.random.default_rng(scene.seed), list(scene.photos), scene.surface), 16)
