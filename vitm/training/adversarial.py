"""Tasks with a generator and a discriminator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn

from vitm.training.lightning_internals import loss_scale, step_uncounted
from vitm.training.task import InverseToneMappingTask


class AdversarialTask(InverseToneMappingTask, ABC):
    """A task whose generator and discriminator are stepped together, against each other's weights before the step.

    A step of the trainer is one of the generator. `optimizers()` gives the generator's and, unless its loss is left
    out, the discriminator's. A subclass defines `losses`.

    Args:
        accumulate: pieces in which a batch is computed, to need less memory; the step is that of the whole batch.
        clip_value: limit that every gradient is clipped to, plus or minus; None for no clipping.
        clip_norm: limit of the norm of all gradients of the generator, and of the discriminator; None for no clipping.
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    discriminator: nn.Module

    def __init__(
        self, accumulate: int = 1, clip_value: float | None = None, clip_norm: float | None = None, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        if accumulate < 1:
            raise ValueError(f"expected accumulate >= 1, got accumulate={accumulate}")
        self.accumulate, self.clip_value, self.clip_norm = accumulate, clip_value, clip_norm
        self.automatic_optimization = False

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Return the losses of a batch, or of a piece of one: the generator's `loss`, its parts, and `discriminator`.

        Each is a mean over the samples, so that pieces make up the batch.
        """

    def has_begun(self, start: float) -> bool:
        """Return whether a stage of the training has begun.

        Args:
            start: the stage's first step; below 1, the share of all steps that are before it.

        Raises:
            ValueError: it is a share, and the training has no end.
        """
        if 0 < start < 1:
            steps = self.trainer.estimated_stepping_batches
            if not math.isfinite(steps):
                raise ValueError(
                    f"a stage that begins after {start:g} of all steps needs an end: set trainer.max_steps"
                )
            start *= steps
        return self.global_step >= start

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Make one step of the generator and one of the discriminator, against each other's weights before the step."""
        samples = max(map(len, batch.values()), default=1)
        size = -(-samples // self.accumulate)
        logged: dict[str, Tensor] = {}
        for i, first in enumerate(range(0, samples, size)):
            piece = {key: values[first : first + size] for key, values in batch.items()}
            share = min(size, samples - first) / samples
            with nullcontext() if first + size >= samples else self.without_sync():
                with self.step_rng(batch_idx, i):
                    losses = self.losses(piece)
                # They share no parameter that takes a gradient, so one pass back serves both.
                self.manual_backward(share * (losses["loss"] + losses.get("discriminator", 0)))
            for name, loss in losses.items():
                logged[name] = logged.get(name, 0) + share * loss.detach()
        self.step_both()
        for name, loss in logged.items():
            self.log(f"train/{name}", loss, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients, which are unscaled by now."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)

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
        self.update_average(self.global_step)
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
