"""Warping error, tOF, highlights and flicker in NumPy, from their descriptions."""

from __future__ import annotations

import colour
import numpy as np
from scipy.ndimage import map_coordinates

LUMA = np.array([0.2627, 0.6780, 0.0593])


def sample(image, flow):
    """(C, H, W) read at p + flow (2, H, W), x first, edges repeated."""
    y, x = np.mgrid[: image.shape[1], : image.shape[2]].astype(float)
    return np.stack([map_coordinates(c, [y + flow[1], x + flow[0]], order=1, mode="nearest") for c in image])


def visible(backward, forward):
    """(H, W) bool, pixel by pixel."""
    returning = sample(forward, backward)
    height, width = backward.shape[1:]
    seen = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            w, back = backward[:, y, x], returning[:, y, x]
            right = backward[:, y, min(x + 1, width - 1)] - w
            down = backward[:, min(y + 1, height - 1), x] - w
            occluded = np.sum((w + back) ** 2) > 0.01 * (np.sum(w**2) + np.sum(back**2)) + 0.5
            boundary = np.sum(right**2) + np.sum(down**2) > 0.01 * np.sum(w**2) + 0.002
            inside = 0 <= x + w[0] <= width - 1 and 0 <= y + w[1] <= height - 1
            seen[y, x] = inside and not occluded and not boundary
    return seen


def warping_error(video, backward, forward):
    """(T, C, H, W), (T - 1, 2, H, W) twice."""
    errors = []
    for t in range(1, len(video)):
        seen = visible(backward[t - 1], forward[t - 1])
        difference = video[t] - sample(video[t - 1], backward[t - 1])
        errors.append(np.mean(difference[:, seen] ** 2))
    return np.mean(errors)


def highlight_cv(video):
    """(T, 3, H, W) PQ codes."""
    tops = [np.percentile(np.tensordot(LUMA, colour.models.eotf_ST2084(frame), axes=1), 99) for frame in video]
    return np.std(tops) / np.mean(tops)


def flicker(pred, target):
    """(T, 3, H, W) PQ codes, twice."""
    return np.std([np.mean(np.tensordot(LUMA, p - t, axes=1)) for p, t in zip(pred, target, strict=True)])
