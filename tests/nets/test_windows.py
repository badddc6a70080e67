from __future__ import annotations

import pytest

from vitm.nets.windows import windows


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("radius", [0, 1, 2, 3])
def test_every_frame_has_its_neighbours_and_the_ends_are_repeated(length, radius):
    clip = list(range(length))
    expected = [[min(max(s, 0), length - 1) for s in range(t - radius, t + radius + 1)] for t in clip]
    assert list(windows(clip, radius)) == expected


def test_no_more_is_read_ahead_than_a_window_needs():
    read = []

    def clip():
        for t in range(100):
            read.append(t)
            yield t

    made = windows(clip(), 2)
    assert next(made) == [0, 0, 0, 1, 2]
    assert read == [0, 1, 2]
    next(made)
    assert read == [0, 1, 2, 3]
