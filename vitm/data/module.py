"""What all data modules share: who loads what, and where a resumed run goes on."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset

from vitm.data.sampling import EvalShare, StreamLoader, TrainStream


class ResumableDataModule(LightningDataModule):
    """Loaders that depend on the process and on the batches already trained on.

    Args:
        batch_size: Training samples in a batch of one process.
        num_workers: Processes that decode, for each loader.
        seed: Seed of the order of the samples and of everything that is drawn for them.
    """

    def __init__(self, *, batch_size: int, num_workers: int = 2, seed: int = 0) -> None:
        super().__init__()
        check_least(batch_size=(batch_size, 1), num_workers=(num_workers, 0))
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of data that shows what this data module does; it is made on first use."""
        raise NotImplementedError(f"{cls.__name__} has no demo data; give it data of your own (--data.root)")

    def files(self, stage: str, name: str) -> list[Path]:
        """Return the files of a sample; here: none is known.

        Args:
            stage: `train`, `val` or `test`, which uses the sample.
            name: Name that it has in a batch.
        """
        return []

    def pictures(self, stage: Literal["val", "test"]) -> list[str]:
        """Return what identifies each picture or clip that a stage measures, wherever it lies; here: none is known.

        A checkpoint keeps those of the validation that chose it. So tables can mark it where a test measures some of
        them.

        Args:
            stage: stage, which is set up; of another one nothing is known.
        """
        return []

    def _train_loader(self, data: Dataset[Any], **options: Any) -> StreamLoader:
        """Return an endless stream of a data set's samples, starting after the batches that were trained on."""
        rank, world = self._rank_world()
        sampler = TrainStream(
            len(cast(Sized, data)), self.batch_size, seed=self.seed, rank=rank, world=world, start=self._trained_batches
        )
        return StreamLoader(
            data, batch_size=self.batch_size, sampler=sampler, drop_last=True, **self._workers(), **options
        )

    def _rank_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _eval_share(self, samples: int, split: str) -> EvalShare:
        """Return this process's part of an evaluation; raise ValueError if it has none, as the others would wait."""
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


def check_least(**options: tuple[int | None, int]) -> None:
    """Raise ValueError for an option, given as (value, least value), that is too small."""
    for name, (value, least) in options.items():
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")
