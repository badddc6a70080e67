"""Frames per second of training."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log `train/frames_per_second` at each logging step: over all devices, with data loading, without validation."""

    def __init__(self) -> None:
        self.frames, self.since = 0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock anew."""
        self._restart()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count frames; log and start anew every `log_every_n_steps`."""
        self.frames += batch["sdr" if "sdr" in batch else "ldr"].shape[:-3].numel() * trainer.world_size
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step % every == 0:
            rate = self.frames / (time.perf_counter() - self.since)
            pl_module.log("train/frames_per_second", rate, rank_zero_only=True)
            self._restart()

    def _restart(self) -> None:
        self.frames, self.since = 0, time.perf_counter()
