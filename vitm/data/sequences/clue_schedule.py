"""The frames of a clip that make a training sample: a key with temporal clues, or a window with keys around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from vitm.data.arrays import Bools, Ints
from vitm.ops.key_frames import clues, key_frames


@dataclass(frozen=True)
class Plan:
    """The N frames of a sample and their parts in it; indices point into `times`; absent ones are masked, and 0.

    Attributes:
        times: (N,), frame numbers in the clip.
        window: (W,), indices of consecutive frames.
        keys: (K,), indices of the key frames, nearest to the window's centre first.
        key_mask: (K,), false where the clip has no such key.
        references: (K, R), indices of each key's references, in the order in which they are folded in.
        reference_mask: (K, R), false where a key has fewer.
    """

    times: Ints
    window: Ints
    keys: Ints
    key_mask: Bools
    references: Ints
    reference_mask: Bools


@dataclass(frozen=True)
class ClueSchedule:
    """The strides of VITM-TC's "global sampling, local propagation" (section 3.2).

    Attributes:
        references: Largest number R of references that a key gets in training (the paper: 2); the number is drawn
            uniformly from 0 to R, so that the network meets clips without clues.
        clue_stride: Frames from one reference to the next, and from a key to its nearest ones.
        clues_per_direction: Distance of the farthest reference, in strides.
        window: Consecutive frames W of an FCPM sample.
        key_stride: Frames from one key frame to the next; they are 0, 6, 12, ... and the last frame.
        neighbours: Key frames K of a window, those nearest to its centre; of two, the earlier first.

    Raises:
        ValueError: A number is below 1 (`references`: below 0).
    """

    references: int = 2
    clue_stride: int = 15
    clues_per_direction: int = 6
    window: int = 7
    key_stride: int = 6
    neighbours: int = 5

    def __post_init__(self) -> None:
        for field in fields(self):
            least, value = int(field.name != "references"), getattr(self, field.name)
            if value < least:
                raise ValueError(f"{field.name} is {value}; expected {least} or more")

    def around(self, key: int, frames: int) -> Ints:
        """Return the frames of a clip that may be references of a key, in temporal order."""
        return np.array(sorted(clues(key, frames, self.clues_per_direction, self.clue_stride)), np.int64)

    def keys(self, frames: int) -> Ints:
        """Return all key frames of a clip."""
        return np.array(key_frames(frames, self.key_stride))

    def draw_key(self, rng: np.random.Generator, frames: int) -> Plan:
        """Draw one key anywhere in the clip and its references: ICAM's sample, W = K = 1, N = 1 + R."""
        key = int(rng.integers(frames))
        return self._plan(rng, np.array([key]), np.array([key]), frames, slots=1, full=1 + self.references)

    def key_with(self, key: int, references: Sequence[int]) -> Plan:
        """Return the sample of `draw_key` with given references, at most R of them."""
        n = len(references)
        index, mask = np.zeros((1, self.references), np.int64), np.zeros((1, self.references), bool)
        index[0, :n], mask[0, :n] = np.arange(1, n + 1), True
        times = np.array([key, *references] + [key] * (self.references - n))
        return Plan(times, np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, bool), index, mask)

    def draw_window(self, rng: np.random.Generator, frames: int) -> Plan:
        """Draw W consecutive frames anywhere in a clip, K keys and their references; N = W + K + K R."""
        start = int(rng.integers(frames - self.window + 1))
        window = np.arange(start, start + self.window)
        keys = self.keys(frames)
        nearest = np.argsort(np.abs(keys - (start + (self.window - 1) / 2)), kind="stable")[: self.neighbours]
        full = self.window + self.neighbours * (1 + self.references)
        return self._plan(rng, window, keys[nearest], frames, slots=self.neighbours, full=full)

    def _plan(self, rng: np.random.Generator, window: Ints, keys: Ints, frames: int, *, slots: int, full: int) -> Plan:
        times = [*window]
        key_index, key_mask = np.zeros(slots, np.int64), np.zeros(slots, bool)
        index, mask = np.zeros((slots, self.references), np.int64), np.zeros((slots, self.references), bool)
        for k, key in enumerate(keys):
            key_index[k], key_mask[k] = _place(times, key), True
            near = rng.permutation(self.around(int(key), frames))[: rng.integers(self.references + 1)]
            for r, t in enumerate(near):
                index[k, r], mask[k, r] = _place(times, t), True
        filled = np.array(times + [times[0]] * (full - len(times)))
        return Plan(filled, np.arange(len(window)), key_index, key_mask, index, mask)


def _place(times: list[int], t: int) -> int:
    """Return the index of frame t, which is added if it is not there yet."""
    if t not in times:
        times.append(t)
    return times.index(t)
