"""Frames of two videos that show the same: the offset, found by content, and the picture inside the black bars.

SDR and HDR codes differ by a monotone curve that is close to a line, so small pictures are compared after each is
brought to mean 0 and norm 1; and motion, what changes from one frame to the next, by its correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vitm.data.arrays import Ints
from vitm.data.prepare.survey import GRID, Survey

Region = tuple[slice, slice]  # rows and columns of a frame
Cells = NDArray[np.uint16]  # (N, d): cells of N frames

SAME_PICTURE = 0.8  # correlation of matched frames; 0.99 on aligned pairs
SAME_MOTION = 0.5  # correlation of motion: 0.98 at the right offset, 0.35 one frame beside it
_WINDOW_S, _SEARCH_S = 10, 5  # windows that the offset is checked in, and how far, in seconds
_PRESENT = 0.02  # share of the frames in which a row must be brighter than black, to be no bar
_UNLIKE_BARS = 0.02  # of a side, by which the bars of SDR and HDR may differ
_SAME_RATE = 2e-4  # relative; 23.976 and 24 differ by 1e-3


@dataclass(frozen=True)
class Match:
    """Frames of an SDR and an HDR video that show the same.

    Attributes:
        offset: In SDR frames: SDR frame t r + offset shows what HDR frame t shows, with r the frames of SDR for one of
            HDR (1 but where frame rates differ).
        sdr: (N,), ascending frame numbers in the SDR video.
        hdr: (N,), ascending frame numbers in the HDR video.
        picture: Rows and columns inside the black bars.
        likeness: (N,), float32, correlation of the small pictures.
        motion: Correlation of what changes between frames, at the offset.
    """

    offset: Fraction
    sdr: Ints
    hdr: Ints
    picture: Region
    likeness: NDArray[np.float32]
    motion: float

    def __len__(self) -> int:
        return len(self.sdr)


@dataclass(frozen=True)
class Lags:
    """Correlation of motion at each lag tried; at lag l, frame t + l of the first shows what t of the second shows."""

    lags: Ints
    correlation: NDArray[np.float64]

    @property
    def best(self) -> tuple[int, float]:
        """The lag that correlates best, of equal ones the smallest; and its correlation."""
        i = min(range(len(self.lags)), key=lambda k: (-round(float(self.correlation[k]), 6), abs(int(self.lags[k]))))
        return int(self.lags[i]), float(self.correlation[i])

    def denies(self, lag: int) -> bool:
        """Return whether the motion surely says that another lag is right: more than half of the difference vanishes.

        On real pairs 0.01 to 0.03 differ at the right lag, and 0.07 to 1 one frame beside it.
        """
        best, correlation = self.best
        return best != lag and correlation > SAME_MOTION and 1 - self.at(lag) > 2 * (1 - correlation) + 0.002

    def at(self, lag: int) -> float:
        """Return the correlation at a lag; 0 if it was not tried."""
        correlations = self.correlation[self.lags == lag]
        return float(correlations[0]) if len(correlations) else 0.0


def correlate_motion(a: Cells, b: Cells, search: int | None = None) -> Lags:
    """Correlate frame-to-frame differences at every lag at which half of the shorter one overlaps, normalised.

    Args:
        a: Cells (N, d).
        b: Cells (M, d).
        search: Largest lag either way; None is no limit.
    """
    n, m = len(a) - 1, len(b) - 1
    overlap = (min(n, m) + 1) // 2
    lags = np.arange(-(m - overlap), n - overlap + 1)
    if search is not None:
        lags = lags[np.abs(lags) <= search]
    size = 1 << (n + m - 1).bit_length()
    product = np.zeros(size // 2 + 1, complex)
    energy = [np.zeros(n), np.zeros(m)]
    scales = [_scale(a), _scale(b)]
    for cell in range(a.shape[1]):  # one after the other: the memory of one
        moves = [np.diff((x[:, cell] - mean) / norm) for x, (mean, norm) in zip((a, b), scales, strict=True)]
        for total, move in zip(energy, moves, strict=True):
            total += move**2
        product += np.fft.rfft(moves[0], size) * np.fft.rfft(moves[1], size).conj()
    common = np.fft.irfft(product, size)[lags]
    first, last = np.maximum(lags, 0), np.minimum(lags + m, n)  # of `a`, at each lag
    energies = [_sum(energy[0], first, last), _sum(energy[1], first - lags, last - lags)]
    norm = np.sqrt(energies[0] * energies[1])
    return Lags(lags, np.divide(common, norm, out=np.zeros(len(lags)), where=norm > 1e-9))


def _sum(values: NDArray[np.float64], first: Ints, last: Ints) -> NDArray[np.float64]:
    total = np.concatenate(([0.0], values.cumsum()))
    return np.asarray(total[last] - total[first])


def _scale(cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and norm of each frame, (N,)."""
    mean = cells.mean(axis=1)
    square = np.einsum("ij,ij->i", cells, cells, dtype=np.float64) - cells.shape[1] * mean**2
    return mean, np.sqrt(np.maximum(square, 0)) + 1.0


