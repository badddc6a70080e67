"""A room around the camera: its faces, and the pictures, lamps, windows, balls and blocks in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitm.data.arrays import Floats, Ints
from vitm.data.demo.photographs import Texture

Triple = tuple[float, float, float]
# Faces 0..5 are -x, +x, -y (floor), +y (ceiling), -z, +z; the axes that span a face, across and up.
_ACROSS = (2, 2, 0, 0, 0, 0)
_UP = (1, 1, 2, 2, 1, 1)
_RIGHT_TO_LEFT = (0, 5)  # faces whose first axis runs to the left for who looks at them from inside


@dataclass(frozen=True)
class Panel:
    """A rectangle on a face of the room: a picture (`nits` 0), or a lamp, screen or window.

    Attributes:
        face: 0..5 for -x, +x, -y, +y, -z, +z.
        centre: Across and up, metres in room coordinates.
        size: Width and height in metres.
        texture: Reflectance, or the emitted light on a scale where 1 is `nits`.
        nits: Luminance scale of the emitted light before the room is exposed.
        sky: Whether the sun shines through it.
    """

    face: int
    centre: tuple[float, float]
    size: tuple[float, float]
    texture: Texture
    nits: float = 0.0
    sky: bool = False


@dataclass(frozen=True)
class Ball:
    """A sphere; `mirror` is its reflectance at normal incidence, `nits` its own light."""

    centre: Triple
    radius: float
    texture: Texture
    mirror: float = 0.04
    nits: float = 0.0


@dataclass(frozen=True)
class Box:
    """An axis-aligned block from `low` to `high`."""

    low: Triple
    high: Triple
    texture: Texture


@dataclass(frozen=True)
class Spot:
    """A small lamp that throws a cone of light: `power` in candela per colour, `focus` the exponent of its lobe."""

    position: Triple
    target: Triple
    power: Triple
    focus: float = 12.0


@dataclass(frozen=True)
class Room:
    """A room from `low` to `high` (metres) around the camera, which stands at the origin.

    Attributes:
        low, high: opposite corners; `low` is negative, `high` positive.
        walls: Six textures, one a face.
        tile: Height in metres of one repetition of each wall's texture.
        polish: The floor's reflectance at normal incidence, 0 for a dull floor.
        sun: Direction towards the sun and its irradiance, or None.
        ambient: Light from everywhere, in lux / pi.
    """

    low: Triple
    high: Triple
    walls: tuple[Texture, ...]
    tile: tuple[float, ...]
    panels: tuple[Panel, ...] = ()
    balls: tuple[Ball, ...] = ()
    blocks: tuple[Box, ...] = ()
    spots: tuple[Spot, ...] = ()
    sun: tuple[Triple, Triple] | None = None
    polish: float = 0.0
    ambient: Triple = (0.0, 0.0, 0.0)


def axes_of(room: Room, face: int) -> tuple[int, int, int, float]:
    """Return a face's own axis, the axes across and up it, and its place on its own axis."""
    axis = face // 2
    return axis, _ACROSS[face], _UP[face], (room.high if face % 2 else room.low)[axis]


def normal_of(face: int) -> Floats:
    """Return the unit normal of a face, (3,), into the room."""
    normal = np.zeros(3, np.float32)
    normal[face // 2] = -1 if face % 2 else 1
    return normal


def grid_of(room: Room, face: int, n: int) -> Floats:
    """Return the centres of n x n cells of a face, (n n, 3), top row first."""
    axis, across, up, level = axes_of(room, face)
    step = (np.arange(n, dtype=np.float32) + 0.5) / n
    points = np.empty((n, n, 3), np.float32)
    points[..., axis] = level
    points[..., across] = room.low[across] + step * (room.high[across] - room.low[across])
    points[..., up] = room.high[up] - step[:, None] * (room.high[up] - room.low[up])
    return points.reshape(-1, 3)


def panel_grid(room: Room, panel: Panel, columns: int, rows: int) -> Floats:
    """Return the centres of rows x columns cells of a panel, (rows columns, 3), in the order of its texture."""
    axis, across, up, level = axes_of(room, panel.face)
    u = (np.arange(columns) + 0.5) / columns - 0.5
    v = 0.5 - (np.arange(rows) + 0.5) / rows
    points = np.empty((rows, columns, 3), np.float32)
    points[..., axis] = level
    points[..., across] = panel.centre[0] + (-u if panel.face in _RIGHT_TO_LEFT else u) * panel.size[0]
    points[..., up] = panel.centre[1] + v[:, None] * panel.size[1]
    return points.reshape(-1, 3)


def panel_places(panel: Panel, points: Floats) -> tuple[Ints, Floats, Floats]:
    """Return which places (N, 3) of a panel's face lie on it, and where: across and down its texture."""
    u = (points[:, _ACROSS[panel.face]] - panel.centre[0]) / panel.size[0] + 0.5
    v = 0.5 - (points[:, _UP[panel.face]] - panel.centre[1]) / panel.size[1]
    (at,) = np.nonzero((u > 0) & (u < 1) & (v > 0) & (v < 1))
    return at, 1 - u[at] if panel.face in _RIGHT_TO_LEFT else u[at], v[at]


def surface_of(room: Room, face: int, points: Floats, footprint: Floats) -> tuple[Floats, Floats]:
    """Return reflectance and emitted light of places on a face, (N, 3) each; footprint (N,) in metres."""
    _, across, up, _ = axes_of(room, face)
    s, t = points[:, across], points[:, up]
    tile, texture = room.tile[face], room.walls[face]
    albedo = texture(s / (tile * texture.aspect), -t / tile, footprint / tile)
    emitted = np.zeros_like(albedo)
    for panel in room.panels:
        if panel.face != face:
            continue
        at, u, v = panel_places(panel, points)
        seen = panel.texture(u, v, footprint[at] / panel.size[1])
        albedo[at] = 0.02 if panel.nits else seen
        emitted[at] = seen * panel.nits
    return albedo, emitted
