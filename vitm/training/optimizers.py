"""Adam and its learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

Schedule = Literal["constant", "cosine", "halving"]


def adam(
    parameters: Any,
    lr: float,
    betas: tuple[float, float],
    schedule: Schedule,
    steps: float,
    milestones: Sequence[int] = (),
) -> dict[str, Any]:
    """Adam with a schedule over `steps` optimiser steps, as Lightning's `configure_optimizers` returns it.

    `"constant"` keeps `lr`; `"cosine"` rises to it over the first 2 % of the steps and falls to zero at the last one;
    `"halving"` halves it after each of the `milestones`, which are numbers of steps.
    """
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=betas)
    if schedule == "constant":
        return {"optimizer": optimizer}
    if schedule == "halving":
        halving = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halving, "interval": "step"}}
    if not math.isfinite(steps):
        raise ValueError("schedule=cosine needs an end: set trainer.max_steps or trainer.max_epochs")
    warmup = max(1, round(0.02 * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
