"""The frames of a sample against the paper's strides, by brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vitm.data.sequences.clue_schedule import ClueSchedule, Plan


def references(plan: Plan, k: int = 0) -> list[int]:
    """Frame numbers of the references that key k has."""
    return plan.times[plan.references[k][plan.reference_mask[k]]].tolist()


@pytest.mark.parametrize("frames", [1, 10, 40, 100, 181, 500])
def test_references_lie_at_multiples_of_15_within_90_inside_the_clip(frames: int) -> None:
    rng, schedule, seen = np.random.default_rng(0), ClueSchedule(references=3), Counter[int]()
    for _ in range(400):
        plan = schedule.draw_key(rng, frames)
        (key,) = plan.times[plan.keys]
        assert plan.times.shape == (4,)
        assert plan.window.tolist() == plan.keys.tolist() == [0]
        assert plan.key_mask.all()
        allowed = [key + 15 * k for k in range(-6, 7) if k and 0 <= key + 15 * k < frames]
        drawn = references(plan)
        assert len({*drawn}) == len(drawn)
        assert {*drawn} <= {*allowed}
        assert (plan.times >= 0).all()
        assert (plan.times < frames).all()
        seen.update(r - key for r in drawn)
        assert schedule.around(int(key), frames).tolist() == allowed
    if frames == 500:
        assert {*seen} == {15 * k for k in range(-6, 7) if k}
        assert seen[15] / sum(seen.values()) == pytest.approx(1 / 12, abs=0.05)  # near ones are not preferred
    assert bool(seen) == (frames > 15)


def test_number_and_order_of_references_are_random() -> None:
    rng, schedule = np.random.default_rng(0), ClueSchedule()
    plans = [schedule.draw_key(rng, 500) for _ in range(300)]
    counts = Counter(len(references(plan)) for plan in plans)
    assert {*counts} == {0, 1, 2}
    assert min(counts.values()) > 60
    ordered = [r[0] < r[1] for plan in plans if len(r := references(plan)) == 2]
    assert 0.3 < np.mean(ordered) < 0.7
    assert ClueSchedule(references=0).draw_key(rng, 500).references.shape == (1, 0)


@pytest.mark.parametrize("frames", [7, 12, 100, 181])
def test_window_has_the_nearest_keys_and_their_references(frames: int) -> None:
    rng, schedule = np.random.default_rng(1), ClueSchedule()
    for _ in range(200):
        plan = schedule.draw_window(rng, frames)
        assert plan.times.shape == (7 + 5 * 3,)
        window = plan.times[plan.window]
        assert (np.diff(window) == 1).all()
        assert 0 <= window[0] <= frames - 7
        all_keys = [t for t in range(frames) if t % 6 == 0 or t == frames - 1]
        expected = sorted(all_keys, key=lambda t: (abs(t - window[3]), t))[:5]
        assert plan.times[plan.keys[plan.key_mask]].tolist() == expected
        assert plan.key_mask.sum() == min(5, len(all_keys))
        for k, key in enumerate(expected):
            assert all((r - key) % 15 == 0 and 0 < abs(r - key) <= 90 for r in references(plan, k))
            if key in window:
                assert plan.keys[k] < 7  # not read twice
        assert not plan.reference_mask[~plan.key_mask].any()


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="key_stride is 0; expected 1 or more"):
        ClueSchedule(key_stride=0)
    with pytest.raises(ValueError, match="references is -1; expected 0 or more"):
        ClueSchedule(references=-1)
