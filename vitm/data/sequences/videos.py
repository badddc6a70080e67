"""Clips that move by themselves: footage of any kind, REDS (gamma PNG) and OpenEXR sequences (linear light)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from vitm.data.arrays import Floats
from vitm.data.filming.motion import Placement
from vitm.data.filming.walk import Key
from vitm.data.sequences.exposure import base_gain
from vitm.data.sequences.source import Matrices, unknown
from vitm.video.images import image_header, read_image

_NUMBER = re.compile(r"(.*?)(\d+)$")
_GAMMA_22 = ((np.arange(256) / 255) ** 2.2).astype(np.float32)  # f^-1 of VITM-TC, eq. 14, of every code
_THUMBNAIL = 64  # side of the frames from which a clip's exposure is found


class Footage(ABC):
    """A `Source` whose frames are as they were filmed: its motion is its own, and not known.

    A subclass has a `name` and says how many frames there are and how to read one; see docs/adding/data_set.md.
    """

    name: str

    @abstractmethod
    def length(self, frames: int) -> int:
        """Return its own length, whatever is asked for."""

    @abstractmethod
    def light(self, t: int) -> Floats:
        """Return the linear light (H, W, 3) of frame t, RGB, float32, of any scale."""

    def flow(self, t: int, other: int) -> tuple[Tensor, Tensor] | None:
        """Return where the pixels of frame t lie in another frame, see `LongClip.flow`; None, as it is not known."""
        return None

    def take(self, key: Key, size: int, frames: int) -> FootageTake:
        """Return the footage itself at a size."""
        return FootageTake(self, size)

    def check(self) -> None:
        """Look at the middle frame, and at the ends where that one is black.

        Raises:
            ValueError: All are black.
        """
        last = self.length(0) - 1
        if all((self.light(t) <= 0).all() for t in (last // 2, 0, last)):
            raise ValueError(f"{self.name} is all black (its first, middle and last frame are): remove the clip")

    @cached_property
    def gain(self) -> float:
        """Factor that brings its light to 0 EV, one for the clip, from three frames."""
        n = self.length(0)
        frames = [resized(self.light(t), _THUMBNAIL) for t in (n // 6, n // 2, 5 * n // 6)]
        return base_gain(np.concatenate([frame.reshape(-1, 3) for frame in frames]))


@dataclass(frozen=True)
class FootageTake:
    """`Footage` at one size."""

    source: Footage
    size: int
    still: bool = False

    def planes(self, times: Sequence[int], placement: Placement) -> Floats:
        """Return the frames, see `Take`; each is read once."""
        gain = np.float32(self.source.gain)
        frames = {t: placement(resized(self.source.light(t), self.size)) * gain for t in {*times}}
        return np.stack([frames[t] for t in times])

    def homographies(self, times: Sequence[int], placement: Placement) -> Matrices:
        """Return NaN: the motion is not known."""
        return unknown(times)


def resized(light: Floats, size: int) -> Floats:
    """Return light at (size, size): the mean over each pixel's area, whatever the aspect."""
    return np.asarray(cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Video(Footage):
    """A folder of frames with consecutive numbers and one size: 8-bit PNG (gamma 1 / 2.2) or EXR (linear light).

    Attributes:
        name: The clip's name, see `Source`.
        paths: The frames in temporal order.
    """

    name: str
    paths: tuple[Path, ...]

    @classmethod
    def open(cls, name: str, folder: Path, suffix: str) -> Video:
        """Return the checked video in a folder; headers are read, pixels are not.

        Raises:
            ValueError: A number is missing or there twice, a size differs, or a PNG is not 8-bit.
        """
        numbered = sorted(
            (match[1], int(match[2]), path)
            for path in folder.iterdir()
            if path.suffix.lower() == suffix and not path.name.startswith(".") and (match := _NUMBER.match(path.stem))
        )
        if not numbered:
            raise FileNotFoundError(f"{folder} holds no numbered {suffix} frame")
        stem, first, start = numbered[0]
        for k, (other_stem, number, path) in enumerate(numbered):
            if other_stem != stem:
                raise ValueError(f"{folder} holds frames of two names, {start.name} and {path.name}; expected one clip")
            if number != first + k:
                before = numbered[k - 1][2].name
                raise ValueError(f"{folder}: {path.name} follows {before}; expected consecutive numbers, none missing")
        paths = tuple(path for *_, path in numbered)
        headers = [image_header(path) for path in paths]
        for path, header in zip(paths, headers, strict=True):
            if (header.width, header.height) != (headers[0].width, headers[0].height):
                raise ValueError(
                    f"{path} is {header.width}x{header.height}, but {start.name} is {headers[0].width}x"
                    f"{headers[0].height}; expected one size in a clip"
                )
            if suffix == ".png" and header.sample != "uint8":
                raise ValueError(f"{path} has {header.sample} samples; expected an 8-bit PNG")
        return cls(name, paths)

    def length(self, frames: int) -> int:
        """Return its own length, whatever is asked for."""
        return len(self.paths)

    def light(self, t: int) -> Floats:
        """Return the linear light (H, W, 3) of frame t."""
        image = read_image(self.paths[t])
        return _GAMMA_22[image] if image.dtype == np.uint8 else np.maximum(image, 0)

    def check(self) -> None:
        """Look at the middle frame, and at the ends where that one says nothing.

        Raises:
            ValueError: All are black, or every sample of an 8-bit clip is 255.
        """
        last = len(self.paths) - 1
        images = [read_image(self.paths[t]) for t in (last // 2, 0, last)]
        black = all((image <= 0).all() for image in images)
        if black or (not self.linear_light and all((image == 255).all() for image in images)):
            raise ValueError(
                f"{self.paths[0].parent} is all {'black' if black else 'clipped'} (its first, middle and last frame "
                "are): remove the clip"
            )

    @property
    def linear_light(self) -> bool:
        """Whether frames hold light of any scale (EXR), not codes (PNG)."""
        return self.paths[0].suffix.lower() == ".exr"

    @cached_property
    def gain(self) -> float:
        """Factor that brings its light to 0 EV; 1 for PNG."""
        return super().gain if self.linear_light else 1.0
