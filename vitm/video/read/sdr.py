"""SDR of any standard as codes of BT.709, which networks and operators take."""

from __future__ import annotations

import cv2
import numpy as np

from vitm.color.gamut import primaries_conversion
from vitm.video.planes import Float
from vitm.video.tags import BT1886_TRANSFERS, StreamInfo

_BT1886 = 2.4  # the exponent of the reference display (BT.1886)
_POWERS = {**dict.fromkeys(BT1886_TRANSFERS, _BT1886), "gamma22": 2.2, "gamma28": 2.8}


def is_bt709(info: StreamInfo) -> bool:
    """Return whether R'G'B' of a stream are codes of BT.709 already."""
    return info.transfer in BT1886_TRANSFERS and info.primaries == "bt709"


def to_bt709(rgb: Float, info: StreamInfo) -> Float:
    """Convert non-linear R'G'B' of an SDR stream to codes of BT.709, by the light that its display shows.

    Codes of the television standards are shown by BT.1886, those of sRGB by IEC 61966-2-1, the rest by their power.
    Colours outside BT.709 come out below 0 or above 1, and codes above white stay above it: nothing is clipped.

    Args:
        rgb: (H, W, 3), codes of the stream's transfer function and primaries.
        info: the stream.

    Returns:
        The same shape.
    """
    if is_bt709(info):
        return rgb
    light = _light(rgb, str(info.transfer))
    if info.primaries != "bt709":
        light = cv2.transform(light, np.array(primaries_conversion(str(info.primaries), "bt709")))
    codes: Float = np.copysign(cv2.pow(np.abs(light), 1 / _BT1886), light)
    return codes


def _light(rgb: Float, transfer: str) -> Float:
    """Return the light of codes, both 1 at white; negative codes are mirrored."""
    size = np.abs(rgb)
    if transfer == "srgb":
        light = np.where(size <= 0.04045, size / np.float32(12.92), cv2.pow((size + 0.055) / 1.055, 2.4))
    else:
        light = cv2.pow(size, _POWERS[transfer])
    return np.copysign(light, rgb)
