"""The scenes of a pair: where they begin, which ones stand still, and which ones repeat an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitm.data.prepare.matching import Match, inside
from vitm.data.prepare.survey import Survey

CUT_LUMA = 0.1  # mean |dY| of one frame to the next (KPN-MFI drops triplets with a cut; the thresholds are ours)
CUT_HISTOGRAM = 0.2  # share of pixels in another of 32 luma bins: 0.05 in camera motion, 0.12 in a hand-held clip
REPEAT_LUMA = 2e-4  # mean |dY| below which a frame repeats the one before
STATIC_CELL = 0.01  # luma code by which some cell must leave the scene's first frame, to be no still picture
_DUPLICATE = 0.99  # correlation of the pictures of two scenes from which they are near-duplicates,
_DUPLICATE_LUMA = 0.02  # and mean |dY| up to which
_LOOKS = (1 / 6, 1 / 2, 5 / 6)  # where in a scene its pictures are compared


@dataclass(frozen=True, slots=True)
class Scene:
    """Matched frames from `start` up to `stop`, without a cut; `fault`: why no sample is taken from it."""

    start: int
    stop: int
    fault: str | None = None


def moves(survey: Survey, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return mean |dY| from each of N ascending frames to the next, (N - 1,); the largest, where frames are skipped."""
    return np.asarray(_most(survey.change, frames))


def find_scenes(sdr: Survey, match: Match) -> list[Scene]:
    """Return the scenes of the matched frames, in order.

    A scene begins where PySceneDetect's content detector says so in the SDR video, or where luma or its histogram
    jumps. Static scenes, in which nothing moves from the first frame to the last, and near-duplicates, which look like
    an earlier scene that has no fault, have a fault.
    """
    cells = inside(sdr, match.picture)[match.sdr]
    begins = _most(sdr.cut, match.sdr) | (moves(sdr, match.sdr) > CUT_LUMA)
    begins |= _most(sdr.jump, match.sdr) > CUT_HISTOGRAM
    bounds = [*pairwise([0, *(np.flatnonzero(begins) + 1).tolist(), len(match)])]
    at = [[start + int((stop - start) * share) for share in _LOOKS] for start, stop in bounds]
    shown = cells[np.array(at)].astype(np.float32) / 65535  # (scenes, looks, cells)
    faults: list[str | None] = []
    for i, (start, stop) in enumerate(bounds):
        fault = "static scene" if _is_static(cells[start:stop]) else None
        if not fault and (twins := [k for k in _alike(shown[i, 1], shown[:i]) if not faults[k]]):
            fault = f"near-duplicate scene: it looks like HDR frame {match.hdr[bounds[twins[0]][0]]}"
        faults.append(fault)
    return [Scene(start, stop, fault) for (start, stop), fault in zip(bounds, faults, strict=True)]


def _most(values: NDArray[Any], frames: NDArray[np.int64]) -> NDArray[Any]:
    """Return the largest of `values` after each of these frames up to the next of them."""
    return np.maximum.reduceat(values[: frames[-1] + 1], frames[:-1] + 1)


def _is_static(cells: NDArray[np.uint16]) -> bool:
    far = STATIC_CELL * 65535
    chunks = np.array_split(cells, len(cells) // 1000 + 1)
    return all(np.abs(chunk - cells[0].astype(np.float32)).max() < far for chunk in chunks)


def _alike(picture: NDArray[np.float32], shown: NDArray[np.float32]) -> list[int]:
    """Return which scenes, (N, looks, cells), look like a picture, (cells,), at one of their looks."""
    flat, flats = picture - picture.mean(), shown - shown.mean(axis=-1, keepdims=True)
    norms = np.linalg.norm(flat) * np.linalg.norm(flats, axis=-1) + 1e-6
    close = np.abs(shown - picture).mean(axis=-1) < _DUPLICATE_LUMA
    return np.flatnonzero((close & (flats @ flat / norms > _DUPLICATE)).any(axis=1)).tolist()
