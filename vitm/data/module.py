"""What all data modules share: who loads what, and where a resumed run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from vitm.data.sampling import EvalShare


class ResumableDataModule(LightningDataModule):
    """Loaders that depend on the process and on the batches already trained on; a subclass sets `num_workers`."""

    num_workers: int

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of data that shows what this data module does; it is made on first use."""
        raise NotImplementedError(f"{cls.__name__} has no demo data; give it data of your own (--data.root)")

    def _rank_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _eval_share(self, samples: int, split: str) -> EvalShare:
        """This process's part of an evaluation; ValueError if it has none: the others' metrics would wait for it."""
        rank, world = self._rank_world()
        if samples < world:
            raise ValueError(
                f"the '{split}' split has {samples} to evaluate on, and there are {world} processes, which must have "
                "one each: take fewer devices (--trainer.devices), or more data"
            )
        return EvalShare(samples, rank=rank, world=world)

    def _trained_batches(self) -> int:
        if not self.trainer:
            return 0
        # counts batches whose step is done, over all epochs; in every checkpoint, and loaded before the data loaders
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(progress.processed)

    def _workers(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }
