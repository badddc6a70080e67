"""Adam and its learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

Schedule = Literal["constant", "cosine", "halving", "linear"]


def adam(
    parameters: Any,
    lr: float,
    betas: tuple[float, float],
    schedule: Schedule,
    steps: float,
    milestones: Sequence[int] = (),
) -> dict[str, Any]:
    """Return Adam with a schedule, as Lightning's `configure_optimizers` returns it.

    Args:
        parameters: parameters or parameter groups of the optimiser.
        lr: learning rate.
        betas: betas of Adam.
        schedule: `"constant"` keeps `lr`; `"cosine"` rises to it over the first 2 % of the steps and falls to zero at
            the last one; `"halving"` halves it after each of the `milestones`; `"linear"` keeps it for the first half
            of the steps, and then lets it fall to zero in a straight line.
        steps: optimiser steps of the whole training; infinite where it has no end.
        milestones: numbers of steps.

    Raises:
        ValueError: the schedule needs an end of the training, and there is none.
    """
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=betas)
    scheduler = _SCHEDULES[schedule](optimizer, steps, milestones)
    if scheduler is None:
        return {"optimizer": optimizer}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _constant(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int]) -> None:
    return None


def _halving(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int]) -> LRScheduler:
    return MultiStepLR(optimizer, list(milestones), 0.5)


def _cosine(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int]) -> LRScheduler:
    _check_end("cosine", steps)
    warmup = max(1, round(0.02 * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return LambdaLR(optimizer, factor)


def _linear(optimizer: torch.optim.Optimizer, steps: float, milestones: Sequence[int]) -> LRScheduler:
    _check_end("linear", steps)
    return LambdaLR(optimizer, lambda step: min(1.0, 2 * max(0.0, 1 - step / steps)))


def _check_end(schedule: Schedule, steps: float) -> None:
    if not math.isfinite(steps):
        raise ValueError(f"schedule={schedule} needs an end: set trainer.max_steps or trainer.max_epochs")


_SCHEDULES: dict[Schedule, Callable[[torch.optim.Optimizer, float, Sequence[int]], LRScheduler | None]] = {
    "constant": _constant,
    "cosine": _cosine,
    "halving": _halving,
    "linear": _linear,
}
