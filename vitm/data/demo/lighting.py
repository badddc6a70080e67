"""How a room is lit: lamps, sun and shadows, and one bounce of light between its walls, kept as light maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vitm.data.arrays import Floats, Ints
from vitm.data.demo.photographs import scatter_remap
from vitm.data.demo.raycast import blocked, dot, exit_of
from vitm.data.demo.room import (
    Ball,
    Box,
    Room,
    Triple,
    axes_of,
    grid_of,
    normal_of,
    panel_grid,
    panel_places,
    surface_of,
)

_SIDE = 256  # cells along a face's light map: sun and shadows
_DIFFUSE = 96  # places along a face at which the lamps are computed
_INDIRECT = 24  # and the bounced light
_PATCHES = 6  # along a face, that bounce light
_BALL = 32  # rows of a ball's light map
_BLOCK = 16  # cells along a face of a block
_BARS = 0.006  # a window darker than this holds the sun back


@dataclass
class Lamps:
    """Small lamps: places (S, 3), axes (S, 3), intensity (S, 3), exponent of the lobe (S)."""

    place: Floats
    axis: Floats
    power: Floats
    focus: Floats

    def irradiance(self, points: Floats, normals: Floats, room: Room | None = None) -> Floats:
        """Return irradiance over pi at points (N, 3); shadows of the balls and blocks if a room is given."""
        total = np.zeros_like(points)
        for place, axis, power, focus in zip(self.place, self.axis, self.power, self.focus, strict=True):
            ray = place - points
            distance2 = np.maximum(dot(ray, ray), np.float32(0.02))
            ray /= np.sqrt(distance2)[:, None]
            gain = np.maximum(dot(ray, normals), 0) / distance2
            if focus > 0:
                gain *= np.maximum(-(ray @ axis), 0) ** focus
            (at,) = np.nonzero(gain > 1e-6)
            if room is not None and len(at):
                gain[at] *= ~blocked(room, points[at], ray[at], np.sqrt(distance2[at]))
            total += gain[:, None] * (power / np.float32(np.pi))
        return total


def lamps_of(room: Room) -> Lamps:
    """Return every light of the room as small lamps: panels in cells, balls and spots as points."""
    place: list[Floats] = []
    axis: list[Floats] = []
    power: list[Floats] = []
    focus: list[float] = []
    for panel in room.panels:
        if not panel.nits:
            continue
        n = [int(np.clip(round(1.4 * x), 1, 6)) for x in panel.size]
        cells = cv2.resize(panel.texture.levels[0], n, interpolation=cv2.INTER_AREA).reshape(-1, 3)
        points = panel_grid(room, panel, n[0], n[1])
        place.extend(points + normal_of(panel.face) * np.float32(0.02))
        axis.extend([normal_of(panel.face)] * len(points))
        power.extend(cells * (panel.nits * panel.size[0] * panel.size[1] / len(points)))
        focus.extend([1.0] * len(points))
    for ball in room.balls:
        if ball.nits:
            place.append(np.asarray(ball.centre))
            axis.append(np.zeros(3, np.float32))
            power.append(ball.texture.mean * (ball.nits * np.pi * ball.radius**2))
            focus.append(0.0)
    for spot in room.spots:
        towards = np.asarray(spot.target) - np.asarray(spot.position)
        place.append(np.asarray(spot.position))
        axis.append(towards / np.linalg.norm(towards))
        power.append(np.asarray(spot.power))
        focus.append(spot.focus)
    vectors = [np.asarray(x, np.float32).reshape(-1, 3) for x in (place, axis, power)]
    return Lamps(vectors[0], vectors[1], vectors[2], np.asarray(focus, np.float32))


class LightMaps:
    """Irradiance over pi on the faces, balls and blocks of a room.

    Lamps and the sun with their shadows; one bounce between patches of the faces; further bounces as if every patch
    saw the mean of all (an integrating sphere); and less of the bounced light beside balls and blocks.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self._lamps = lamps_of(room)
        direct = [self._direct(face) for face in range(6)]
        self._bounced = self._bounces(direct)
        self._faces = [light + _widened(self._indirect(face), _SIDE) for face, light in enumerate(direct)]
        self._balls = [self._around(ball) for ball in room.balls]
        self._blocks = [self._beside(block) for block in room.blocks]

    def on_face(self, face: int, points: Floats) -> Floats:
        """Return the light at places (N, 3) of a face of the room."""
        _, across, up, _ = axes_of(self.room, face)
        low, high = self.room.low, self.room.high
        x = (points[:, across] - low[across]) / (high[across] - low[across]) * _SIDE - 0.5
        y = (high[up] - points[:, up]) / (high[up] - low[up]) * _SIDE - 0.5
        return scatter_remap(self._faces[face], x, y)

    def on_ball(self, ball: int, u: Floats, v: Floats) -> Floats:
        """Return the light at places of a ball, [0, 1] around it (from -z over +x, `arctan2(x, z)`) and down it."""
        return scatter_remap(self._balls[ball], u * (2 * _BALL - 1), v * (_BALL - 1))

    def on_block(self, block: int, face: Ints, u: Floats, v: Floats) -> Floats:
        """Return the light at places of a block's faces, [0, 1] across and down as in `grid_of`."""
        return scatter_remap(
            self._blocks[block], u * _BLOCK - 0.5, face * _BLOCK + np.clip(v * _BLOCK - 0.5, 0, _BLOCK - 1)
        )

    def _direct(self, face: int) -> Floats:
        points, normal = grid_of(self.room, face, _DIFFUSE), normal_of(face)
        light = self._lamps.irradiance(points, np.broadcast_to(normal, points.shape), self.room)
        light = _widened(cv2.GaussianBlur(light.reshape(_DIFFUSE, _DIFFUSE, 3), None, 1.0), _SIDE)
        if self.room.sun is not None:
            points = grid_of(self.room, face, _SIDE)
            sun = self._sunlight(self.room.sun, points, np.broadcast_to(normal, points.shape))
            light += cv2.GaussianBlur(sun.reshape(_SIDE, _SIDE, 3), None, 0.8)
        return light

    def _bounces(self, direct: list[Floats]) -> Lamps:
        room, n = self.room, _PATCHES
        places = [grid_of(room, face, n) for face in range(6)]
        coarse = np.full(n * n, 0.3, np.float32)
        albedo = [surface_of(room, face, points, coarse)[0] for face, points in enumerate(places)]
        light = [cv2.resize(side, (n, n), interpolation=cv2.INTER_AREA).reshape(-1, 3) for side in direct]
        radiance = np.concatenate(light) * np.concatenate(albedo)
        returned = np.clip(radiance.mean(0) / (np.concatenate(light).mean(0) + 1e-6), 0, 0.7)
        size = np.asarray(room.high) - np.asarray(room.low)
        area = np.repeat([size.prod() / size[face // 2] / n**2 for face in range(6)], n * n)
        power = radiance / (1 - returned) * area[:, None]
        normals = np.repeat(np.stack([normal_of(face) for face in range(6)]), n * n, 0)
        return Lamps(np.concatenate(places), normals, power.astype(np.float32), np.ones(len(area), np.float32))

    def _indirect(self, face: int) -> Floats:
        points = grid_of(self.room, face, _INDIRECT)
        normals = np.broadcast_to(normal_of(face), points.shape)
        soft = self._bounced.irradiance(points, normals) + np.asarray(self.room.ambient, np.float32)
        return (soft * self._openness(points, normals)[:, None]).reshape(_INDIRECT, _INDIRECT, 3)

    def _openness(self, points: Floats, normals: Floats) -> Floats:
        """Return the share of the bounced light that balls and blocks, taken as balls, leave to a point."""
        bodies = [(np.asarray(ball.centre), ball.radius) for ball in self.room.balls]
        for block in self.room.blocks:
            low, high = np.asarray(block.low), np.asarray(block.high)
            bodies.append(((low + high) / 2, float(np.cbrt(np.prod(high - low) * 3 / (4 * np.pi)))))
        share = np.ones(len(points), np.float32)
        for centre, radius in bodies:
            ray = centre.astype(np.float32) - points
            distance = np.sqrt(dot(ray, ray))
            cosine = np.maximum(dot(ray, normals) / np.maximum(distance, 1e-3), 0)
            share *= 1 - np.minimum(cosine * (radius / np.maximum(distance, radius)) ** 2, 0.95)
        return share

    def _sunlight(self, sun: tuple[Triple, Triple], points: Floats, normals: Floats) -> Floats:
        direction = np.asarray(sun[0], np.float32)
        rays = np.broadcast_to(direction / np.linalg.norm(direction), points.shape)
        gain = np.maximum(dot(rays, normals), 0)
        lit = np.zeros(len(points), bool)
        (facing,) = np.nonzero(gain > 0)
        face, distance = exit_of(self.room, points[facing] + normals[facing] * np.float32(1e-3), rays[facing])
        leave = points[facing] + rays[facing] * distance[:, None]
        for panel in self.room.panels:
            if panel.sky:
                (through,) = np.nonzero(face == panel.face)
                at, u, v = panel_places(panel, leave[through])
                seen = panel.texture(u, v, np.full(len(at), 1e-3, np.float32))
                lit[facing[through[at]]] = seen.max(-1) > _BARS
        (at,) = np.nonzero(lit)
        lit[at] = ~blocked(self.room, points[at], rays[at], np.full(len(at), np.inf, np.float32))
        return np.asarray((gain * lit)[:, None] * (np.asarray(sun[1], np.float32) / np.float32(np.pi)))

    def _free(self, points: Floats, normals: Floats) -> Floats:
        light = self._lamps.irradiance(points, normals) + self._bounced.irradiance(points, normals)
        if self.room.sun is not None:
            light += self._sunlight(self.room.sun, points, normals)
        return light + np.asarray(self.room.ambient, np.float32)

    def _around(self, ball: Ball) -> Floats:
        lat, lon = np.mgrid[0.5 : -0.5 : _BALL * 1j, -1 : 1 : 2j * _BALL].astype(np.float32) * np.float32(np.pi)
        normals = np.stack((np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)), -1).reshape(-1, 3)
        points = np.asarray(ball.centre, np.float32) + np.float32(ball.radius) * normals
        return self._free(points, normals).reshape(_BALL, 2 * _BALL, 3)

    def _beside(self, block: Box) -> Floats:
        box = replace(self.room, low=block.low, high=block.high)
        outward = [np.tile(-normal_of(face), (_BLOCK**2, 1)) for face in range(6)]
        faces = [self._free(grid_of(box, face, _BLOCK), outward[face]) for face in range(6)]
        return np.concatenate(faces).reshape(6 * _BLOCK, _BLOCK, 3)


def _widened(square: Floats, size: int) -> Floats:
    """Return a square map (n, n, 3) as (size, size, 3), never negative."""
    wide = cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.maximum(wide, 0))
