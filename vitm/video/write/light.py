"""MaxCLL and MaxFALL of frames (CTA-861.3)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vitm.color.transfer import pq_eotf
from vitm.video.planes import Float

_LEVELS = 65535  # steps of the histogram from which averages of light are computed


def light_levels(hdr_pq: Float) -> tuple[float, float]:
    """Return the largest max(R, G, B) of all pixels, and its mean over the frame (CTA-861.3, annex P).

    Args:
        hdr_pq: (H, W, 3), PQ codes in [0, 1].

    Returns:
        Two levels in cd/m2; the largest of each over all frames are MaxCLL and MaxFALL.
    """
    red, green, blue = cv2.split(hdr_pq)
    brightest = cv2.max(cv2.max(red, green), blue)
    steps = (brightest * _LEVELS + 0.5).astype(np.uint16)
    histogram = cv2.calcHist([steps], [0], None, [_LEVELS + 1], [0, _LEVELS + 1]).ravel().astype(np.float64)
    return peak_light(float(brightest.max())), float(histogram @ _nits_of_levels()) / brightest.size


def peak_light(largest: float) -> float:
    """Return the light of the largest PQ code of a frame, in cd/m2."""
    return float(pq_eotf(torch.tensor(largest, dtype=torch.float64)))


def measure_on_device(hdr_pq: Tensor) -> Tensor:
    """Return what light levels and a check of a frame need: its least and largest code, and the mean of max(R, G, B).

    Args:
        hdr_pq: (3, H, W), PQ codes of BT.2020.

    Returns:
        (3,), fp32, on the frame's device: two codes (NaN where the frame holds one), and cd/m2 of the frame, clipped to
        [0, 1].
    """
    brightest = hdr_pq.amax(dim=0)
    mean = pq_eotf(brightest.clamp(0, 1)).mean(dtype=torch.float64)
    return torch.stack((hdr_pq.amin().float(), brightest.amax().float(), mean.float()))


@cache
def _nits_of_levels() -> npt.NDArray[np.float64]:
    return np.asarray(pq_eotf(torch.arange(_LEVELS + 1, dtype=torch.float64) / _LEVELS).numpy())
