"""Views of SDR photographs made HDR: no panorama shows flowers, faces or food, and trainings need such pictures too.

What a photograph's light was nobody knows. But a network that learns how SDR is made needs no true light, only one
that could be: here an inverse operator gives it, and the picture is made small in light, so that edges are mixtures of
light as a camera makes them.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vitm.color import METHODS, inverse_tone_map, luminance, pq_eotf, pq_inverse_eotf
from vitm.data.arrays import Floats

_PEAKS = (600.0, 1000.0, 1000.0, 2000.0, 4000.0)  # cd/m2 that an operator expands to
_LEAST_PART = 0.45  # of the photograph's width or height that a view shows
_OVERSAMPLING = 3  # pixels along each side that become one
_DARK_NITS = 1e-3
_MOST_NITS = 10_000.0


def photograph_view(code: Floats, size: tuple[int, int], grey_nits: float, rng: np.random.Generator) -> Floats:
    """Return a part of a photograph as HDR.

    Args:
        code: (H, W, 3), BT.709 gamma code in [0, 1], rounded to 8 bits.
        size: rows and columns of the view.
        grey_nits: its log-average luminance, in cd/m2.
        rng: chooses the part, the operator and the peak.

    Returns:
        (rows, columns, 3), PQ code in BT.2020.
    """
    part = _part(code, size, rng)
    oversampled = _OVERSAMPLING * size[1], _OVERSAMPLING * size[0]
    if part.shape[1] > oversampled[0]:
        part = cv2.resize(part, oversampled, interpolation=cv2.INTER_AREA)
    part = part + rng.uniform(-0.5 / 255, 0.5 / 255, part.shape).astype(np.float32)  # what rounding took away
    method, peak = METHODS[rng.integers(len(METHODS))], _PEAKS[rng.integers(len(_PEAKS))]
    nits = pq_eotf(inverse_tone_map(torch.from_numpy(part).permute(2, 0, 1).clamp(0, 1), method, peak_nits=peak))
    small = cv2.resize(nits.permute(1, 2, 0).contiguous().numpy(), size[::-1], interpolation=cv2.INTER_AREA)
    light = torch.from_numpy(small).permute(2, 0, 1).clamp(min=_DARK_NITS)
    light = light * (grey_nits / luminance(light).log().mean().exp())
    return np.asarray(pq_inverse_eotf(light.clamp(max=_MOST_NITS)).permute(1, 2, 0))


def _part(code: Floats, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return a window of the view's shape."""
    height, width = code.shape[:2]
    aspect = size[1] / size[0]
    columns = int(rng.uniform(_LEAST_PART, 1) * min(width, height * aspect))
    rows = int(columns / aspect)
    y, x = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    return code[y : y + rows, x : x + columns]
