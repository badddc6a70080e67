"""A high dynamic range panorama: the world that a turning camera films."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch

from vitm.color import bt709_to_bt2020, luminance, pq_inverse_eotf
from vitm.data.arrays import Floats


def soft_knee(nits: Floats, peak_nits: float) -> Floats:
    """Bend light above half of the peak so that it never passes the peak; what is below is untouched.

    Args:
        nits: Light (..., 3) in cd/m2.
        peak_nits: Mastering peak. The largest of R, G and B is bent, and the colour keeps its hue.
    """
    knee = peak_nits / 2
    top = np.maximum(nits.max(-1, keepdims=True), 1e-6)
    bent = knee + (peak_nits - knee) * np.tanh(np.maximum(top - knee, 0) / (peak_nits - knee))
    return np.minimum(nits * np.where(top > knee, bent / top, 1), peak_nits).astype(np.float32)


class Panorama:
    """An equirectangular panorama in HDR10 light, to be looked at in any direction.

    Convention:
        x to the right, y up, the camera looks along -z. The panorama's centre is -z, its left and right edges +z,
        its first row is the zenith. Light is interpolated bicubically in PQ, where a step is an equally visible step.

    Args:
        nits: Linear BT.2020 light (H, 2 H, 3) in cd/m2.
        peak_nits: Mastering peak, 1000 to 10,000; brighter light is bent below it (`soft_knee`).

    Raises:
        ValueError: The shape is another, light is not finite, or the peak is outside 1000 to 10,000.
    """

    def __init__(self, nits: Floats, peak_nits: float = 2000.0) -> None:
        if nits.ndim != 3 or nits.shape[1:] != (2 * nits.shape[0], 3):
            raise ValueError(f"expected an equirectangular panorama (H, 2 H, 3), got {nits.shape}")
        if not np.isfinite(nits).all():
            raise ValueError("the panorama holds values that are not finite: repair them before filming it")
        if not 1000 <= peak_nits <= 10_000:
            raise ValueError(f"peak_nits is {peak_nits}: expected 1000 to 10,000 cd/m2")
        self.peak_nits = float(peak_nits)
        self.nits = soft_knee(np.maximum(nits, 0), peak_nits)
        code = pq_inverse_eotf(torch.from_numpy(self.nits)).numpy()
        h = len(code)
        # Two pixels around: the poles continue on the other side of the globe, the sides at each other.
        over = np.roll(code, h, axis=1)
        tall = np.concatenate((over[1::-1], code, over[: h - 3 : -1]))
        self._code = np.ascontiguousarray(np.concatenate((tall[:, -2:], tall, tall[:, :2]), axis=1))

    @classmethod
    def open(cls, path: Path, grey_nits: float = 30.0, peak_nits: float = 2000.0) -> Self:
        """Read a linear BT.709 panorama (.exr or .hdr).

        Args:
            path: File with R, G and B channels; what resampling spoiled is repaired (`mended`).
            grey_nits: Log-average luminance around its horizon (`exposed`): 30 is a normal exposure with diffuse
                white near 203 cd/m2 (BT.2408).
            peak_nits: Mastering peak in cd/m2.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a panorama of a format that can be read.
        """
        rgb = torch.from_numpy(mended(read_radiance(path))).permute(2, 0, 1)
        floor = 0.002 * float(luminance(rgb, "bt709").median())
        if floor <= 0:
            raise ValueError(f"{path}: more than half of the panorama is black")
        wide = np.asarray(bt709_to_bt2020(rgb.clamp_min(floor)).permute(1, 2, 0).contiguous())
        return cls(exposed(wide, grey_nits), peak_nits)

    @property
    def pixels_per_degree(self) -> float:
        """Pixels per degree around the horizon."""
        return len(self.nits) / 180

    def look(self, rays: Floats) -> Floats:
        """Return what is seen along rays.

        Args:
            rays: Directions (H, W, 3) of any length.

        Returns:
            (H, W, 3) BT.2020, PQ code in [0, 1].
        """
        x, y, z = (rays[..., k] for k in range(3))
        h = len(self._code) - 4
        column = (np.arctan2(x, -z) / (2 * np.pi) + 0.5) * (2 * h) - 0.5 + 2
        row = (0.5 - np.arctan2(y, np.hypot(x, z)) / np.pi) * h - 0.5 + 2
        seen = cv2.remap(self._code, column.astype(np.float32), row.astype(np.float32), cv2.INTER_CUBIC)
        return np.asarray(np.clip(seen, 0, self._code.max()))


def add_glare(nits: Floats) -> Floats:
    """Add the light that a lens scatters around bright places: 3 % of it, over 0.1, 0.7 and 4 degrees.

    Args:
        nits: Panorama (H, 2 H, 3).
    """
    h = len(nits)
    out = 0.97 * nits
    for share, degrees in ((0.022, 0.1), (0.006, 0.7), (0.002, 4.0)):
        shrink = max(1, int(degrees * h / 180 / 2))
        small = cv2.resize(nits, (2 * h // shrink, h // shrink), interpolation=cv2.INTER_AREA)
        sigma = degrees * len(small) / 180
        margin = int(4 * sigma) + 1
        wide = np.concatenate((small[:, -margin:], small, small[:, :margin]), axis=1)  # it goes all around
        soft = cv2.GaussianBlur(wide, None, sigma)[:, margin:-margin]
        out += np.float32(share) * cv2.resize(soft, (2 * h, h), interpolation=cv2.INTER_LINEAR)
    return out


def mended(linear: Floats) -> Floats:
    """Replace negative pixels, and dark rings that resampling left around lamps, by the median of the 5x5 around them.

    A pixel lies in a ring if a channel is eight times darker than that median, within three pixels of one that is a
    hundred times brighter than the panorama's median. All its channels are replaced, so that it gets no false colour.

    Args:
        linear: Linear light (H, W, 3).

    Returns:
        Linear light (H, W, 3).
    """
    around = linear
    for _ in range(2):  # wider than one median reaches
        around = np.where(linear > 0, around, cv2.medianBlur(np.asarray(around, np.float32), 5))
    median = cv2.medianBlur(np.asarray(around, np.float32), 5)
    lamps = cv2.dilate(np.asarray(linear, np.float32), np.ones((7, 7))) > 100 * np.median(linear)
    spoiled = ((linear <= 0) | (lamps & (linear < median / 8))).any(-1, keepdims=True)
    return np.asarray(np.where(spoiled, median, linear), np.float32)


def exposed(linear: Floats, grey_nits: float = 30.0) -> Floats:
    """Scale a linear BT.2020 panorama (H, 2 H, 3) to a log-average luminance of `grey_nits` around its horizon.

    A pixel's weight is the fourth power of the cosine of its latitude: cameras look ahead, not at sky and ground.
    """
    y = luminance(torch.from_numpy(linear).permute(2, 0, 1))[0].numpy()
    weight = np.cos((0.5 - (np.arange(len(y)) + 0.5) / len(y)) * np.pi)[:, None] ** 4 * np.ones_like(y)
    log_average = np.exp(np.average(np.log(np.maximum(y, 1e-9)), weights=weight))
    return linear * np.float32(grey_nits / log_average)


def read_radiance(path: Path) -> Floats:
    """Return the linear RGB (H, W, 3) of an OpenEXR or Radiance file, as stored."""
    if not path.is_file():
        raise FileNotFoundError(f"no panorama at {path}")
    if path.suffix == ".hdr":
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError(f"{path} is not a Radiance picture")
        return np.ascontiguousarray(pixels[..., ::-1], dtype=np.float32)
    if path.suffix == ".exr":
        import OpenEXR

        with OpenEXR.File(str(path)) as file:
            channels = file.channels()
            if "RGB" in channels:
                return np.ascontiguousarray(channels["RGB"].pixels, dtype=np.float32)
            if "RGBA" in channels:
                return np.ascontiguousarray(channels["RGBA"].pixels[..., :3], dtype=np.float32)
        raise ValueError(f"{path} has the channels {sorted(channels)}: expected R, G and B")
    raise ValueError(f"{path} ends in {path.suffix!r}: expected .exr or .hdr")
