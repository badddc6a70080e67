"""The photographs that scikit-image's wheel carries, as reflectance, and surfaces made of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import cv2
import numpy as np
import torch

from vitm.color import bt709_to_bt2020, srgb_eotf
from vitm.data.arrays import Floats


@dataclass(frozen=True)
class Photograph:
    """A file of `skimage/data` that needs no download, and the terms that its docstring there states."""

    file: str
    licence: str
    credit: str


PHOTOGRAPHS = {
    "astronaut": Photograph("astronaut.png", "public domain", "NASA Great Images"),
    "brick": Photograph("brick.png", "CC0-1.0", "CC0Textures Bricks25"),
    "camera": Photograph("camera.png", "CC0-1.0", "Lav Varshney"),
    "chelsea": Photograph("chelsea.png", "CC0-1.0", "Stefan van der Walt"),
    "coffee": Photograph("coffee.png", "CC0-1.0", "Rachel Michetti, Pikolo Espresso Bar"),
    "grass": Photograph("grass.png", "CC0-1.0", "linolafett, DeviantArt"),
    "gravel": Photograph("gravel.png", "CC0-1.0", "CC0Textures Gravel04"),
    "hubble_deep_field": Photograph("hubble_deep_field.jpg", "public domain", "NASA, HubbleSite"),
    "retina": Photograph("retina.jpg", "CC0-1.0", "Mikael Häggström"),
    "rocket": Photograph("rocket.jpg", "public domain", "SpaceX"),
}


def photograph(name: str) -> Floats:
    """Return a photograph as linear light.

    Args:
        name: A key of `PHOTOGRAPHS`.

    Returns:
        (H, W, 3), linear BT.2020, 1 is the photograph's white.

    Raises:
        ValueError: The name is not in `PHOTOGRAPHS`.
        ImportError: scikit-image, which carries the photographs, is not installed.
        FileNotFoundError: The installed scikit-image does not carry the file.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"unknown photograph {name!r}: expected one of {sorted(PHOTOGRAPHS)}")
    try:
        package = resources.files("skimage")
    except ModuleNotFoundError as error:
        raise ImportError(
            "the demo data is made of photographs that scikit-image carries, which is not installed: "
            "pip install 'vitm[demo]'"
        ) from error
    file = package / "data" / PHOTOGRAPHS[name].file
    if not file.is_file():
        raise FileNotFoundError(f"scikit-image carries no {PHOTOGRAPHS[name].file}: install scikit-image >= 0.25")
    code = np.asarray(cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
    if max(code.shape) > 1000:  # the demo frames never show more
        code = cv2.resize(code, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    linear = srgb_eotf(torch.from_numpy(np.ascontiguousarray(code)).permute(2, 0, 1).float() / 255)
    return np.asarray(bt709_to_bt2020(linear).permute(1, 2, 0).contiguous())


def fractal(rng: np.random.Generator, size: int = 256, octaves: int = 6, roughness: float = 0.55) -> Floats:
    """Return smooth noise of several octaves, (size, size) in [0, 1]: plaster, clouds."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = rng.standard_normal((2 ** (octave + 2),) * 2).astype(np.float32)
        total += roughness**octave * cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(total, (1, 99))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), np.float32)


class Texture:
    """An image with its mip levels, continued by reflection at its borders.

    Args:
        image: (H, W, 3) or (H, W) linear light.
        tint: RGB factor.
    """

    def __init__(self, image: Floats, tint: tuple[float, float, float] = (1, 1, 1)) -> None:
        image = image if image.ndim == 3 else image[..., None]
        self.levels = [np.ascontiguousarray(image * np.asarray(tint, np.float32), dtype=np.float32)]
        while min(self.levels[-1].shape[:2]) > 4:
            self.levels.append(cv2.resize(self.levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        self.mean: Floats = self.levels[-1].mean((0, 1))
        self.aspect = image.shape[1] / image.shape[0]

    def __call__(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Return trilinear samples.

        Args:
            u: (N,) places across the width, [0, 1]; other values are reflected into it.
            v: the same down the height.
            footprint: (N,) the share of the height that a ray covers.

        Returns:
            (N, 3) linear light.
        """
        u, v = (1 - np.abs(1 - np.mod(x, 2)) for x in (u, v))
        level = np.log2(np.maximum(footprint * self.levels[0].shape[0], 1))
        level = np.minimum(level, len(self.levels) - 1)
        out = np.zeros((len(u), 3), np.float32)
        for k, image in enumerate(self.levels):
            weight = 1 - np.abs(level - k)
            (at,) = np.nonzero(weight > 0)
            if len(at):
                h, w = image.shape[:2]
                out[at] += weight[at, None] * scatter_remap(image, u[at] * w - 0.5, v[at] * h - 0.5)
        return out


def scatter_remap(image: Floats, x: Floats, y: Floats) -> Floats:
    """Return bilinear samples of `image` (H, W, 3) at (N,) pixel positions -> (N, 3)."""
    width = 1024  # OpenCV wants a rectangle of at most 32767 on a side
    padded = np.zeros((2, -(-len(x) // width) * width), np.float32)
    padded[:, : len(x)] = x, y
    maps = padded.reshape(2, -1, width)
    out = np.asarray(cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return out.reshape(-1, 3)[: len(x)]