def likeness(a: Cells, b: Cells) -> NDArray[np.float32]:
    """Return the correlation of the pictures of matched frames, (N,) in [-1, 1]; both are (N, d)."""
    (mean_a, norm_a), (mean_b, norm_b) = _scale(a), _scale(b)
    dot = np.einsum("ij,ij->i", a, b, dtype=np.float64) - a.shape[1] * mean_a * mean_b
    return np.asarray(dot / (norm_a * norm_b), np.float32)


def same_rate(a: Fraction, b: Fraction) -> bool:
    """Return whether two average frame rates are one, but for rounding."""
    return abs(float(a / b) - 1) < _SAME_RATE


def match(sdr: Survey, hdr: Survey, fps: tuple[Fraction, Fraction], offset: int | None, frames: int) -> Match:
    """Find the frames that show the same, and check that they do throughout.

    Args:
        sdr: Survey of the SDR video.
        hdr: Survey of the HDR video.
        fps: Frame rates of SDR and HDR. If they differ, the slower one's frames are matched with those of the faster
            one that are nearest in time.
        offset: The given offset, as `VideoPair.offset`.
        frames: Least number of matched frames.

    Raises:
        ValueError: The bars differ, or the pictures, or the given offset is wrong, or frames are missing in one of
            the videos only.
    """
    picture = _picture(sdr, hdr)
    a, b = inside(sdr, picture), inside(hdr, picture)
    ratio = Fraction(1) if same_rate(*fps) else fps[0] / fps[1]
    swap = ratio < 1  # then HDR is the faster one
    fast, slow = (b, a) if swap else (a, b)
    step = 1 / ratio if swap else ratio
    given = None if offset is None else (Fraction(-offset) * step if swap else Fraction(offset))
    shift, motion = _find(fast, slow, step) if given is None else _check(fast, slow, step, given, ratio)
    quick, late = _matched(len(fast), len(slow), step, shift)
    if len(quick) < max(frames, 3):
        raise ValueError(
            f"only {len(quick)} of {len(sdr)} SDR and {len(hdr)} HDR frames match; expected {frames} or more"
        )
    i_sdr, i_hdr = (late, quick) if swap else (quick, late)
    _check_windows(a[i_sdr], b[i_hdr], i_hdr, float(min(fps)))
    alike = likeness(a[i_sdr], b[i_hdr])
    if np.median(alike) < SAME_PICTURE:
        raise ValueError(
            f"they do not show the same pictures: the median correlation of matched frames is {np.median(alike):.2f}, "
            f"expected more than {SAME_PICTURE}; give two versions of one film"
        )
    return Match(-ratio * shift if swap else shift, i_sdr, i_hdr, picture, alike, motion)


def _matched(n_fast: int, n_slow: int, step: Fraction, offset: Fraction) -> tuple[Ints, Ints]:
    """Return frames floor(i step + offset + 1/2) of the fast one and i of the slow one, where both exist."""
    slow = np.arange(n_slow)
    whole = math.lcm(step.denominator, offset.denominator)
    fast = (2 * (slow * int(step * whole) + int(offset * whole)) + whole) // (2 * whole)
    exists = (fast >= 0) & (fast < n_fast)
    return fast[exists], slow[exists]


def _resampled(fast: Cells, step: Fraction, phase: int) -> Cells:
    return fast if step == 1 else fast[_matched(len(fast), len(fast), step, Fraction(phase))[0]]


