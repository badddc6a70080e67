"""Ray casting: the light that reaches the camera in a room, as a panorama."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitm.data.arrays import Floats, Ints
from vitm.data.demo.lighting import LightMaps
from vitm.data.demo.raycast import BALLS, BLOCKS, dot, meet
from vitm.data.demo.room import Room, normal_of, surface_of

_FLOOR = 2


def render_room(room: Room, height: int = 1024) -> Floats:
    """Return the light that arrives at the origin, equirectangular as `vitm.data.filming.panorama.Panorama` wants it.

    One ray a pixel, four where neighbours differ; one in sixteen pixels above and below 50 degrees, where cameras
    seldom look. Rays are averaged by their fourth roots, so that lamps keep smooth edges.

    Args:
        room: The room around the origin.
        height: Rows of the panorama, at least 18.

    Returns:
        (height, 2 height, 3), linear BT.2020, not exposed.
    """
    eye = Eye(room, height)
    pole = height * 2 // 9 // 4 * 4
    caps = [eye.rows(np.arange(start, start + pole, 4) + 1.5, 4) for start in (0, height - pole)]
    middle = eye.rows(np.arange(pole, height - pole), 1)
    level = np.log2(middle.mean(-1) + 1e-3)
    x, y = np.nonzero((cv2.dilate(level, None) - cv2.erode(level, None) > 0.35).T)  # by columns: few bodies are in one
    for part in np.array_split(np.arange(len(y)), max(1, len(y) // 8192)):
        row, column = (y[part] + pole).astype(np.float32), x[part].astype(np.float32)
        fine = [eye.see(row + i, column + j, 0.5) for i in (-0.25, 0.25) for j in (-0.25, 0.25)]
        middle[y[part], x[part]] = np.mean(np.sqrt(np.sqrt(np.stack(fine))), axis=0) ** 4
    top, bottom = (cv2.resize(cap, (2 * height, pole)) for cap in caps)
    return np.concatenate((top, middle, bottom))


class Eye:
    """Light seen in a room, from anywhere (`trace`), and from its middle by places of a panorama (`rows`, `see`).

    Args:
        room: The room.
        height: Rows of the panorama.
        light: The room's light maps, where they are known.
    """

    def __init__(self, room: Room, height: int, light: LightMaps | None = None) -> None:
        self.room = room
        self.light = light or LightMaps(room)
        self.height = height

    def rows(self, rows: NDArray[Any], step: int) -> Floats:
        """Return rows of the panorama, every `step`-th pixel; tile by tile, because few bodies are in one."""
        columns = np.arange(0, 2 * self.height, step) + (step - 1) / 2
        bands = []
        for part in np.array_split(rows, max(1, len(rows) // 64)):
            tiles = [np.meshgrid(part, x, indexing="ij") for x in np.array_split(columns, max(1, len(columns) // 256))]
            seen = [self.see(y.ravel(), x.ravel(), step).reshape(*y.shape, 3) for y, x in tiles]
            bands.append(np.concatenate(seen, axis=1))
        return np.concatenate(bands)

    def see(self, rows: NDArray[Any], columns: NDArray[Any], side: float) -> Floats:
        """Return the light at places (N,) of the panorama, (N, 3); a ray covers a square of `side` pixels."""
        latitude = ((0.5 - (rows + 0.5) / self.height) * np.pi).astype(np.float32)
        longitude = (((columns + 0.5) / self.height - 1) * np.pi).astype(np.float32)
        flat = np.cos(latitude)
        rays = np.stack((flat * np.sin(longitude), np.sin(latitude), -flat * np.cos(longitude)), -1)
        return self.trace(np.zeros_like(rays), rays, side * np.pi / self.height, first=True)

    def trace(self, origin: Floats, rays: Floats, pixel: float, first: bool) -> Floats:
        """Return the light along unit rays (N, 3), each of angle `pixel`; mirrors only for `first` rays, a pencil."""
        hit, distance, entered = meet(self.room, origin, rays, pencil=first)
        points = origin + rays * distance[:, None]
        out = np.zeros_like(rays)
        for what in np.flatnonzero(np.bincount(hit)).tolist():
            (at,) = np.nonzero(hit == what)
            args = points[at], rays[at], distance[at] * np.float32(pixel)
            if what < BALLS:
                colour, normals, mirror = self._face(what, *args)
            elif what < BLOCKS:
                colour, normals, mirror = self._ball(what - BALLS, *args)
            else:
                colour, normals, mirror = *self._block(what - BLOCKS, *args, entered[at]), 0.0
            if mirror and first:
                cosine = np.clip(-dot(rays[at], normals), 0, 1)[:, None]
                fresnel = mirror + (1 - mirror) * (1 - cosine) ** 5  # Schlick's approximation
                start = points[at] + normals * np.float32(2e-3)
                mirrored = self.trace(start, rays[at] + 2 * cosine * normals, 2 * pixel, first=False)
                colour = colour * (1 - fresnel) + fresnel * mirrored
            out[at] = colour
        return out

    def _face(self, face: int, points: Floats, rays: Floats, footprint: Floats) -> tuple[Floats, Floats, float]:
        normals = np.broadcast_to(normal_of(face), points.shape)
        slant = np.maximum(-dot(rays, normals), 0.1)
        albedo, emitted = surface_of(self.room, face, points, footprint / slant)
        return albedo * self.light.on_face(face, points) + emitted, normals, self.room.polish if face == _FLOOR else 0.0

    def _ball(self, k: int, points: Floats, rays: Floats, footprint: Floats) -> tuple[Floats, Floats, float]:
        ball = self.room.balls[k]
        normals = (points - np.asarray(ball.centre, np.float32)) / np.float32(ball.radius)
        u = np.arctan2(normals[:, 0], normals[:, 2]) / np.float32(2 * np.pi) + 0.5
        v = 0.5 - np.arcsin(np.clip(normals[:, 1], -1, 1)) / np.float32(np.pi)
        seen = ball.texture(2 * u, v, footprint / np.float32(np.pi * ball.radius))
        if ball.nits:  # a frosted bulb, darker towards its rim
            return seen * (ball.nits * (0.25 - 0.75 * dot(rays, normals)))[:, None], normals, 0.0
        return seen * self.light.on_ball(k, u, v), normals, ball.mirror

    def _block(self, k: int, points: Floats, rays: Floats, footprint: Floats, axis: Ints) -> tuple[Floats, Floats]:
        block = self.room.blocks[k]
        side = np.arange(len(points)), axis
        normals = np.zeros_like(points)
        normals[side] = -np.sign(rays[side])
        low, high = np.asarray(block.low, np.float32), np.asarray(block.high, np.float32)
        x, y, z = ((points - low) / (high - low)).T
        u, v = np.where(axis == 0, z, x), np.where(axis == 1, 1 - z, 1 - y)
        width, tall = high[0] - low[0], high[1] - low[1]
        seen = block.texture(u * width / tall, v * np.where(axis == 1, width / tall, 1), footprint / tall)
        return seen * self.light.on_block(k, 2 * axis + (normals[side] > 0), u, v), normals
