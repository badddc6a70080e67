"""Training that goes on with numbers alone: not with nan, and not with infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vitm.data.module import ResumableDataModule
from vitm.ops.copies import HostCopy
from vitm.training.lightning_internals import loss_scale
from vitm.training.processes import largest_of_all

SHOWN = 8  # files that a message names


class StopAtNonFinite(Callback):
    """End a run at the first loss, weight, prediction or monitored value that is no number, with the batch's name.

    Nothing is saved from then on: `last.ckpt` and the best checkpoint are of before. The losses of a step are looked at
    after the next one, and before anything is saved: a GPU has that much to do when the host looks, and never waits.

    With fp16, where the scaler leaves out steps whose numbers are too large, the run ends when it cannot scale less.
    """

    def __init__(self) -> None:
        self._losses: dict[str, Tensor] = {}
        self._wrong: HostCopy | None = None  # whether one of them is not finite, on any of the processes
        self._step, self._names = 0, list[str]()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the losses of the batch before, and keep those of this one."""
        self._look(trainer)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        logged = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
        self._losses = ({"loss": loss.detach()} if isinstance(loss, Tensor) else {}) | logged
        self._wrong = self._ask(trainer)
        self._step, self._names = trainer.global_step, _names(batch)
        if trainer.strategy.root_device.type == "cpu":
            self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at the losses and at the weights that would be saved."""
        if trainer.state.fn != "fit":
            return
        self._look(trainer)
        weights = [x for x in checkpoint["state_dict"].values() if x.is_floating_point()]
        if weights and not bool(torch.stack([x.isfinite().all() for x in weights]).all()):
            raise self._error(trainer, "train", f"the weights after step {self._step} are not finite")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a prediction."""
        self._look_at_prediction(trainer, "val", outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a prediction."""
        self._look_at_prediction(trainer, "test", outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the value that chooses the best checkpoint; the others may have none, as where nothing is bright."""
        name, _ = cast("tuple[str, str]", pl_module.monitor)
        value = float(trainer.callback_metrics.get(name, 0.0))
        if math.isnan(value):
            raise FloatingPointError(f"{name} is nan after step {trainer.global_step}")

    def _ask(self, trainer: Trainer) -> HostCopy | None:
        """Begin to find out whether a loss of this step is not finite, on any of the processes."""
        if not self._losses:
            return None
        finite = torch.stack([x.float().mean().isfinite() for x in self._losses.values()]).all()
        return HostCopy(largest_of_all(trainer, (~finite).long()))

    def _look(self, trainer: Trainer) -> None:
        """Raise if a loss of the step that was kept is not finite."""
        losses, wrong, self._losses, self._wrong = self._losses, self._wrong, {}, None
        if wrong is None or not bool(wrong.read()) or loss_scale(trainer) > 1:
            return
        values = ", ".join(f"{name} {float(x.mean())}" for name, x in losses.items() if not x.isfinite().all())
        what = f"the loss of step {self._step} is not finite ({values or 'on another process'})"
        raise self._error(trainer, "train", what)

    def _look_at_prediction(self, trainer: Trainer, stage: str, outputs: Any, batch: Any) -> None:
        predictions = outputs if isinstance(outputs, list | tuple) else [outputs]
        if not all(bool(x.isfinite().all()) for x in predictions if isinstance(x, Tensor)):
            self._names = _names(batch)
            raise self._error(trainer, stage, "the network predicts nan or infinity")

    def _error(self, trainer: Trainer, stage: str, what: str) -> FloatingPointError:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        known = isinstance(data, ResumableDataModule)
        files = [str(path) for name in self._names for path in data.files(stage, name)] if known else []
        more = [f"and {len(files) - SHOWN} more"] if len(files) > SHOWN else []
        where = f" ({', '.join(files[:SHOWN] + more)})" if files else ""
        samples = f"; its batch: {', '.join(self._names)}{where}" if self._names else ""
        advice = "; a smaller --model.lr often helps" if stage == "train" else ""
        return FloatingPointError(f"{what}{samples}. The run stops, and what was saved before is kept{advice}")


def _names(batch: Any) -> list[str]:
    """Return the names of a batch's samples."""
    names = batch.get("name", []) if isinstance(batch, Mapping) else getattr(batch, "name", [])
    return [names] if isinstance(names, str) else list(names)
