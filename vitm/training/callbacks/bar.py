"""The progress bar of a training."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from vitm.ops.copies import HostCopy

SHOWN = ("train/loss", "train/frames_per_second")


class EpochBar(RichProgressBar):
    """Lightning's bar, with the loss of the step before, for which a GPU need not wait, and endless epochs.

    What a task logs with `prog_bar=True`, Lightning asks the device for in each step, and waits; so no task does. A
    training without a last epoch counts them as "Epoch 3", not as "Epoch 3/-2".
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._coming: dict[str, HostCopy] = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what is shown: on the CPU of this step, on another device of the step before."""
        logged = {name: HostCopy(x) for name, x in trainer.callback_metrics.items() if name in SHOWN}
        before, self._coming = self._coming, logged
        shown = logged if trainer.strategy.root_device.type == "cpu" else before
        return super().get_metrics(trainer, pl_module) | {name: float(x.read()) for name, x in shown.items()}

    def _get_train_description(self, current_epoch: int) -> str:
        return super()._get_train_description(current_epoch).replace("/-2", "")
