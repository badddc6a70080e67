"""The demo's rooms: galleries by day and by night, and courtyards, hung with photographs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from vitm.data.arrays import Floats
from vitm.data.demo.photographs import Texture, fractal, photograph
from vitm.data.demo.room import Ball, Box, Panel, Room, Spot

# Saturated light, BT.2020 primaries: neon and LED colours that BT.709 cannot show.
_NEON = (
    (1.0, 0.03, 0.02),
    (0.02, 1.0, 0.10),
    (0.05, 0.08, 1.0),
    (1.0, 0.02, 0.55),
    (0.02, 0.75, 0.9),
    (1.0, 0.45, 0.01),
)
_WARM, _COOL, _DAY = (1.0, 0.78, 0.5), (0.85, 0.95, 1.1), (0.92, 1.0, 1.1)


def _plaster(rng: np.random.Generator, colour: tuple[float, float, float], depth: float = 0.12) -> Texture:
    return Texture(1 - depth + depth * fractal(rng, 512, 8, 0.75), colour)


def _paint(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    """Return a muted wall colour."""
    r, g, b = rng.uniform(low, high) * rng.uniform(0.65, 1.0, 3)
    return float(r), float(g), float(b)


def _surface(name: str, tint: tuple[float, float, float]) -> Texture:
    """Return a photograph as a tile of a wall or floor."""
    image = photograph(name)
    if name == "brick":  # its courses stand upright, in perspective
        seen = np.array(((58, 0), (434, 0), (512, 512), (0, 512)), np.float32)
        flat = np.array(((0, 0), (512, 0), (512, 512), (0, 512)), np.float32)
        image = cv2.rotate(cv2.warpPerspective(image, cv2.getPerspectiveTransform(seen, flat), (512, 512)), 0)
    return Texture(image, tint)


def _planks(rng: np.random.Generator) -> Texture:
    """Return a floor of wooden boards: noise drawn out along the grain."""
    boards = 8
    grain = cv2.resize(fractal(rng, 512, 7, 0.8), (128, 4096), interpolation=cv2.INTER_CUBIC)
    rows = []
    for _ in range(boards):
        at = int(rng.integers(0, 4096 - 512))
        board = (0.45 + 0.55 * grain[at : at + 512, :64]) * rng.uniform(0.65, 1.0)
        board[:, :1] *= 0.3
        rows.append(board)
    return Texture(np.concatenate(rows, axis=1).clip(0, 1), (0.34, 0.22, 0.13))


def _framed(image: Floats, wood: float, mat: float = 0.8) -> Texture:
    """Return a picture behind a mat in a wooden frame."""
    image = image * np.float32(0.9) + np.float32(0.001)
    h = len(image)
    border, frame = round(0.09 * h), round(0.03 * h)
    image = cv2.copyMakeBorder(image, *(border,) * 4, cv2.BORDER_CONSTANT, value=(mat, mat, 0.96 * mat))
    return Texture(cv2.copyMakeBorder(image, *(frame,) * 4, cv2.BORDER_CONSTANT, value=(wood, 0.8 * wood, 0.6 * wood)))


def _window(rng: np.random.Generator, low_sun: bool) -> Texture:
    """Return a view of the sky over dark hills, behind bars."""
    h, w = 384, 288
    clouds = cv2.resize(fractal(rng, 256), (2 * w, h))[:, :w]
    up = np.linspace(1, 0, h, dtype=np.float32)[:, None, None]
    horizon = np.array((1.0, 0.62, 0.3) if low_sun else (0.9, 0.95, 1.0), np.float32)
    zenith = np.array((0.2, 0.35, 0.75), np.float32)
    sky = horizon * (1 - up) ** 1.5 + zenith * (1 - (1 - up) ** 1.5)
    sky = sky + np.clip(2 * clouds - 0.8, 0, 1)[..., None] * np.float32(0.9)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    away = np.hypot(x - w * float(rng.choice((0.3, 0.7))), y - h * 0.5)[..., None]
    sky = sky + 80 * np.exp(-((away / 7) ** 6)) + 1.2 * np.exp(-away / 40)  # the sun behind thin cloud
    line = 0.72 + 0.08 * (cv2.resize(fractal(rng, 256, 7), (w, w))[w // 2] - 0.5)
    ground = np.arange(h)[:, None] / h > line
    leaves = fractal(rng, 512, 7, 0.9)[:h, :w, None] * np.array((0.07, 0.11, 0.03), np.float32) + np.float32(0.01)
    view = np.where(ground[..., None], leaves, sky).astype(np.float32)
    for bar in (0, w // 2 - 4, w - 8):
        view[:, bar : bar + 8] = 0.004
    for bar in (0, h // 3 - 4, 2 * h // 3 - 4, h - 8):
        view[bar : bar + 8] = 0.004
    return Texture(view)


def _glow(colour: tuple[float, float, float], shape: tuple[int, int] = (32, 32)) -> Texture:
    return Texture(np.ones((*shape, 1), np.float32), colour)


def _tube(colour: tuple[float, float, float], upright: bool) -> Texture:
    """Return a gas tube: paler and brighter along its middle."""
    across = np.exp(-0.5 * (np.linspace(-1, 1, 32, dtype=np.float32) / 0.45) ** 2)[:, None]
    profile = across * np.array(colour, np.float32) + np.float32(0.3) * across**4
    tube = np.tile(profile[None] if upright else profile[:, None], (32, 1, 1) if upright else (1, 32, 1))
    return Texture(tube)


def _hang(
    rng: np.random.Generator, faces: list[int], photos: list[str], room: tuple[np.ndarray, np.ndarray], width: float
) -> list[Panel]:
    """Hang photographs along the walls, two or three a wall; the third picture is a canvas of one pure pigment."""
    low, high = room
    panels: list[Panel] = []
    pigment = rng.permutation((0.5, 0.03, 0.0)).astype(np.float32)
    canvas = pigment * (0.4 + 0.6 * fractal(rng, 256, 8, 0.8)[..., None])
    for face in faces:
        across = 2 if face < 2 else 0
        length = high[across] - low[across]
        n = max(1, int(length / (width * 1.2)))
        for i in range(n):
            k = len(panels)
            picture = canvas if k == 2 else photograph(photos[k % len(photos)])
            texture = _framed(picture, wood=(0.003, 0.25)[k % 2])
            height = min(width / texture.aspect, 1.9)
            at = low[across] + (i + 0.5) * length / n
            panels.append(Panel(face, (float(at), 0.1), (height * texture.aspect, height), texture))
    return panels


def _wash(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, power: float) -> Spot:
    """Return coloured light on the foot of the +z or -x wall."""
    neon = np.array(_NEON[int(rng.integers(len(_NEON)))])
    side = float(rng.uniform(-0.6, 0.6))
    targets = ((side * float(high[0]), 0.0, float(high[2])), (float(low[0]), 0.0, side * float(high[2])))
    target = targets[int(rng.integers(2))]
    place = (0.55 * target[0], -1.5, 0.55 * target[2])
    return Spot(place, target, tuple((power * neon).tolist()), 4.0)


def _pedestals(
    rng: np.random.Generator, photos: list[str], surface: Texture, spots: list[tuple[float, float]], floor: float
) -> tuple[list[Box], list[Ball]]:
    """Return balls on blocks: some mirrors, some coloured, some with a photograph around them."""
    blocks, balls = [], []
    first = int(rng.integers(3))
    for k, (x, z) in enumerate(spots):
        half, top = float(rng.uniform(0.22, 0.3)), float(rng.uniform(-0.8, -0.5))
        blocks.append(Box((x - half, floor, z - half), (x + half, top, z + half), surface))
        radius = float(rng.uniform(0.24, 0.34))
        kind = (k + first) % 3
        colour = tuple(float(c) for c in rng.permutation((0.8, 0.06, 0.004)))
        texture = (
            Texture(photograph(photos[k % len(photos)]))
            if kind == 0
            else _plaster(rng, colour if kind == 1 else (0.3, 0.3, 0.3), 0.03)  # type: ignore[arg-type]
        )
        balls.append(Ball((x, top + radius, z), radius, texture, mirror=0.5 if kind == 2 else 0.05))
    return blocks, balls


def day_gallery(rng: np.random.Generator, photos: list[str], surface: str | None) -> Room:
    """Return a gallery with windows, sun on its walls, and coloured neon."""
    low = np.array((-rng.uniform(2.8, 3.4), -1.6, -rng.uniform(2.8, 3.4)))
    high = np.array((rng.uniform(2.6, 3.2), 1.7, rng.uniform(3, 3.6)))
    wall = _plaster(rng, _paint(rng, 0.35, 0.75))
    other = _surface(surface, (0.85, 0.6, 0.45)) if surface else wall
    low_sun = bool(rng.integers(2))
    panels = _hang(rng, [1, 4], photos, (low, high), float(rng.uniform(2.0, 2.5)))
    window = _window(rng, low_sun)
    for z in (low[2] / 2, high[2] / 2):
        panels.append(Panel(0, (float(z), 0.2), (1.5, 2.0), window, nits=2800, sky=True))
    panels.append(Panel(5, (0.0, 0.3), (1.6, 1.7), window, nits=2800, sky=True))
    neon = _NEON[int(rng.integers(len(_NEON)))]
    panels.append(Panel(5, (float(high[0]) * 0.65, 0.3), (0.07, 2.2), _tube(neon, True), nits=3000))
    panels.append(Panel(3, (0.0, 0.0), (0.5, 3.0), _glow(_WARM), nits=250))
    blocks, balls = _pedestals(rng, photos, wall, [(1.6, -1.9), (-1.3, -2.3), (2.0, 1.4), (-2.1, 0.1)], -1.6)
    height = 0.14 if low_sun else 0.3
    sun_power = (24000.0, 19000.0, 13500.0) if low_sun else (40000.0, 38000.0, 34000.0)
    return Room(
        tuple(low.tolist()),
        tuple(high.tolist()),
        (other, wall, _planks(rng), _plaster(rng, (0.75, 0.75, 0.75)), wall, wall),
        (1.6, 2.5, 1.8, 2.5, 2.5, 2.5),
        tuple(panels),
        tuple(balls),
        tuple(blocks),
        (_wash(rng, low, high, 1500.0),),
        sun=((-1.0, height, float(rng.uniform(-0.4, 0.4))), sun_power),
        polish=0.05,
        ambient=(0.3, 0.3, 0.3),
    )


def night_gallery(rng: np.random.Generator, photos: list[str], surface: str | None) -> Room:
    """Return a dark gallery with spots on its pictures, a screen, hanging lamps and neon lines."""
    low = np.array((-rng.uniform(3, 3.8), -1.6, -rng.uniform(3, 3.8)))
    high = np.array((rng.uniform(3, 3.8), 2.0, rng.uniform(3, 3.8)))
    wall = _plaster(rng, _paint(rng, 0.15, 0.45))
    other = _surface(surface, (0.8, 0.55, 0.42)) if surface else wall
    pictures = _hang(rng, [1, 4, 0], photos, (low, high), float(rng.uniform(1.8, 2.3)))
    spots = []
    panels = list(pictures)
    for picture in pictures:
        place = [0.0, 1.85, 0.0]
        target = [0.0, picture.centre[1], 0.0]
        axis, across = picture.face // 2, 2 if picture.face < 2 else 0
        wall_at = (high if picture.face % 2 else low)[axis]
        place[axis], target[axis] = float(wall_at) * 0.72, float(wall_at)
        place[across] = target[across] = picture.centre[0]
        power = float(rng.uniform(350, 900))
        spots.append(Spot(tuple(place), tuple(target), tuple(power * c for c in _WARM), 10.0))  # type: ignore[arg-type]
    screen = Texture(photograph(photos[-1]) ** 1.1)
    panels.append(Panel(5, (-0.9, 0.15), (1.5 * screen.aspect, 1.5), screen, nits=250))
    for at in (low[0] * 0.8, high[0] * 0.55):
        neon = _NEON[int(rng.integers(len(_NEON)))]
        panels.append(Panel(5, (float(at), 0.2), (0.07, 2.4), _tube(neon, True), nits=1200))
    neon = _NEON[int(rng.integers(len(_NEON)))]
    panels.append(Panel(4, (0.0, 1.25), (float(high[0] - low[0]) * 0.8, 0.06), _tube(neon, False), nits=1200))
    blocks, balls = _pedestals(rng, photos, wall, [(1.5, -2.0), (-1.7, -1.8), (2.0, 1.9), (0.4, 2.2)], -1.6)
    spots += [_wash(rng, low, high, 400.0), _wash(rng, low, high, 400.0)]
    for x, z in ((-0.6, -2.4), (0.3, -2.5), (2.3, 0.5), (-2.2, 0.3)):
        balls.append(Ball((x, float(rng.uniform(0.55, 0.9)), z), 0.11, _glow(_WARM), nits=1200))
    return Room(
        tuple(low.tolist()),
        tuple(high.tolist()),
        (other, wall, _planks(rng), _plaster(rng, (0.3, 0.3, 0.3)), other, wall),
        (1.6, 2.5, 1.8, 2.5, 1.6, 2.5),
        tuple(panels),
        tuple(balls),
        tuple(blocks),
        tuple(spots),
        polish=0.06,
    )


def courtyard(rng: np.random.Generator, photos: list[str], surface: str | None) -> Room:
    """Return four low walls under an open sky."""
    low = np.array((-rng.uniform(3.2, 4), -1.6, -rng.uniform(3.2, 4)))
    high = np.array((rng.uniform(3.2, 4), 1.1, rng.uniform(3.2, 4)))
    ground = _surface(surface, (0.5, 0.55, 0.3)) if surface else _planks(rng)
    wall = _plaster(rng, (0.6, 0.5, 0.4), 0.25)
    side = _plaster(rng, _paint(rng, 0.3, 0.7), 0.2)
    direction = (float(rng.uniform(-1, 1)), float(rng.uniform(0.55, 0.9)), -0.8)
    x, z = np.meshgrid(np.linspace(low[0], high[0], 512), np.linspace(high[2], low[2], 512))
    clouds = np.clip(2.2 * fractal(rng, 512) - 1.0, 0, 1)[..., None]
    sky = np.array((0.2, 0.36, 0.7), np.float32) * (1 - clouds) + clouds * np.float32(1.4)
    place = np.array(direction) / direction[1] * high[1]
    away = ((x - place[0]) ** 2 + (z - place[2]) ** 2)[..., None]
    sky = sky + 1.5 * np.exp(-np.sqrt(away) / 0.5)
    panels = _hang(rng, [0, 1, 4, 5], photos, (low, high), float(rng.uniform(2.3, 2.8)))
    panels.append(
        Panel(
            3,
            tuple(((low + high)[[0, 2]] / 2).tolist()),
            tuple((high - low)[[0, 2]].tolist()),
            Texture(sky.astype(np.float32)),
            nits=13_000,
            sky=True,
        )
    )
    blocks, balls = _pedestals(rng, photos, wall, [(1.7, -2.4), (-1.6, -2.9), (2.6, 1.5), (-2.3, 1.2)], -1.6)
    neon = _NEON[int(rng.integers(len(_NEON)))]
    balls.append(Ball((0.4, -1.2, -2.8), 0.15, _glow(neon), nits=300_000))
    balls.append(Ball(tuple((0.97 * place).tolist()), 0.12, _glow(_WARM), nits=600_000))
    return Room(
        tuple(low.tolist()),
        tuple(high.tolist()),
        (wall, side, ground, wall, wall, side),
        (2.5, 2.5, 1.1, 2.5, 2.5, 2.5),
        tuple(panels),
        tuple(balls),
        tuple(blocks),
        sun=(direction, (70000.0, 66000.0, 58000.0)),
    )


STAGES: dict[str, Callable[[np.random.Generator, list[str], str | None], Room]] = {
    "day": day_gallery,
    "night": night_gallery,
    "courtyard": courtyard,
}
