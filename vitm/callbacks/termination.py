"""A checkpoint at the moment when a run is told to stop."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class SaveOnTermination(Callback):
    """Save `last.ckpt` after the batch in which SIGTERM arrived; a resumed run goes on with the next batch.

    Args:
        folder: where checkpoints of the run are.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if the exception is Lightning's answer to SIGTERM during training."""
        if isinstance(exception, SIGTERMException) and trainer.state.fn == "fit":
            trainer.save_checkpoint(self.path)
