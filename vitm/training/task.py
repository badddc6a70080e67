"""What every task shares: optimiser and schedule, evaluation, and what a checkpoint says about its network."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection

from vitm.metrics import frame_metrics
from vitm.nets.complexity import count_macs
from vitm.training.optimizers import Schedule, adam


def constructor_arguments(network: type[nn.Module], given: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a network's constructor, those that are not `given` by their defaults."""
    bound = inspect.signature(network).bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)


class InverseToneMappingTask(LightningModule):
    """A network that maps SDR to HDR10, its training and its evaluation by the field's metrics.

    A task sets `name` and `metrics`, which validation measures and, unless `test_metrics` says otherwise, the test;
    it builds `self.network` and `self.arguments` (those of the network's constructor),
    and defines `training_step` and `configure_optimizers`.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    clip_frames: int | None = None
    """How many frames the network takes at once, (B, T, 3, H, W); None for single ones, (B, 3, H, W)."""
    analytic: ClassVar[bool] = True
    """Whether the analytic operators do the same task, and are measured beside the network."""
    monitor: ClassVar[tuple[str, str]] = ("val/psnr", "max")
    """Which value chooses the best checkpoint, and whether the most or the least of it is best."""
    light: ClassVar[str] = ""
    """How relative light became absolute before it was measured, where it did."""
    network: nn.Module
    arguments: dict[str, Any]
    schedule: Schedule

    def __init__(self, compile: bool = False, test_metrics: Sequence[str] | None = None) -> None:
        super().__init__()
        self._seed = torch.initial_seed()
        self.compile_network = compile
        self.val_metrics = frame_metrics(self.metrics)
        self.test_metrics = frame_metrics(self.metrics if test_metrics is None else test_metrics)

    def setup(self, stage: str) -> None:
        """Channels-last weights, and a compiled network where asked for."""
        self.network.to(memory_format=torch.channels_last)
        if self.compile_network:
            self.network.compile()

    def forward(self, sdr: Tensor) -> Tensor:
        """The network's prediction in [0, 1]: what is measured, shown and written."""
        hdr_pq: Tensor = self.network(sdr).float().clamp(0, 1)
        return hdr_pq

    def earlier_stages(self) -> dict[str, nn.Module]:
        """Networks by name that the test measures beside this one, because it goes on from them."""
        return {}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Name -> metrics of what the test measured beside the network, by itself."""
        return {}

    def preview(self, batch: Any, outputs: Any) -> tuple[Tensor, Tensor, Tensor, str]:
        """SDR, prediction and target of the first sample, of a clip its middle frame, (3, H, W) each; and its name.

        Args:
            batch: of validation or test.
            outputs: what the step returned for it.
        """
        frames = [x[0] if x.ndim == 4 else x[0, x.shape[1] // 2] for x in (batch["sdr"], outputs, batch["hdr_pq"])]
        return frames[0], frames[1], frames[2], batch["name"][0]

    def macs_per_frame(self) -> int | None:
        """Multiply-adds a frame at 256 x 256; None: not counted."""
        if self.clip_frames is None:
            network = copy.deepcopy(self.network).to("meta").eval()  # counts whole maps, and computes nothing
            return count_macs(network, torch.empty(1, 3, 256, 256, device="meta"))
        clip = torch.rand(1, self.clip_frames, 3, 64, 64, device=self.device)  # a sixteenth of it, in one band of rows
        return count_macs(self.network, clip) * 16 // self.clip_frames

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Measure and return the prediction."""
        return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Measure and return the prediction."""
        return self._evaluate(batch, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log `val/<metric>`."""
        self._log_metrics("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log `test/<metric>`."""
        self._log_metrics("test", self.test_metrics)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write which network this is, so that `vitm.zoo.load_network` rebuilds it from the file alone."""
        checkpoint["vitm"] = {"network": self.name, "arguments": self.arguments}

    @contextmanager
    def step_rng(self) -> Iterator[None]:
        """Random numbers, of dropout say, that depend on the seed, the step and the process alone.

        So a resumed run draws what an undisturbed one draws.
        """
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(hash((self._seed, self.global_step, self.global_rank)))
            yield

    @property
    def steps(self) -> float:
        """Optimiser steps of the whole training, where the schedule depends on them; else infinite."""
        return float(self.trainer.estimated_stepping_batches) if self.schedule == "cosine" else math.inf

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        self.log_dict({f"{stage}/{name}": value.float() for name, value in metrics.compute().items()})
        metrics.reset()

    def _evaluate(self, batch: Any, metrics: MetricCollection) -> Tensor:
        hdr_pq: Tensor = self(batch["sdr"])
        metrics.update(hdr_pq, batch["hdr_pq"])
        return hdr_pq


class L1Task(InverseToneMappingTask):
    """A network that learns by the mean absolute difference of PQ codes, with Adam.

    Args:
        network: the network.
        arguments: all arguments of its constructor.
        lr: learning rate of Adam.
        betas: betas of Adam.
        schedule: of the learning rate.
        milestones: steps after which `schedule=halving` halves the rate.
        compile: run the network through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
    """

    def __init__(
        self,
        network: nn.Module,
        arguments: dict[str, Any],
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "halving",
        milestones: Sequence[int] = (),
        compile: bool = False,
        test_metrics: list[str] | None = None,
    ) -> None:
        super().__init__(compile, test_metrics)
        self.network, self.arguments = network, arguments
        self.lr, self.betas, self.schedule, self.milestones = lr, betas, schedule, milestones

    def loss(self, hdr_pq: Tensor, target: Tensor) -> Tensor:
        """The loss of a training step, logged."""
        loss = F.l1_loss(hdr_pq.float(), target)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam with the schedule."""
        return adam(self.network.parameters(), self.lr, self.betas, self.schedule, self.steps, self.milestones)
