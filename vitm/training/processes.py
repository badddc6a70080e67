"""What the processes of a training find out together."""

from __future__ import annotations

from lightning.pytorch import Trainer
from torch import Tensor, distributed


def largest_of_all(trainer: Trainer, x: Tensor) -> Tensor:
    """Return the largest value that a process has; the host waits for nothing.

    Args:
        trainer: the trainer, whose processes all call this.
        x: any tensor of numbers on the trainer's device.
    """
    if trainer.world_size > 1:
        distributed.all_reduce(x, distributed.ReduceOp.MAX)
    return x
