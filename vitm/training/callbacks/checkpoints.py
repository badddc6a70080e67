"""Checkpoint files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


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
