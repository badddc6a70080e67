"""Optimiser steps that a task takes in a real fit, recorded, and what they should be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader


class Step(NamedTuple):
    """One step of an optimiser: its parameters and their gradients before it, and its learning rates."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    rates: list[float]


class _Recorder(Callback):
    def __init__(self) -> None:
        self.steps: dict[int, list[Step]] = {}
        self.optimizers: dict[int, torch.optim.Optimizer] = {}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        both = [(p, group["lr"]) for group in optimizer.param_groups for p in group["params"]]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p, _ in both]
        step = Step([p.detach().clone() for p, _ in both], gradients, [rate for _, rate in both])
        self.steps.setdefault(id(optimizer), []).append(step)
        self.optimizers[id(optimizer)] = optimizer


def take_steps(task: LightningModule, batches: Sequence[Any]) -> list[list[Step]]:
    """Fit a task on batches, one step each; return the steps of each optimiser, and what it left as a last one."""
    recorder = _Recorder()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=len(batches),
        limit_val_batches=0,
        callbacks=[recorder],
    )
    trainer.fit(task, DataLoader(list(batches), batch_size=None))  # type: ignore[arg-type]
    assert trainer.global_step == len(batches)
    for key, steps in recorder.steps.items():
        groups = recorder.optimizers[key].param_groups
        steps.append(Step([p.detach().clone() for group in groups for p in group["params"]], [], []))
    return list(recorder.steps.values())


def assert_gradients(step: Step, loss: Tensor, parameters: Iterable[nn.Parameter], tolerance: float = 1e-3) -> None:
    """A step's gradients are those of a loss: their distance is a thousandth of their size."""
    expected = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    assert len(expected) == len(step.gradients)
    pairs = [
        (torch.zeros_like(ours) if e is None else e, ours) for e, ours in zip(expected, step.gradients, strict=True)
    ]
    whole, ours = (torch.cat([pair[i].flatten().double() for pair in pairs]) for i in (0, 1))
    assert whole.norm() > 0
    assert (ours - whole).norm() < tolerance * whole.norm(), f"{(ours - whole).norm() / whole.norm():.2e}"


def assert_adam(steps: list[Step], betas: tuple[float, float]) -> None:
    """The parameters moved as Adam's algorithm moves them (Kingma and Ba, 2015, algorithm 1)."""
    first = [torch.zeros_like(g, dtype=torch.float64) for g in steps[0].gradients]
    second = [torch.zeros_like(g, dtype=torch.float64) for g in steps[0].gradients]
    for t, (step, after) in enumerate(pairwise(steps), 1):
        for i, (g, rate) in enumerate(zip(step.gradients, step.rates, strict=True)):
            first[i] = betas[0] * first[i] + (1 - betas[0]) * g.double()
            second[i] = betas[1] * second[i] + (1 - betas[1]) * g.double() ** 2
            mean, square = first[i] / (1 - betas[0] ** t), second[i] / (1 - betas[1] ** t)
            expected = step.parameters[i].double() - rate * mean / (square.sqrt() + 1e-8)
            torch.testing.assert_close(after.parameters[i].double(), expected, rtol=1e-5, atol=1e-3 * rate + 1e-7)
