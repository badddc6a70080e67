"""Checkpoint files that are whole or absent, and the one that a validation chose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vitm.checkpoints import CHOSEN_ON


class WholeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its name and rename it when it is whole.

    A full disk or a crash leaves the earlier checkpoint as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save `checkpoint` at `path`.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            torch.save(checkpoint, part)
            part.replace(path)
        except RuntimeError as error:  # torch's zip writer hides the operating system's error
            raise OSError(f"cannot write {path}: is the disk full? ({error})") from error
        finally:
            part.unlink(missing_ok=True)


class BestCheckpoint(ModelCheckpoint):
    """Keep the checkpoint with the best value of a validation, and write into it what that looked at.

    It is what makes a checkpoint a chosen one, and not the name of its file: `last.ckpt` is what training left.
    """

    _saving = False
    _pictures: list[str] | None = None  # the files are looked at once, not at each best value

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, as runs of before have it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self._saving = True
        try:
            super()._save_checkpoint(trainer, filepath)
        finally:
            self._saving = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write what identifies the pictures of validation, if this callback saves."""
        if self._saving:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            self._pictures = data.pictures("val") if self._pictures is None else self._pictures
            checkpoint[CHOSEN_ON] = self._pictures
