"""What all tasks share: hooks, random numbers, what a checkpoint says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from vitm.training.task import L1Task, constructor_arguments


class Network(nn.Module):
    def __init__(self, width: int = 4, depth: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 1), nn.Dropout(0.5), nn.Conv2d(width, 3, 1))

    def forward(self, x):
        return self.layers(x)


class Task(L1Task):
    """The least that a task needs."""

    name = "tests.training.test_task.Network"
    network_class = Network
    metrics: ClassVar[tuple[str, ...]] = ("psnr",)

    def __init__(self, width: int = 4, **recipe) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width)

    def training_step(self, batch, batch_idx):
        with self.step_rng(batch_idx):
            return self.loss(self.network(batch["sdr"]), batch["hdr_pq"])


def stepping(accumulate: int, step: int, rank: int = 0) -> Task:
    torch.manual_seed(0)
    task = Task()
    task._trainer = SimpleNamespace(accumulate_grad_batches=accumulate, global_step=step, global_rank=rank)
    return task


def masks(task: Task, batch_idx: int) -> torch.Tensor:
    with task.step_rng(batch_idx):
        return torch.rand(4096) < 0.5


def test_dropout_masks_differ_within_an_accumulated_step():
    """Half of them agree by chance; those of a step are the same again, as a resumed run needs them."""
    task = stepping(accumulate=2, step=7)
    agreement = (masks(task, 14) == masks(task, 15)).float().mean()
    assert float(agreement) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(masks(task, 15), masks(stepping(accumulate=2, step=7), 15))
    assert not torch.equal(masks(task, 14), masks(stepping(accumulate=2, step=8), 16))
    assert not torch.equal(masks(task, 14), masks(stepping(accumulate=2, step=7, rank=1), 14))


def test_masks_of_plain_steps_depend_on_the_step_alone():
    """As in every earlier version: a run of these goes on with the same masks."""
    task = stepping(accumulate=1, step=7)
    torch.manual_seed(hash((task._seed, 7, 0)))
    assert torch.equal(masks(task, 3), torch.rand(4096) < 0.5)
    assert torch.equal(masks(task, 3), masks(task, 4))


def test_a_checkpoint_names_the_network_and_its_arguments():
    checkpoint: dict = {}
    Task(width=8).on_save_checkpoint(checkpoint)
    assert checkpoint == {"vitm": {"network": "tests.training.test_task.Network", "arguments": {"width": 8}}}
    assert constructor_arguments(Network, {"width": 8}) == {"width": 8, "depth": 1}


def test_losses_are_made_once_and_for_a_fit_alone():
    class Counting(Task):
        made = 0

        def configure_losses(self):
            self.made += 1

    task = Counting()
    task.setup("test")
    assert task.made == 0
    task.prepare_fit()
    task.setup("fit")
    assert task.made == 1


def test_the_test_measures_what_it_is_told_to():
    task = Task(test_metrics=["ssim", "psnr"])
    assert [*map(str, task.val_metrics)] == ["psnr"]
    assert sorted(map(str, task.test_metrics)) == ["psnr", "ssim"]
