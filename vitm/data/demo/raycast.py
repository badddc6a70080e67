"""Where rays meet the faces, balls and blocks of a room; all arrays are flat lists of rays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitm.data.arrays import Bools, Floats, Ints
from vitm.data.demo.room import Ball, Box, Room, Triple

BALLS, BLOCKS = 6, 1000  # what a ray meets first: a face 0..5, the first of the balls, the first of the blocks


def dot(a: Floats, b: Floats) -> Floats:
    """Return products of the rows of two (N, 3)."""
    product: Floats = np.einsum("ni,ni->n", a, b)
    return product


def _towards(centre: Triple, radius: float, origin: Floats, rays: Floats) -> tuple[Ints, Floats, Floats]:
    """Return which unit rays meet a sphere from outside, the distance to the nearest approach, and to the sphere."""
    offset = np.asarray(centre, np.float32) - origin
    ahead = dot(offset, rays)
    under = ahead * ahead - dot(offset, offset) + np.float32(radius**2)
    (at,) = np.nonzero((under > 0) & (ahead > 0))
    return at, ahead[at], ahead[at] - np.sqrt(under[at])


def in_sight(rays: Floats, centre: NDArray[Any], radius: float) -> bool:
    """Return whether a pencil of unit rays from the origin can meet a sphere."""
    middle = np.ones(len(rays), rays.dtype) @ rays
    middle /= np.linalg.norm(middle)
    spread = np.arccos(np.clip((rays @ middle).min(), -1, 1))
    away = np.asarray(centre)
    distance = np.linalg.norm(away)
    angle = np.arccos(np.clip(away @ middle / distance, -1, 1))
    return bool(distance <= radius or angle <= spread + np.arcsin(radius / distance))


def ball_distance(ball: Ball, origin: Floats, rays: Floats) -> Floats:
    """Return distance along unit rays to a ball, inf where they miss it or start in it."""
    out = np.full(len(rays), np.inf, np.float32)
    at, _, near = _towards(ball.centre, ball.radius, origin, rays)
    out[at] = np.where(near > 1e-4, near, np.inf)
    return out


def block_distance(block: Box, origin: Floats, rays: Floats) -> tuple[Floats, Ints]:
    """Return distance along unit rays to a block (inf where they miss it), and the axis of the entered face."""
    low, high = np.asarray(block.low, np.float32), np.asarray(block.high, np.float32)
    out, face = np.full(len(rays), np.inf, np.float32), np.zeros(len(rays), np.int64)
    at, _, _ = _towards(tuple((low + high) / 2), float(np.linalg.norm(high - low) / 2), origin, rays)
    inverse = 1 / np.where(np.abs(rays[at]) < 1e-8, np.float32(1e-8), rays[at])
    a, b = (low - origin[at]) * inverse, (high - origin[at]) * inverse
    near, far = np.minimum(a, b), np.maximum(a, b)
    enter, leave = near.T.max(0), far.T.min(0)
    met = (enter < leave) & (enter > 1e-4)
    out[at[met]], face[at[met]] = enter[met], near.T.argmax(0)[met]
    return out, face


def blocked(room: Room, points: Floats, rays: Floats, distance: Floats) -> Bools:
    """Return whether a ball or block stands between points and `distance` along their rays."""
    hidden = np.zeros(len(points), bool)
    start = points + rays * np.float32(1e-3)
    for ball in room.balls:
        if ball.nits:
            continue  # lamps throw no shadow
        hidden |= ball_distance(ball, start, rays) < distance - 2e-3
    for block in room.blocks:
        hidden |= block_distance(block, start, rays)[0] < distance - 2e-3
    return hidden


def exit_of(room: Room, origin: Floats, rays: Floats) -> tuple[Ints, Floats]:
    """Return the face through which rays leave the room, and the distance to it."""
    low, high = np.asarray(room.low, np.float32), np.asarray(room.high, np.float32)
    safe = np.where(np.abs(rays) < 1e-8, np.float32(1e-8), rays)
    x, y, z = (np.where(safe > 0, high - origin, low - origin) / safe).T
    nearest = np.minimum(np.minimum(x, y), z)
    axis = np.where(nearest == x, 0, np.where(nearest == y, 1, 2))
    return 2 * axis + (np.take_along_axis(safe, axis[:, None], 1)[:, 0] > 0), nearest


def meet(room: Room, origin: Floats, rays: Floats, pencil: bool = False) -> tuple[Ints, Floats, Ints]:
    """Return what unit rays meet first (see `BALLS`), at which distance, and the axis of the entered face of a block.

    Args:
        room: The room.
        origin: Start of each ray (N, 3).
        rays: Directions (N, 3).
        pencil: Whether all start at one point, so that bodies out of sight are left out at once.
    """
    hit, distance = exit_of(room, origin, rays)
    entered = np.zeros_like(hit)
    for k, ball in enumerate(room.balls, BALLS):
        if not pencil or in_sight(rays, np.asarray(ball.centre) - origin[0], ball.radius):
            near = ball_distance(ball, origin, rays)
            hit, distance = np.where(near < distance, k, hit), np.minimum(near, distance)
    for k, block in enumerate(room.blocks, BLOCKS):
        low, high = np.asarray(block.low), np.asarray(block.high)
        if not pencil or in_sight(rays, (low + high) / 2 - origin[0], float(np.linalg.norm(high - low)) / 2):
            near, axis = block_distance(block, origin, rays)
            hit, entered = np.where(near < distance, k, hit), np.where(near < distance, axis, entered)
            distance = np.minimum(near, distance)
    return hit, distance, entered
