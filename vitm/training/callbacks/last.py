"""The checkpoint from which a run resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vitm.training.lightning_internals import SIGTERMException, begin_new_epoch_if_over, number_steps_as_trainer

EVERY = 1000  # steps


class LastCheckpoint(Checkpoint):
    """Save `last.ckpt` after each validation, at the end of a fit, and when the fit is interrupted.

    An interrupt is what `StopWhenTold` makes of a signal, or Ctrl-C. Without validation, it is saved every 1000 steps.

    `ModelCheckpoint(save_last=True)` saves only where the monitored value became better; a killed run would lose all
    steps since then. Put this callback behind a `ModelCheckpoint`, so that the file holds the latter's newest state.

    Args:
        folder: folder of the run's checkpoints.

    Attributes:
        earlier: seconds that the fit took before it was interrupted, up to the checkpoint from which it resumes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.earlier = 0.0
        self._since = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock of a fit."""
        self._since = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds that the fit has taken, earlier parts included."""
        return {"seconds": self.earlier + time.monotonic() - self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the seconds of the earlier parts."""
        self.earlier = float(state_dict["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch where the checkpoint ended one."""
        begin_new_epoch_if_over(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save during a fit."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Number the steps in logs as the trainer does."""
        number_steps_as_trainer(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every 1000 steps if there is no validation."""
        if not sum(trainer.num_val_batches) and trainer.global_step % EVERY == 0:
            trainer.save_checkpoint(self.path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of the fit."""
        trainer.save_checkpoint(self.path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if a signal or Ctrl-C ended the training."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt) and trainer.state.fn == "fit":
            trainer.save_checkpoint(self.path)
