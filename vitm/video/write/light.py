"""MaxCLL and MaxFALL of frames (CTA-861.3)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import torch

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
    peak = pq_eotf(torch.tensor(float(brightest.max()), dtype=torch.float64))
    return float(peak), float(histogram @ _nits_of_levels()) / brightest.size


@cache
def _nits_of_levels() -> npt.NDArray[np.float64]:
    return np.asarray(pq_eotf(torch.arange(_LEVELS + 1, dtype=torch.float64) / _LEVELS).numpy())
