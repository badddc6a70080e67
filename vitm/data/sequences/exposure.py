"""The simulated camera of VITM-TC: how long each frame is exposed, what it clips, and what it should have been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitm.color import gamma22_inverse_eotf
from vitm.data.filming.walk import Key, Walk

EV_RANGE = (0.0, 2.5)
ANCHOR_SPACING = 15  # frames: the stride of the references, so that they differ in exposure
_WHITE_PERCENTILE, _MEDIAN_RANGE = 99.0, (0.02, 0.1)


def exposure_walk(key: Key, ev_range: Sequence[float] = EV_RANGE) -> Walk:
    """Return the exposure of a clip over time, in stops: `walk(t)` is a function of the key and of t alone.

    The paper draws T at random and gives no range (section 3.5). Assumed: an anchor every 15 frames, uniform in
    0 to 2.5 EV, so that T is 1 to 5.7 and some frames keep the highlights that others clip.

    Args:
        key: Seeds of the clip.
        ev_range: Least and largest exposure in stops.
    """
    return Walk(key, ev_range[0], ev_range[1], ANCHOR_SPACING)


def expose(linear: Tensor, ev: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the camera records of the light, and the light at that exposure (VITM-TC, section 3.5, eq. 14).

    Args:
        linear: Linear RGB (..., 3, H, W), relative radiance at 0 EV; the sensor clips at 1.
        ev: Exposure (...) of each frame in stops, T = 2 ** ev.

    Returns:
        (ldr, target), both (..., 3, H, W) float32: ldr = f(clip(L T, 0, 1)), f(x) = x ** (1 / 2.2), in 8-bit codes over
        255; target = L T, not clipped above.
    """
    target = linear.float() * torch.exp2(ev.float())[..., None, None, None]
    ldr = gamma22_inverse_eotf(target.clamp(0, 1))  # eq. 14
    return (ldr * 255).round() / 255, target


def base_gain(linear: NDArray[np.floating]) -> float:
    """Return the gain that brings linear light of any scale to the exposure called 0 EV.

    Assumed, as the paper gives none: the 99th percentile of the largest of R, G and B comes to 1, so that one pixel in
    a hundred clips at 0 EV and everything above 0.18 of it at 2.5 EV; but the median stays within 0.02 and 0.1, so that
    a small sun does not leave the rest black, nor a flat scene turn all white.

    Args:
        linear: Relative radiance (..., 3) of a clip's frames.

    Raises:
        ValueError: The light is black: less than 1 % of it is above 0.
    """
    top = linear.max(-1)
    white, median = np.percentile(top, (_WHITE_PERCENTILE, 50))
    if white <= 0:
        raise ValueError("it is black")
    least, most = (limit / max(float(median), 1e-6 * float(white)) for limit in _MEDIAN_RANGE)
    return float(np.clip(1 / white, least, most))