def _find(fast: Cells, slow: Cells, step: Fraction) -> tuple[Fraction, float]:
    """Return the offset in frames of the fast one, and the correlation of motion."""
    if min(len(fast), len(slow)) < 3:
        raise ValueError("one of them has fewer than 3 frames; expected a film")
    tried = []
    for phase in range(math.ceil(step)):
        lag, correlation = correlate_motion(_resampled(fast, step, phase), slow).best
        tried.append((correlation, -phase, lag * step + phase))
    correlation, _, offset = max(tried)
    if correlation < SAME_MOTION:
        raise ValueError(
            f"they do not show the same frames: at the best offset their motion correlates by {correlation:.2f}, "
            f"expected more than {SAME_MOTION}; give two versions of one film, or the offset if nothing moves in it"
        )
    return offset, correlation


def _check(fast: Cells, slow: Cells, step: Fraction, offset: Fraction, ratio: Fraction) -> tuple[Fraction, float]:
    """Return the given offset, and the correlation of motion at it; raise if another one is surer."""
    phase = math.floor(offset % step)
    lag = int((offset - phase) / step)
    if min(len(fast), len(slow)) < 3 or len(_matched(len(fast), len(slow), step, offset)[0]) < 3:
        return offset, 0.0
    tried = correlate_motion(_resampled(fast, step, phase), slow)
    if tried.denies(lag):
        best, _ = tried.best
        unit = -ratio if ratio < 1 else Fraction(1)
        better = float((best * step + phase) * unit)
        raise ValueError(
            f"the offset is given as {float(offset * unit):g}, but the content says {better:g}: "
            f"SDR frame {better:g} shows what HDR frame 0 shows; correct it in the pairs file, or leave it out"
        )
    return offset, tried.at(lag)


def _check_windows(a: Cells, b: Cells, numbers: Ints, fps: float) -> None:
    """Raise if a piece is missing in one of the two: the offset must stay, in windows of ten seconds."""
    window = max(8, round(_WINDOW_S * fps))
    for start in range(0, len(a) - window // 2, window):
        here = slice(start, start + window)
        tried = correlate_motion(a[here], b[here], round(_SEARCH_S * fps))
        if tried.denies(0):
            raise ValueError(
                f"by HDR frame {numbers[start]} they are {abs(tried.best[0])} frames further apart than elsewhere: a "
                "piece is missing or added in one of them; cut both there and give two pairs"
            )


def _picture(sdr: Survey, hdr: Survey) -> Region:
    """Return the region inside the bars of both, with even edges, where chroma samples begin."""
    if (sdr.rows.shape, sdr.columns.shape) != (hdr.rows.shape, hdr.columns.shape):
        raise ValueError("they differ in size")
    sides = []
    for what, a, b in (("rows", sdr.rows, hdr.rows), ("columns", sdr.columns, hdr.columns)):
        lines = [np.flatnonzero(side > _PRESENT) for side in (a, b)]
        if not all(len(numbers) for numbers in lines):
            raise ValueError("they are black throughout; give films with a picture")
        first, last = [int(numbers[0]) for numbers in lines], [int(numbers[-1]) + 1 for numbers in lines]
        if max(abs(first[0] - first[1]), abs(last[0] - last[1])) > max(2, _UNLIKE_BARS * len(a)):
            raise ValueError(
                f"their black bars differ: SDR's picture is {what} {first[0]} to {last[0]}, HDR's {first[1]} to "
                f"{last[1]}; give two versions of one picture"
            )
        sides.append(slice(max(first) + max(first) % 2, min(last) - min(last) % 2))
        if sides[-1].stop - sides[-1].start < 16:
            raise ValueError("they are black throughout, but for some lines; give films with a picture")
    return sides[0], sides[1]


def inside(survey: Survey, picture: Region) -> Cells:
    """Return the cells that lie inside the bars, (N, d)."""
    rows, columns = (
        [k for k in range(n) if k * size >= p.start * n and (k + 1) * size <= p.stop * n]
        for p, n, size in zip(picture, GRID[::-1], (len(survey.rows), len(survey.columns)), strict=True)
    )
    if not (rows and columns):
        raise ValueError("the picture inside the black bars is too small to be compared")
    kept = survey.cells[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return kept.reshape(len(survey), -1)
