"""Do SDR and HDR show the same frames, and does a scene go on? Measured on luma thumbnails; pure NumPy.

A thumbnail sequence is (N, h, w) float32 luma code in [0, 1]. SDR and HDR code differ by a monotone curve that is close
to a line, so thumbnails are compared after each is brought to mean 0 and norm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Thumbnails = NDArray[np.float32]

SAME_PICTURE = 0.8  # correlation of matched frames; 0.99 on aligned pairs, see tests/data/test_pairs.py
SAME_MOTION = 0.5  # correlation of frame differences: 0.98 at the right offset, 0.35 one frame beside it
CUT_LUMA = 0.1  # mean |dY| of one frame to the next (paper: triplets with a cut are dropped; thresholds are ours)
CUT_HISTOGRAM = 0.2  # share of pixels in another of 32 luma bins: 0.05 in camera motion, 0.12 in a hand-held clip
STATIC_LUMA = 2e-4  # mean |dY| below which a frame repeats the last one


@dataclass(frozen=True, slots=True)
class Offset:
    """Frame t + `frames` of the SDR file shows what frame t of the HDR file shows; `correlation` says how surely."""

    frames: int
    correlation: float


def picture_correlation(sdr: Thumbnails, hdr: Thumbnails) -> NDArray[np.float32]:
    """Normalised correlation of matched frames, (N,) in [-1, 1]; both sequences have N frames."""
    return np.asarray((_standardised(sdr) * _standardised(hdr)).sum(axis=1))


def measure_offset(sdr: Thumbnails, hdr: Thumbnails, search: int) -> Offset:
    """The offset in [-search, search] at which the frame-to-frame differences of both sequences correlate best.

    Differences, unlike frames, of a still or slowly moving scene do not match their neighbours. At least half of the
    shorter sequence overlaps at every offset tried.
    """
    a, b = np.diff(_standardised(sdr), axis=0), np.diff(_standardised(hdr), axis=0)
    search = min(search, min(len(a), len(b)) // 2)
    tried = []
    for lag in range(-search, search + 1):
        x, y = a[max(lag, 0) :], b[max(-lag, 0) :]
        n = min(len(x), len(y))
        x, y = x[:n], y[:n]
        energy = np.sqrt(np.square(x).sum(dtype=np.float64) * np.square(y).sum(dtype=np.float64))
        tried.append(Offset(lag, float(np.vdot(x, y) / energy) if energy > 1e-9 else 0.0))
    return max(tried, key=lambda o: (o.correlation, -abs(o.frames)))


def has_cut(frames: Thumbnails) -> bool:
    """Whether the scene changes between any two successive frames of (T, h, w)."""
    if np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2)).max() > CUT_LUMA:
        return True
    histograms = np.stack([np.histogram(f, 32, (0, 1))[0] / f.size for f in frames])
    return bool(np.abs(np.diff(histograms, axis=0)).sum(axis=1).max() / 2 > CUT_HISTOGRAM)


def has_repeat(frames: Thumbnails) -> bool:
    """Whether any frame of (T, h, w) repeats the one before it."""
    return bool(np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2)).min() < STATIC_LUMA)


def _standardised(thumbnails: Thumbnails) -> NDArray[np.float32]:
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), dtype=np.float32)
