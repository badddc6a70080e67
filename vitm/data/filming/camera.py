"""A turning camera: its path, the exact optical flow between its frames, and the clips it films."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitm.color import pq_eotf
from vitm.data.filming.develop import develop
from vitm.data.filming.panorama import Panorama

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pose:
    """Where a camera at the origin looks; angles in degrees.

    Attributes:
        yaw: to the right of -z.
        pitch: upwards.
        roll: clockwise, as seen from behind the camera.
        field_of_view: horizontal.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    field_of_view: float = 55.0

    @property
    def rotation(self) -> Floats:
        """(3, 3), camera coordinates (x right, y up, -z ahead) to the world's."""
        yaw, pitch, roll = np.radians((-self.yaw, self.pitch, -self.roll))
        c, s = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
        about_y = np.array([[c[0], 0, s[0]], [0, 1, 0], [-s[0], 0, c[0]]])
        about_x = np.array([[1, 0, 0], [0, c[1], -s[1]], [0, s[1], c[1]]])
        about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
        return np.asarray(about_y @ about_x @ about_z)

    def focal(self, width: int) -> float:
        """Focal length in pixels."""
        return width / 2 / float(np.tan(np.radians(self.field_of_view) / 2))

    def rays(self, size: tuple[int, int]) -> Floats:
        """World directions of the pixel centres of an (H, W) picture, (H, W, 3), not normalised."""
        height, width = size
        x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, (height - 1) / 2 - np.arange(height))
        camera = np.stack((x, y, np.full_like(x, -self.focal(width))), -1)
        return camera @ self.rotation.T

    def project(self, rays: Floats, size: tuple[int, int]) -> Floats:
        """Pixel positions (H, W, 2), x first, at which this camera sees world directions; NaN behind it."""
        height, width = size
        camera = rays @ self.rotation
        ahead = np.where(camera[..., 2] < 0, -camera[..., 2], np.nan)
        focal = self.focal(width)
        x = camera[..., 0] / ahead * focal + (width - 1) / 2
        y = (height - 1) / 2 - camera[..., 1] / ahead * focal
        return np.stack((x, y), -1)


@dataclass(frozen=True)
class CameraPath:
    """A hand that turns slowly: every angle is a start, and a sum of seeded sinusoids around it.

    Args:
        start: the pose around which the camera moves.
        seed: of the phases and periods.
        swing: amplitudes of yaw, pitch, roll and field of view, degrees.
        fps: frames a second.
    """

    start: Pose = Pose()
    seed: int = 0
    swing: tuple[float, float, float, float] = (25.0, 6.0, 2.5, 4.0)
    fps: float = 24.0

    def __call__(self, frame: float) -> Pose:
        """The pose at a frame."""
        rng = np.random.default_rng(self.seed)
        period = rng.uniform((8, 5, 4, 7), (14, 9, 7, 12)) * [[1.0], [0.43]]  # seconds
        phase = rng.uniform(0, 2 * np.pi, (2, 4))
        wave = np.sin(2 * np.pi * frame / self.fps / period + phase)
        yaw, pitch, roll, zoom = np.asarray(self.swing) * (0.85 * wave[0] + 0.15 * wave[1])
        s = self.start
        return Pose(s.yaw + yaw, s.pitch + pitch, s.roll + roll, s.field_of_view + zoom)


def exact_flow(here: Pose, there: Pose, size: tuple[int, int]) -> Tensor:
    """Where the pixels of one frame lie in another frame of a turning and zooming camera, in closed form.

    Args:
        here: the pose of the frame that is wanted.
        there: the pose of the frame that is warped.
        size: (H, W).

    Returns:
        (2, H, W) in pixels, x first: `warp(frame there, flow)` is the frame here. NaN behind the camera.
    """
    rays = here.rays(size)
    return torch.from_numpy(there.project(rays, size) - here.project(rays, size)).permute(2, 0, 1).float().contiguous()


@dataclass(frozen=True)
class Clip:
    """A filmed clip of T frames.

    Attributes:
        hdr_pq: (T, 3, H, W), BT.2020, PQ, 10-bit codes over 1023.
        sdr: (T, 3, H, W), BT.709, gamma code, 8-bit codes over 255.
        flow_forward: (T-1, 2, H, W); warping frame t+1 with it gives frame t.
        flow_backward: (T-1, 2, H, W); warping frame t with it gives frame t+1.
        gain: (T,) the exposure of the SDR frames (`vitm.data.filming.develop`).
    """

    hdr_pq: Tensor
    sdr: Tensor
    flow_forward: Tensor
    flow_backward: Tensor
    gain: Tensor

    @property
    def nits(self) -> Tensor:
        """(T, 3, H, W), linear BT.2020 in cd/m2."""
        return pq_eotf(self.hdr_pq)


def film(world: Panorama, path: CameraPath, n_frames: int, size: tuple[int, int] = (216, 384), first: int = 0) -> Clip:
    """Film a world: HDR10 and SDR of the same frames, and the exact flow between them.

    Args:
        world: what the camera sees.
        path: how it turns.
        n_frames: number of frames, at least 1.
        size: (H, W) of a frame.
        first: frame of the path at which the clip starts.

    Raises:
        ValueError: for no frames.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames is {n_frames}: expected at least 1")
    poses = [path(first + k) for k in range(n_frames)]
    h, w = size
    frames = np.stack([_frame(world, pose, size) for pose in poses])
    exact = torch.from_numpy(frames).permute(0, 3, 1, 2)
    sdr, gain = develop(pq_eotf(exact))
    pairs = list(pairwise(poses))
    none = torch.zeros(0, 2, h, w)
    return Clip(
        hdr_pq=((exact * 1023).round() / 1023).contiguous(),
        sdr=((sdr * 255).round() / 255).contiguous(),
        flow_forward=torch.stack([exact_flow(a, b, size) for a, b in pairs]) if pairs else none,
        flow_backward=torch.stack([exact_flow(b, a, size) for a, b in pairs]) if pairs else none,
        gain=gain,
    )


def _frame(world: Panorama, pose: Pose, size: tuple[int, int]) -> Floats:
    """A frame, (H, W, 3) in PQ; where the panorama is finer than the frame, several samples a pixel are averaged."""
    h, w = size
    finer = world.pixels_per_degree / (pose.focal(w) * np.pi / 180)
    n = int(np.clip(round(finer), 1, 8))
    return np.asarray(cv2.resize(world.look(pose.rays((n * h, n * w))), (w, h), interpolation=cv2.INTER_AREA))
