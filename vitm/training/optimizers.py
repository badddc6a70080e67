"""Optimisers and schedules of the learning rate: named ones, and any by class path."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, MultiStepLR, ReduceLROnPlateau, SequentialLR

OptimizerOf = Callable[[Iterable[Any]], torch.optim.Optimizer]
"""Makes an optimiser of parameter groups: on a command line a class path, with its arguments but for the rate."""

ScheduleOf = Callable[[torch.optim.Optimizer], LRScheduler]
"""Makes a schedule, stepped after each step of the optimiser: on a command line a class path, with its arguments."""

Named = Literal["constant", "cosine", "halving", "linear"]
Schedule = Named | ScheduleOf
ENDING = ("cosine", "linear")
"""Schedules that need to know the end of the training."""


def check_rate(optimizer: OptimizerOf | None, lr: float) -> None:
    """Raise a ValueError for an optimiser with a learning rate of its own, which would have no effect."""
    if optimizer is None:
        return
    made_of_one = optimizer([torch.nn.Parameter(torch.zeros(()))])
    given, parameters = made_of_one.defaults.get("lr"), inspect.signature(type(made_of_one)).parameters
    if given not in (None, lr, parameters["lr"].default if "lr" in parameters else None):
        raise ValueError(f"the optimiser has lr={given}, and the task lr={lr}: give the rate to the task (--model.lr)")


def scheduled(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    steps: float = math.inf,
    milestones: Sequence[int] = (),
    warmup: int = 0,
) -> dict[str, Any]:
    """Return an optimiser with its schedule, as Lightning's `configure_optimizers` returns them.

    Args:
        optimizer: the optimiser.
        schedule: `"constant"` keeps the rate; `"cosine"` lets it fall to zero at the last step, after a linear rise
            over the first 2 % of the steps unless `warmup` says otherwise; `"halving"` halves it after each of the
            `milestones`; `"linear"` keeps it for the first half of the steps, and then lets it fall to zero in a
            straight line. Or a function from the optimiser to a schedule of PyTorch.
        steps: optimiser steps of the whole training; infinite where it has no end.
        milestones: numbers of steps, counted from the beginning of the training.
        warmup: number of first steps in which the rate rises linearly; a schedule of PyTorch begins after them.

    Raises:
        ValueError: the schedule needs an end of the training, and there is none; or a value to watch.
    """
    if warmup < 0:
        raise ValueError(f"expected warmup of 0 steps or more, got {warmup}")
    if isinstance(schedule, str):
        if schedule in ENDING and not math.isfinite(steps):
            raise ValueError(f"schedule={schedule} needs an end: set trainer.max_steps or trainer.max_epochs")
        scheduler = _SCHEDULES[schedule](optimizer, steps, milestones, warmup)
    else:
        scheduler = schedule(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError("schedule: ReduceLROnPlateau watches a value; expected a schedule that counts steps")
        if warmup:
            rise = LinearLR(optimizer, 1 / warmup, total_iters=max(1, warmup - 1))
            scheduler = SequentialLR(optimizer, [rise, scheduler], [warmup])
    if scheduler is None:
        return {"optimizer": optimizer}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _constant(
    optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int], warmup: int
) -> LRScheduler | None:
    return LambdaLR(optimizer, lambda step: _rise(step, warmup)) if warmup else None


def _halving(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int], warmup: int) -> LRScheduler:
    if not warmup:
        return MultiStepLR(optimizer, list(milestones), 0.5)
    return LambdaLR(optimizer, lambda step: _rise(step, warmup) * 0.5 ** sum(step >= m for m in milestones))


def _cosine(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int], warmup: int) -> LRScheduler:
    rising = warmup or max(1, round(0.02 * steps))

    def factor(step: int) -> float:
        if step < rising:
            return _rise(step, rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    return LambdaLR(optimizer, factor)


def _linear(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int], warmup: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: _rise(step, warmup) * min(1.0, 2 * max(0.0, 1 - step / steps)))


def _rise(step: int, warmup: int) -> float:
    """Return the factor of the rate at a step: `1 / warmup` at step 0, and 1 from step `warmup - 1` on."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


_SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, float, Sequence[int], int], LRScheduler | None]] = {
    "constant": _constant,
    "cosine": _cosine,
    "halving": _halving,
    "linear": _linear,
}
