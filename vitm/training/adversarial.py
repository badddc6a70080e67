"""Tasks with a generator and a discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.strategies import ParallelStrategy
from torch import nn

from vitm.training.task import InverseToneMappingTask


class AdversarialTask(InverseToneMappingTask):
    """A task whose generator and discriminator are stepped together, against each other's weights before the step.

    A step of the trainer is one of the generator. `optimizers()` gives the generator's and, unless its loss is left
    out, the discriminator's.
    """

    discriminator: nn.Module

    def __init__(self, compile: bool = False, test_metrics: Sequence[str] | None = None) -> None:
        super().__init__(compile, test_metrics)
        self.automatic_optimization = False

    def step_both(self) -> None:
        """Apply the gradients, and advance the schedules."""
        optimizers: Any = self.optimizers()
        generator, *others = optimizers if isinstance(optimizers, list) else [optimizers]
        scale = self._loss_scale()
        generator.step()
        generator.zero_grad()
        for optimizer in others:
            factor = self._loss_scale() / scale  # fp16: a step may change the scale that these gradients carry
            for parameter in self.discriminator.parameters() if factor != 1 else ():
                assert parameter.grad is not None
                parameter.grad *= factor
            # past Lightning's wrapper, which would count it as a step of the trainer
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None)
            optimizer.zero_grad()
        schedulers: Any = self.lr_schedulers() or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            scheduler.step()

    def without_sync(self) -> AbstractContextManager[None]:
        """Processes do not exchange the gradients that are computed inside."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()

    def _loss_scale(self) -> float:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return float(scaler.get_scale()) if scaler is not None else 1.0
