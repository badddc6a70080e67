"""From sections 3.2, 3.4 and 4.1: a stride of six; six clues each way with a stride of 15; five nearest keys."""

from __future__ import annotations

import pytest

from vitm.ops.key_frames import clues, key_frames, nearest_keys


def test_keys_have_a_stride_of_six_and_include_the_last_frame():
    assert key_frames(1) == [0]
    assert key_frames(6) == [0, 5]
    assert key_frames(7) == [0, 6]
    assert key_frames(20) == [0, 6, 12, 18, 19]
    assert key_frames(5, stride=1) == [0, 1, 2, 3, 4]
    assert key_frames(5, stride=9) == [0, 4]


def test_clues_are_six_each_way_from_near_to_far():
    far = [15, -15, 30, -30, 45, -45, 60, -60, 75, -75, 90, -90]
    assert clues(100, 300) == [100 + offset for offset in far]
    assert clues(0, 300) == [15, 30, 45, 60, 75, 90]
    assert clues(299, 300) == [284, 269, 254, 239, 224, 209]
    assert clues(20, 40) == [35, 5]
    assert clues(7, 15) == []
    assert clues(0, 16) == [15]
    assert clues(50, 300, per_direction=2, stride=4) == [54, 46, 58, 42]
    assert clues(50, 300, per_direction=0) == []


@pytest.mark.parametrize("n", [1, 2, 13, 31, 100])
def test_each_frame_has_its_five_nearest_keys(n):
    keys = key_frames(n)
    for t in range(n):
        near = nearest_keys(t, keys)
        assert len(near) == len(set(near)) == min(5, len(keys))
        distances = [abs(t - key) for key in near]
        assert distances == sorted(distances)
        assert all(abs(t - key) >= distances[-1] for key in set(keys) - set(near))


def test_of_two_keys_equally_near_the_earlier_one_comes_first():
    assert nearest_keys(15, key_frames(61)) == [12, 18, 6, 24, 0]
    assert nearest_keys(12, key_frames(61)) == [12, 6, 18, 0, 24]
    assert nearest_keys(3, [0, 6], 1) == [0]
