"""Tasks with a generator and a discriminator."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn

from vitm.training.lightning_internals import loss_scale, step_uncounted
from vitm.training.task import InverseToneMappingTask


class AdversarialTask(InverseToneMappingTask):
    """A task whose generator and discriminator are stepped together, against each other's weights before the step.

    A step of the trainer is one of the generator. `optimizers()` gives the generator's and, unless its loss is left
    out, the discriminator's.

    Args:
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    discriminator: nn.Module

    def __init__(self, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.automatic_optimization = False

    def judge(self, generated: Tensor, discriminator: nn.Module | None = None) -> Tensor:
        """Return logits for the generator's loss: gradients reach what was generated alone.

        Args:
            generated: what the discriminator takes.
            discriminator: one of several; None: `discriminator` itself.
        """
        judge = discriminator or self.discriminator
        judge.requires_grad_(False)
        logits: Tensor = judge(generated)
        judge.requires_grad_(True)
        return logits

    def step_both(self) -> None:
        """Apply the gradients, and advance the schedules."""
        optimizers: Any = self.optimizers()
        generator, *others = optimizers if isinstance(optimizers, list) else [optimizers]
        scale = loss_scale(self.trainer)
        generator.step()
        generator.zero_grad()
        for optimizer in others:
            factor = loss_scale(self.trainer) / scale  # fp16: a step may change the scale that these gradients carry
            for parameter in self.discriminator.parameters() if factor != 1 else ():
                assert parameter.grad is not None
                parameter.grad *= factor
            step_uncounted(self.trainer, optimizer)
            optimizer.zero_grad()
        schedulers: Any = self.lr_schedulers() or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            scheduler.step()

    def without_sync(self) -> AbstractContextManager[None]:
        """Keep processes from exchanging the gradients that are computed inside."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()
