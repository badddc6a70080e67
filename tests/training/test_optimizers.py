from __future__ import annotations

import math

import pytest
import torch

from vitm.training.optimizers import adam


def rates(schedule, steps, base=1e-3, milestones=()):
    """The learning rate at each optimiser step."""
    configured = adam([torch.nn.Parameter(torch.zeros(1))], base, (0.9, 0.999), schedule, steps, milestones)
    optimizer, out = configured["optimizer"], []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if "lr_scheduler" in configured:
            configured["lr_scheduler"]["scheduler"].step()
    return out


def test_constant_rate():
    assert set(rates("constant", 20)) == {1e-3}


def test_halving_rate():
    """After each milestone, cumulatively."""
    assert rates("halving", 9, 1.0, (3, 5, 8)) == [1.0] * 3 + [0.5] * 2 + [0.25] * 3 + [0.125]


def test_cosine_rate():
    """Rises over the first 2 % of the steps, is half-way down in the middle, and ends at zero."""
    lr = rates("cosine", 1000)
    assert lr[0] == pytest.approx(1e-3 / 20)
    assert max(lr) == lr[20] == pytest.approx(1e-3)
    assert lr[510] == pytest.approx(0.5e-3)
    assert lr[-1] == pytest.approx(0.5e-3 * (1 - math.cos(math.pi / 980)), rel=1e-6)


def test_cosine_needs_an_end():
    with pytest.raises(ValueError, match="max_steps"):
        adam([torch.nn.Parameter(torch.zeros(1))], 1e-3, (0.9, 0.999), "cosine", math.inf)
