"""A turning camera: its path, the exact optical flow between its frames, and the clips that it films."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from vitm.color import pq_eotf
from vitm.data.arrays import Floats
from vitm.data.filming.develop import develop
from vitm.data.filming.panorama import Panorama


@dataclass(frozen=True)
class Pose:
    """Direction and angle of view of a camera at the origin, in degrees.

    Attributes:
        yaw: Angle to the right of -z.
        pitch: Angle upwards.
        roll: Angle clockwise, as seen from behind the camera.
        field_of_view: Horizontal angle of view.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    field_of_view: float = 55.0

    @property
    def rotation(self) -> Floats:
        """Matrix (3, 3) from camera coordinates (x right, y up, -z ahead) to the world's."""
        yaw, pitch, roll = np.radians((-self.yaw, self.pitch, -self.roll))
        c, s = np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll))
        about_y = np.array([[c[0], 0, s[0]], [0, 1, 0], [-s[0], 0, c[0]]])
        about_x = np.array([[1, 0, 0], [0, c[1], -s[1]], [0, s[1], c[1]]])
        about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
        return np.asarray(about_y @ about_x @ about_z)

    def focal(self, width: int) -> float:
        """Return the focal length in pixels."""
        return width / 2 / float(np.tan(np.radians(self.field_of_view) / 2))

    def rays(self, size: tuple[int, int]) -> Floats:
        """Return the world directions (H, W, 3) of the pixel centres of an (H, W) picture, not normalised."""
        height, width = size
        x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, (height - 1) / 2 - np.arange(height))
        camera = np.stack((x, y, np.full_like(x, -self.focal(width))), -1)
        return camera @ self.rotation.T

    def project(self, rays: Floats, size: tuple[int, int]) -> Floats:
        """Return pixel positions (H, W, 2), x first, at which this camera sees world directions; NaN behind it."""
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

    Attributes:
        start: Pose around which the camera moves.
        seed: Seed of the phases and periods.
        swing: Amplitudes of yaw, pitch, roll and field of view, in degrees.
        fps: Frames a second.
    """

    start: Pose = Pose()
    seed: int = 0
    swing: tuple[float, float, float, float] = (25.0, 6.0, 2.5, 4.0)
    fps: float = 24.0

    def __call__(self, frame: float) -> Pose:
        """Return the pose at a frame."""
        rng = np.random.default_rng(self.seed)
        period = rng.uniform((8, 5, 4, 7), (14, 9, 7, 12)) * [[1.0], [0.43]]  # seconds
        phase = rng.uniform(0, 2 * np.pi, (2, 4))
        wave = np.sin(2 * np.pi * frame / self.fps / period + phase)
        yaw, pitch, roll, zoom = np.asarray(self.swing) * (0.85 * wave[0] + 0.15 * wave[1])
        s = self.start
        return Pose(s.yaw + yaw, s.pitch + pitch, s.roll + roll, s.field_of_view + zoom)


def pose_flow(wanted: Pose, warped: Pose, size: tuple[int, int]) -> Tensor:
    """Return the optical flow between two frames of a turning and zooming camera, in closed form.

    Args:
        wanted: Pose of the frame that the warp gives.
        warped: Pose of the frame that is warped.
        size: Height and width.

    Returns:
        (2, H, W) in pixels, x first: `warp(frame at warped, flow)` is the frame at `wanted`. NaN behind the camera.
    """
    rays = wanted.rays(size)
    flow = warped.project(rays, size) - wanted.project(rays, size)
    return torch.from_numpy(rearrange(flow, "h w xy -> xy h w")).float().contiguous()


@dataclass(frozen=True)
class FilmedClip:
    """A filmed clip of T frames.

    Attributes:
        hdr_pq: (T, 3, H, W), BT.2020, PQ, 10-bit codes over 1023.
        sdr: (T, 3, H, W), BT.709, gamma code, 8-bit codes over 255.
        flow_forward: (T-1, 2, H, W); warping frame t+1 with it gives frame t.
        flow_backward: (T-1, 2, H, W); warping frame t with it gives frame t+1.
        gain: (T,), the exposure of the SDR frames (`vitm.data.filming.develop`).
    """

    hdr_pq: Tensor
    sdr: Tensor
    flow_forward: Tensor
    flow_backward: Tensor
    gain: Tensor

    @property
    def nits(self) -> Tensor:
        """The HDR frames (T, 3, H, W) as linear BT.2020 light in cd/m2."""
        return pq_eotf(self.hdr_pq)


def film(
    world: Panorama, path: CameraPath, n_frames: int, size: tuple[int, int] = (216, 384), first: int = 0
) -> FilmedClip:
    """Film a world: HDR10 and SDR of the same frames, and the exact flow between them.

    Args:
        world: The panorama that the camera sees.
        path: The way the camera turns.
        n_frames: Number of frames, at least 1.
        size: Height and width of a frame.
        first: Frame of the path at which the clip starts.

    Raises:
        ValueError: The number of frames is below 1.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames is {n_frames}: expected at least 1")
    poses = [path(first + k) for k in range(n_frames)]
    h, w = size
    frames = np.stack([frame(world, pose, size) for pose in poses])
    exact = torch.from_numpy(rearrange(frames, "t h w c -> t c h w"))
    sdr, gain = develop(pq_eotf(exact))
    pairs = list(pairwise(poses))
    none = torch.zeros(0, 2, h, w)
    return FilmedClip(
        hdr_pq=((exact * 1023).round() / 1023).contiguous(),
        sdr=((sdr * 255).round() / 255).contiguous(),
        flow_forward=torch.stack([pose_flow(a, b, size) for a, b in pairs]) if pairs else none,
        flow_backward=torch.stack([pose_flow(b, a, size) for a, b in pairs]) if pairs else none,
        gain=gain,
    )


def frame(world: Panorama, pose: Pose, size: tuple[int, int]) -> Floats:
    """Return a frame (H, W, 3) in PQ, each pixel the mean of several samples where the panorama is finer."""
    h, w = size
    finer = world.pixels_per_degree / (pose.focal(w) * np.pi / 180)
    n = int(np.clip(round(finer), 1, 8))
    return np.asarray(cv2.resize(world.look(pose.rays((n * h, n * w))), (w, h), interpolation=cv2.INTER_AREA))
