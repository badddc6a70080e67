"""The best single gain, against an exhaustive search."""

from __future__ import annotations

import pytest
import torch

from vitm.color import pq_eotf, pq_inverse_eotf
from vitm.evaluation.best_level import at_best_level


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.7])
def test_a_gain_is_undone(gain, rng):
    target = torch.rand(2, 3, 12, 16, generator=rng) * 0.4 + 0.2
    result, found = at_best_level(pq_inverse_eotf(pq_eotf(target) / gain), target)
    assert float((result - target).abs().max()) < 2e-3
    assert found.tolist() == pytest.approx([gain] * 2, rel=0.01)


def test_it_is_the_best_of_many(rng):
    target, pred = (torch.rand(1, 3, 12, 16, generator=rng) * 0.6 for _ in range(2))
    result, _ = at_best_level(pred, target)
    errors = [
        float((pq_inverse_eotf(pq_eotf(pred) * 2 ** (i / 100)) - target).square().mean()) for i in range(-250, 251)
    ]
    assert float((result - target).square().mean()) <= min(errors) * 1.0005
