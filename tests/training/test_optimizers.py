from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from vitm.training.optimizers import check_rate, scheduled


def rates(schedule, steps, base=1e-3, milestones=(), warmup=0):
    """The learning rate at each optimiser step."""
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], base)
    configured = scheduled(adam, schedule, steps, milestones, warmup)
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
        scheduled(torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]), "cosine")


def test_warm_up_rises_linearly_and_then_the_schedule_goes_on():
    """Milestones and the end count from the beginning of the training; a schedule of PyTorch begins after the rise."""
    assert rates("constant", 6, 1.0, warmup=4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert rates("halving", 8, 1.0, (3, 6), warmup=2) == pytest.approx([0.5, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])
    lr = rates("cosine", 100, 1.0, warmup=20)
    assert lr[:21] == pytest.approx([*(i / 20 for i in range(1, 21)), 1])
    assert lr[60] == pytest.approx(0.5)
    steps = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1)
    assert rates(steps, 5, 1.0) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates(steps, 7, 1.0, warmup=3) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 0.1, 0.1])


def test_schedules_that_cannot_be_followed_are_refused():
    with pytest.raises(ValueError, match="ReduceLROnPlateau watches a value"):
        rates(torch.optim.lr_scheduler.ReduceLROnPlateau, 3)
    with pytest.raises(ValueError, match="0 steps or more, got -1"):
        rates("constant", 3, warmup=-1)


def test_an_optimiser_has_no_rate_of_its_own():
    check_rate(None, 1e-4)
    check_rate(partial(torch.optim.AdamW, weight_decay=0.1), 1e-4)
    check_rate(partial(torch.optim.SGD, lr=1e-4), 1e-4)
    with pytest.raises(ValueError, match=r"lr=0\.3, and the task lr=0\.0001: give the rate to the task"):
        check_rate(partial(torch.optim.SGD, lr=0.3), 1e-4)
