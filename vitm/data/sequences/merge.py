"""A stack of exposures merged to linear HDR light: aligned, exposure ratios estimated, weighted mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitm.data.arrays import Floats

Exposure = NDArray[np.uint8]  # (H, W, 3), gamma code

_LOW, _HIGH = 0.08, 0.92  # codes between these, in every channel, are well exposed
_LEAST_COMMON = 0.002  # share of the pixels that two neighbouring exposures must both expose well
_LEVELS = 6  # of the search for shifts: up to 2 ** 6 - 1 pixels


def merge_stack(stack: Sequence[Exposure]) -> Floats:
    """Merge 8-bit exposures of one still scene, in any order, to linear light.

    Each exposure is linearised by x ** 2.2, the camera curve that VITM-TC assumes (eq. 14). Exposure times are not
    known: sorted by brightness, the ratio of two neighbours is the median ratio over the pixels that both expose well.
    A hand's shake is undone by whole pixels, those by which this ratio varies least over the picture. The light is the
    mean of all exposures over their times, weighted by a hat over the code that is 0 at both ends (Debevec and Malik
    1997, eq. 4 and 6, the curve being known); where none has weight, it is taken from the darkest exposure (clipped) or
    the brightest (black).

    Args:
        stack: Two or more pictures (H, W, 3), RGB.

    Returns:
        Relative radiance (H, W, 3), float32; 1 is where the middle exposure clips.

    Raises:
        ValueError: There are fewer than two, sizes differ, fewer than two are well exposed anywhere, or neighbours
            have too few well exposed pixels in common.
    """
    if len(stack) < 2:
        raise ValueError(f"{len(stack)} exposure; expected two or more")
    if len({image.shape for image in stack}) > 1:
        raise ValueError(f"exposures of sizes {sorted({image.shape[1::-1] for image in stack})}; expected one size")
    usable = [image for image in stack if _well_exposed(image / np.float32(255)).mean() > _LEAST_COMMON]
    if len(usable) < 2:
        raise ValueError(
            f"only {len(usable)} of {len(stack)} exposures has well exposed pixels (codes {_LOW * 255:.0f} to "
            f"{_HIGH * 255:.0f}); expected two or more: the rest is black or clipped"
        )
    codes = [image / np.float32(255) for image in _aligned(sorted(usable, key=lambda image: float(image.mean())))]
    times = _exposure_times(codes)
    light = np.zeros_like(codes[0])
    total = np.zeros_like(codes[0])
    for code, time in zip(codes, times, strict=True):
        weight = 1 - np.abs(2 * code - 1)  # the hat
        light += weight * code**2.2 / time
        total += weight
    dark, bright = codes[0] ** 2.2 / times[0], codes[-1] ** 2.2 / times[-1]
    none = np.where(codes[0] > 0.5, dark, bright)
    return np.asarray(np.where(total > 1e-3, light / np.maximum(total, 1e-3), none), np.float32)


def _well_exposed(code: Floats) -> NDArray[np.bool_]:
    return np.asarray(((code > _LOW) & (code < _HIGH)).all(-1))


def _aligned(stack: Sequence[Exposure]) -> list[Exposure]:
    """Shift every exposure onto its neighbour nearer to the middle; what comes in at an edge repeats the edge."""
    middle = len(stack) // 2
    out = {middle: stack[middle]}
    for step in (-1, 1):
        for k in range(middle + step, -1 if step < 0 else len(stack), step):
            across, down = _shift(out[k - step], stack[k])
            place = np.array([[1, 0, across], [0, 1, down]], np.float64)
            moved: Any = cv2.warpAffine(
                np.ascontiguousarray(stack[k]),
                place,
                stack[k].shape[1::-1],
                flags=cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_REPLICATE,
            )
            out[k] = np.asarray(moved)
    return [out[k] for k in range(len(stack))]


def _shift(onto: Exposure, image: Exposure) -> tuple[int, int]:
    """Return the whole pixels (to the right, down) by which `image` best lies on `onto`, from coarse to fine."""
    pyramid = [(onto, image)]
    while min(pyramid[-1][0].shape[:2]) >= 32 and len(pyramid) < _LEVELS:
        pyramid.append(tuple(cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for x in pyramid[-1]))
    across = down = 0
    for level in reversed(pyramid):
        a, b = (_log_code(x) for x in level)
        across, down = 2 * across, 2 * down
        least = _disagreement(a, b, across, down)
        if np.isfinite(least):  # else no shift can be told from another
            tried = {(x, y): _disagreement(a, b, x, y) for x in _near(across) for y in _near(down)}
            best = min(tried, key=lambda by: tried[by])
            across, down = best if tried[best] < least else (across, down)
    return across, down


def _near(at: int) -> range:
    return range(at - 1, at + 2)


def _log_code(image: Exposure) -> Floats:
    """Return the logarithm of green, NaN where the pixel is not well exposed."""
    code = image / np.float32(255)
    return np.asarray(np.where(_well_exposed(code), np.log(np.maximum(code[..., 1], 1e-3)), np.nan))


def _disagreement(onto: Floats, image: Floats, across: int, down: int) -> float:
    """Return the mean deviation of the log ratio from its median: 0 where two exposures differ in time alone."""
    h, w = onto.shape
    a = onto[max(down, 0) : h + min(down, 0), max(across, 0) : w + min(across, 0)]
    b = image[max(-down, 0) : h + min(-down, 0), max(-across, 0) : w + min(-across, 0)]
    ratio = b - a
    ratio = ratio[~np.isnan(ratio)]
    return float(np.abs(ratio - np.median(ratio)).mean()) if len(ratio) > _LEAST_COMMON * onto.size else np.inf


def _exposure_times(codes: Sequence[Floats]) -> list[float]:
    """Return the relative times of exposures sorted from dark to bright; 1 for the middle one."""
    times = [1.0]
    for k, (dark, bright) in enumerate(pairwise(codes)):
        both = _well_exposed(dark) & _well_exposed(bright)
        if both.mean() < _LEAST_COMMON:
            raise ValueError(
                f"exposures {k + 1} and {k + 2} (from dark to bright) have {both.mean():.2%} well exposed pixels in "
                f"common; expected {_LEAST_COMMON:.1%}: the step between them is too large to estimate"
            )
        ratio = np.median(np.log(bright[both] / dark[both])) * 2.2
        times.append(times[-1] * float(np.exp(max(ratio, 0.0))))
    middle = times[len(times) // 2]
    return [time / middle for time in times]
