"""The checkpoint from which a run resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vitm.training.lightning_internals import (
    SIGTERMException,
    begin_new_epoch_if_over,
    between_batches,
    number_steps_as_trainer,
)

STEPS, MINUTES = 1000, 10  # after which it is saved again
LOOK = 10  # steps after which the clock is read: processes must agree on the time


class LastCheckpoint(Checkpoint):
    """Save `last.ckpt` after each validation, every 1000 steps or 10 minutes, at the end of a fit, and where it stops.

    A fit that `StopWhenTold` ends is saved after its last step and the validation that is due then; before that
    validation as well, since who sent the signal may not wait for it.

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
        self._since = self._saved = time.monotonic()
        self._saved_step = self._step = 0
        self._told = False

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
        self._saved, self._saved_step = time.monotonic(), trainer.global_step
        self._step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Number the steps in logs as the trainer does; save if it is time and the batch before completed a step."""
        number_steps_as_trainer(trainer)
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            if self._due(trainer):
                with between_batches(trainer):
                    self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note whether the fit is to end."""
        self._told = trainer.received_sigterm

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the fit ends after this validation."""
        if trainer.state.fn == "fit" and self._told:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save during a fit."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of the fit."""
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if the fit was told to stop."""
        if isinstance(exception, SIGTERMException) and trainer.state.fn == "fit":
            self._save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        if trainer.global_step % LOOK:
            return False
        late = time.monotonic() - self._saved > 60 * MINUTES
        return trainer.global_step - self._saved_step >= STEPS or bool(trainer.strategy.broadcast(late))

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved, self._saved_step = time.monotonic(), trainer.global_step
