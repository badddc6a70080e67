"""Motion that is known exactly: every frame is a homography of one plane, and so is the flow between any two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import torch
from kornia.geometry.transform import warp_perspective
from numpy.typing import NDArray
from torch import Tensor

from vitm.data.arrays import Floats
from vitm.data.filming.walk import Key, Walk
from vitm.ops.copies import copied_to

Homography = NDArray[np.float64]  # (3, 3), acts on pixel positions (x, y, 1); pixel centres are the integers

_DISPLACEMENT = 0.1  # of a corner, as a share of the side, at most
_TOGETHER = 0.6  # share of it that the four corners have in common: the picture shifts more than it bends
_POSE_SPACING = 30  # frames between two key poses


@dataclass(frozen=True)
class Placement:
    """The part of a square picture that a sample shows, and how it is turned: crop, then mirror, then turn.

    Attributes:
        size: Side of the picture in pixels.
        crop: Side of the part in pixels.
        x: Column of its left edge.
        y: Row of its upper edge.
        across: Whether it is mirrored left to right.
        down: Whether it is mirrored top to bottom.
        turns: Number of quarter turns anticlockwise.
    """

    size: int
    crop: int
    x: int = 0
    y: int = 0
    across: bool = False
    down: bool = False
    turns: int = 0

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, crop: int, *, flips: bool, rotations: bool) -> Self:
        """Draw a random placement; the draws do not depend on which of them are used."""
        x, y = rng.integers(size - crop + 1, size=2)
        across, down = rng.random(2) < 0.5
        turns = rng.integers(4)
        return cls(size, crop, int(x), int(y), bool(flips and across), bool(flips and down), int(rotations * turns))

    def __call__(self, picture: Floats) -> Floats:
        """Return the part (crop, crop, 3) of a picture (size, size, 3), a view."""
        part = picture[self.y : self.y + self.crop, self.x : self.x + self.crop]
        part = part[:: -1 if self.down else 1, :: -1 if self.across else 1]
        return np.rot90(part, self.turns)

    @property
    def matrix(self) -> Homography:
        """Homography from positions in the picture to positions in the part."""
        last = self.crop - 1
        moved = np.array([[1, 0, -self.x], [0, 1, -self.y], [0, 0, 1.0]])
        if self.across:
            moved = np.array([[-1, 0, last], [0, 1, 0], [0, 0, 1.0]]) @ moved
        if self.down:
            moved = np.array([[1, 0, 0], [0, -1, last], [0, 0, 1.0]]) @ moved
        quarter = np.array([[0, 1, 0], [-1, 0, last], [0, 0, 1.0]])  # x' = y, y' = last - x
        return np.asarray(np.linalg.matrix_power(quarter, self.turns) @ moved)


@dataclass(frozen=True)
class PerspectivePath:
    """A hand-held camera before a still: its four corners walk by at most 10 % of the side.

    "A random perspective transformation on the HDR images to simulate camera motions" (VITM-TC, section 3.5). Assumed:
    key poses every 30 frames, joined by half cosine waves; 6 % of the side are drawn for all corners together, 4 % for
    each by itself. The plane is larger than the frame, so that no frame looks past its edge.

    Attributes:
        key: Seeds of the path.
        size: Side of the frames in pixels.
    """

    key: Key
    size: int

    @property
    def side(self) -> int:
        """Side of the square plane in pixels: the frame and a margin of an eighth on each side."""
        return self.size + 2 * (-(-self.size // 8))

    def __call__(self, t: int) -> Homography:
        """Return the homography (3, 3) from positions on the plane to positions in frame t."""
        reach = _DISPLACEMENT * self.size
        shared = Walk((*self.key, 0), -_TOGETHER * reach, _TOGETHER * reach, _POSE_SPACING, (1, 2))
        own = Walk((*self.key, 1), (_TOGETHER - 1) * reach, (1 - _TOGETHER) * reach, _POSE_SPACING, (4, 2))
        last = self.size - 1
        corners = np.array([[0, 0], [last, 0], [last, last], [0, last]], np.float64)
        seen = corners + (self.side - self.size) / 2 + shared(t) + own(t)
        return np.asarray(cv2.getPerspectiveTransform(seen.astype(np.float32), corners.astype(np.float32)))


def film_still(still: Tensor, homographies: Tensor, size: int) -> Tensor:
    """Film a still with a moving camera: Kornia's warp on the still's device, bilinear in linear light.

    Convention:
        Pixel centres are the integers (`align_corners=True`, or the identity would not be one), and the grid is fp32
        whatever the precision of training is.

    Args:
        still: (3, H, W), linear RGB.
        homographies: (N, 3, 3), positions on the still -> positions in the frame.
        size: Side of the square frames in pixels.

    Returns:
        (N, 3, size, size), fp32; what lies past the edge of the still repeats the edge.
    """
    with torch.autocast(still.device.type, enabled=False):
        frames: Tensor = warp_perspective(
            still.float().expand(len(homographies), -1, -1, -1),
            homographies.float(),
            (size, size),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
    return frames


def homography_flow(
    h_from: Tensor, h_to: Tensor, size: tuple[int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return where the pixels of one frame lie in another, in closed form.

    Convention:
        `warp(frame_to, flow)` lies on the grid of frame_from.

    Args:
        h_from: (B, 3, 3), positions on the plane -> positions in the frame whose pixels are asked for; NaN: not known.
        h_to: (B, 3, 3), the same of the frame that will be warped.
        size: Height and width of both frames.
        device: Device of the result, which does not wait for homographies of the host; None for theirs.

    Returns:
        flow (B, 2, H, W) in pixels, x first, float32, 0 where it is not known or lies behind the camera; and valid
        (B, 1, H, W), bool: known, and inside the other frame.

    Raises:
        ValueError: The shapes do not belong together.
    """
    if h_from.ndim != 3 or h_from.shape[1:] != (3, 3) or h_from.shape != h_to.shape:
        raise ValueError(f"homography_flow needs two (B, 3, 3), got {tuple(h_from.shape)} and {tuple(h_to.shape)}")
    height, width = size
    known = (h_from.isfinite() & h_to.isfinite()).flatten(1).all(1)[:, None, None]
    same = torch.eye(3, dtype=torch.float64, device=h_from.device)
    a, b = (torch.where(known, h.double(), same) for h in (h_from, h_to))
    across = b @ torch.linalg.inv(a)  # where the homographies are: a GPU would wait
    if device is not None:
        across, known = copied_to(device, across), copied_to(device, known)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64, device=across.device) for n in size), indexing="ij")
    u, v, w = torch.einsum("bij,jhw->ibhw", across, torch.stack((x, y, torch.ones_like(x))))
    ahead = (w > 0) & known
    u_pixel, v_pixel = (torch.where(ahead, p / torch.where(ahead, w, 1), own) for p, own in ((u, x), (v, y)))
    inside = (u_pixel >= 0) & (u_pixel <= width - 1) & (v_pixel >= 0) & (v_pixel <= height - 1)
    return torch.stack((u_pixel - x, v_pixel - y), 1).float(), (ahead & inside)[:, None]
