"""ICC profiles of photographs: which primaries they mean, and colours of all others as sRGB."""

from __future__ import annotations

import io
import struct
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

ProfilePrimaries = Literal["bt709", "display-p3", "bt2020"]

_RED_D50: dict[ProfilePrimaries, tuple[float, float, float]] = {  # red in the profile's XYZ, adapted to D50
    "bt709": (0.4361, 0.2225, 0.0139),
    "display-p3": (0.5151, 0.2412, -0.0011),
    "bt2020": (0.6735, 0.2790, -0.0019),
}
_NEAR = 0.02  # so far may a profile's red lie from that of its primaries: Adobe RGB's lies 0.1 from the next


def profile_primaries(profile: bytes | None) -> ProfilePrimaries | None:
    """Return the known primaries that a profile's red belongs to; None without a readable profile, or for others.

    Args:
        profile: ICC profile (ICC.1:2022, 7), or None.
    """
    if profile is None or len(profile) < 132:
        return None
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        tags = {
            profile[132 + 12 * i : 136 + 12 * i]: struct.unpack_from(">I", profile, 136 + 12 * i)[0]
            for i in range(min(count, 64))
        }
        red = [x / 65536 for x in struct.unpack_from(">3i", profile, tags[b"rXYZ"] + 8)]  # ICC.1, 10.31
    except (KeyError, struct.error):
        return None
    return next((name for name, known in _RED_D50.items() if np.abs(np.subtract(red, known)).max() < _NEAR), None)


def profile_name(profile: bytes) -> str:
    """Return what a profile calls itself; "unreadable" where it cannot be read."""
    try:
        return str(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "unreadable"


def to_srgb(rgb: npt.NDArray[np.uint8], profile: bytes) -> npt.NDArray[np.uint8]:
    """Convert a picture of any RGB profile to sRGB, by LittleCMS; colours that sRGB lacks are clipped.

    Args:
        rgb: (H, W, 3), codes of the profile.
        profile: ICC profile.

    Raises:
        ValueError: the profile is damaged, or not for RGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted: Any = ImageCms.profileToProfile(
            Image.fromarray(rgb), source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f"its colour profile cannot be used ({error})") from error
    return np.asarray(converted)
