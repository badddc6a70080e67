"""Evaluation is fp32, whatever training is."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vitm.baselines.task import ResNetTask


class Recorder(pl.Callback):
    """What evaluation predicts, and the type of what the network gives in training."""

    def __init__(self) -> None:
        self.predictions: dict[str, Tensor] = {}
        self.trained_in: torch.dtype | None = None

    def on_validation_batch_end(self, trainer: Any, task: Any, outputs: Any, *_: Any) -> None:
        self.predictions["val"] = outputs

    def on_test_batch_end(self, trainer: Any, task: Any, outputs: Any, *_: Any) -> None:
        self.predictions["test"] = outputs

    def on_train_start(self, trainer: Any, task: Any) -> None:
        def note(module: Any, inputs: Any, output: Tensor) -> None:
            if module.training:
                self.trained_in = output.dtype

        task.network.register_forward_hook(note)


def run(precision: Any) -> Recorder:
    rng = torch.Generator().manual_seed(0)
    sdr = torch.rand(3, 96, 96, generator=rng)
    loader: Any = DataLoader([{"sdr": sdr, "hdr_pq": 0.6 * sdr, "name": "0"}])  # type: ignore[arg-type]
    torch.manual_seed(0)
    task, recorder = ResNetTask(width=8, blocks=1), Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        max_steps=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[recorder],
    )
    trainer.validate(task, loader, verbose=False)
    trainer.test(task, loader, verbose=False)
    trainer.fit(task, loader, loader)
    return recorder


def test_mixed_precision_is_for_training_alone() -> None:
    full, mixed = run("32-true"), run("bf16-mixed")
    assert (full.trained_in, mixed.trained_in) == (torch.float32, torch.bfloat16)
    assert mixed.predictions["test"].dtype == torch.float32
    assert len(mixed.predictions["test"].unique()) > 5_000  # bf16 gave 1,023; an untrained network clips the most to 0
    assert torch.equal(mixed.predictions["test"], full.predictions["test"])
    assert len(mixed.predictions["val"].unique()) > 5_000
