"""Aim training samples at what a key has clipped, and at references that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from vitm.data.arrays import Bools, Floats
from vitm.data.filming.motion import Placement
from vitm.data.filming.walk import Walk
from vitm.data.sequences.source import Take

POINTS = 32  # of a frame, in both directions, that are looked at
FULL = 0.95**2.2  # linear light that counts as clipped: where the mask of VITM-TC's equation 1 begins
ENOUGH = 0.1  # share of what is clipped that references have to show, where they have to


@dataclass(frozen=True)
class Aim:
    """What training samples have to show. With the defaults they are drawn blindly.

    A network that seldom meets a clue is taught that clues are useless.

    Attributes:
        tries: Draws of a key, its references and a crop that a sample is chosen from: the first that is as asked for,
            or else the best.
        clipped: Least share of a crop that is clipped.
        shown: Share of the samples in which the references have to show at least a tenth of what is clipped.
        by_show: Share of the samples whose references are chosen by what they show, each what those before it do not,
            from all frames between the farthest ones; others are drawn at the strides.

    Raises:
        ValueError: `tries` is below 1, or another number is no share.
    """

    tries: int = 1
    clipped: float = 0.0
    shown: float = 0.0
    by_show: float = 0.0

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries is {self.tries}; expected 1 or more")
        for field in fields(self)[1:]:
            if not 0 <= (share := getattr(self, field.name)) <= 1:
                raise ValueError(f"{field.name} is {share}; expected a share from 0 to 1")


class View(NamedTuple):
    """What frames show of a key at points of a crop, on a grid over the whole frame.

    Attributes:
        clipped: (N,), whether the key clips a point.
        shown: (R, N), whether a reference shows a point that the key clips.
        points: Number of points in the crop.
    """

    clipped: Bools
    shown: Bools
    points: int

    @property
    def clipped_share(self) -> float:
        """Share of the crop that is clipped."""
        return float(self.clipped.sum() / max(self.points, 1))

    @property
    def shown_share(self) -> float:
        """Share of what is clipped that any reference shows."""
        return float(self.shown.any(0).sum() / max(self.clipped.sum(), 1))


def look(take: Take, walk: Walk, placement: Placement, key: int, references: Sequence[int]) -> View:
    """Return what references show of a key; only the key is filmed.

    Convention: where the motion is not known, the camera is taken to stand still.

    Args:
        take: The clip.
        walk: Exposure of its frames, in stops.
        placement: The crop.
        key: Time of the key.
        references: Times of the references.
    """
    whole = Placement(placement.size, placement.size)
    grid = (np.arange(POINTS) + 0.5) * placement.size / POINTS - 0.5
    position = np.stack([*(axis.ravel() for axis in np.meshgrid(grid, grid)), np.ones(POINTS**2)])
    to_key, *to_references = take.homographies([key, *references], placement)
    (light,) = take.planes([key], whole)
    onto = np.linalg.inv(take.homographies([key], whole)[0]) if take.still else np.eye(3)
    x, y = np.clip(np.rint(_project(onto, position)[:2]), 0, len(light) - 1).astype(int)
    brightest = light[y, x].max(-1)
    start = placement.matrix @ position
    within = _inside(start, placement.crop)
    clipped = within & (brightest * 2.0 ** float(walk(key)) >= FULL)
    shown = np.zeros((len(references), POINTS**2), bool)
    for r, (time, matrix) in enumerate(zip(references, to_references, strict=True)):
        end = _project(matrix @ np.linalg.inv(to_key), start) if np.isfinite(matrix).all() else start
        shown[r] = clipped & _inside(end, placement.crop) & (brightest * 2.0 ** float(walk(time)) < FULL)
    return View(clipped, shown, int(within.sum()))


def choose(view: View, references: Sequence[int], n: int) -> list[int]:
    """Return at most n references, each the one that shows most of what those before it do not."""
    chosen: list[int] = []
    missing = view.clipped.copy()
    for _ in range(n):
        counts = (view.shown & missing).sum(1) if len(references) else np.zeros(1, np.int64)
        if not counts.max(initial=0):
            break
        best = int(counts.argmax())
        chosen.append(references[best])
        missing &= ~view.shown[best]
    return chosen


def _project(matrix: Floats, position: Floats) -> Floats:
    u, v, w = matrix @ position
    return np.stack([u / w, v / w, np.where(w > 0, 1.0, np.nan)])


def _inside(position: Floats, side: int) -> Bools:
    x, y, w = position
    inside: Bools = (w > 0) & (x >= 0) & (x <= side - 1) & (y >= 0) & (y <= side - 1)
    return inside
