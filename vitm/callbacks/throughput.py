"""Frames per second of training."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log `train/frames_per_second`, over all devices, at each logging step (validation left out)."""

    def __init__(self) -> None:
        self.frames, self.seconds, self.since = 0, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock."""
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop the clock; log and start anew every `log_every_n_steps`."""
        self.seconds += time.perf_counter() - self.since
        self.frames += batch["sdr"].shape[:-3].numel() * trainer.world_size
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            pl_module.log("train/frames_per_second", self.frames / self.seconds, prog_bar=True, rank_zero_only=True)
            self.frames, self.seconds = 0, 0.0
