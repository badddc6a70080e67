"""Cuts are told at once, motion and light changes are none."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from vitm.video.cuts import CutDetector


def photograph(name: str) -> np.ndarray:
    return getattr(data, name)()[:256, :384].astype(np.float32) / 255


def cuts(frames: list[np.ndarray]) -> list[int]:
    detector = CutDetector()
    return [i for i, frame in enumerate(frames) if detector(frame)]


def pan(image: np.ndarray, count: int) -> list[np.ndarray]:
    return [image[:, 2 * i : 2 * i + 300] for i in range(count)]


@pytest.mark.parametrize("at", [1, 2, 9])
def test_a_cut_is_told_at_its_first_frame(at: int) -> None:
    frames = pan(photograph("coffee"), 10)[:at] + pan(photograph("astronaut"), 10)
    assert cuts(frames) == [at]


def test_motion_and_a_slow_change_of_light_are_no_cuts() -> None:
    frames = [frame * (1 - 0.03 * i) for i, frame in enumerate(pan(photograph("coffee"), 20))]
    assert cuts(frames) == []


def test_two_cuts_in_a_row() -> None:
    a, b = photograph("coffee")[:, :300], photograph("astronaut")[:, :300]
    assert cuts([a, a, b, a, a]) == [2, 3]


def test_frames_are_not_changed_and_may_leave_the_range() -> None:
    frame = photograph("coffee") * 1.5 - 0.1
    before = frame.copy()
    assert cuts([frame, frame]) == []
    assert np.array_equal(frame, before)
