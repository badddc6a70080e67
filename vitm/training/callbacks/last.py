"""The checkpoint from which a run goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

EVERY = 1000  # steps


class LastCheckpoint(Checkpoint):
    """Save `last.ckpt` after each validation, at the end of a fit, and when it is interrupted.

    An interrupt is what `StopWhenTold` makes of a signal, or Ctrl-C. Without validation, it is saved every 1000 steps.

    `ModelCheckpoint(save_last=True)` does so only where the monitored value became better, so that a run that was
    killed would go on from there. Put it behind that callback, whose state then is up to date in the file.

    Args:
        folder: where checkpoints of the run are.

    Attributes:
        earlier: seconds that the fit took before it was interrupted, up to the checkpoint from which it goes on.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        self.earlier = 0.0
        self._since = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The clock of a fit."""
        self._since = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """How long the fit has taken, with what came before."""
        return {"seconds": self.earlier + time.monotonic() - self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.earlier = float(state_dict["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch where the checkpoint ended one.

        With `max_steps` Lightning would go on with the one that is over: by one more batch, which then makes a step
        alone, whatever `accumulate_grad_batches` says, or, where a validation is due, by counting the epoch twice.
        """
        loop = trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        if loop.restarting and epochs.ready == epochs.processed:
            loop.epoch_loop.restarting = False
            loop.epoch_loop.update_restart_stage()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, during a fit."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Number the steps in logs as the trainer does: after some restarts Lightning's other count is one ahead."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save now and then, if there is no validation."""
        if not sum(trainer.num_val_batches) and trainer.global_step % EVERY == 0:
            trainer.save_checkpoint(self.path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        trainer.save_checkpoint(self.path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if the exception is that of `StopWhenTold`, or Ctrl-C, during training."""
        if isinstance(exception, SIGTERMException | KeyboardInterrupt) and trainer.state.fn == "fit":
            trainer.save_checkpoint(self.path)
