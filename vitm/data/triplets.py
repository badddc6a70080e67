"""`HDR10Triplets`: triplets of consecutive SDR and HDR10 frames, the data of KPN-MFI (IJCAI 2022, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from vitm.data import augment
from vitm.data.batch import TripletSample
from vitm.data.layouts import Split, Still, Triplet, find_triplets, pair_folders
from vitm.data.pairs import Cutting, extract_pairs
from vitm.data.sampling import EvalShare, StreamLoader, TrainStream
from vitm.video import read_image

Augmentation = Callable[..., tuple[augment.Frames, ...]]


class TripletDataset(Dataset[TripletSample]):
    """Reads triplets from disk; augmentation depends on (seed, epoch, index) alone.

    Args:
        triplets: What `find_triplets` found.
        augmentations: Functions (generator, sdr, hdr) -> (sdr, hdr) on arrays (3, H, W, 3), applied in this order.
        seed: Of the generators.
        cache: Decode every file now and keep it in memory; worker processes share it where they are forked.
    """

    def __init__(
        self,
        triplets: Sequence[Triplet],
        *,
        augmentations: Sequence[Augmentation] = (),
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        self.triplets, self.augmentations, self.seed = triplets, augmentations, seed
        self._decoded = [read_triplet(t) for t in triplets] if cache else None

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, key: int | tuple[int, int]) -> TripletSample:
        """Returns sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        triplet = self.triplets[index]
        sdr, hdr = self._decoded[index] if self._decoded else read_triplet(triplet)
        rng = np.random.default_rng((self.seed, epoch, index))
        for augmentation in self.augmentations:
            sdr, hdr = augmentation(rng, sdr, hdr)
        return {"sdr": _to_tensor(sdr, 255), "hdr_pq": _to_tensor(hdr, 65535), "name": triplet.name}


def _to_tensor(frames: augment.Frames, full_scale: int) -> torch.Tensor:
    """Codes (T, H, W, 3) -> float32 (T, 3, H, W) in [0, 1]; full scale becomes 1 exactly."""
    return torch.from_numpy(np.divide(frames.transpose(0, 3, 1, 2), full_scale, dtype=np.float32, order="C"))


def read_triplet(triplet: Triplet) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Decodes (sdr, hdr), each (3, H, W, 3) RGB codes; ValueError names the file that cannot be decoded."""
    return np.stack([read_image(p) for p in triplet.sdr]), np.stack([read_image(p) for p in triplet.hdr])


class HDR10Triplets(LightningDataModule):
    """Triplets of SDR and HDR10 frames from PNG folders or from pairs of video files; batches are `TripletBatch`.

    Training samples are random crops with geometric and temporal augmentation, the same for SDR and HDR; validation and
    test samples are whole frames, one a batch. Everything is checked in `setup`, from the PNG headers, before any work.
    Samples depend on (seed, epoch, index) alone, not on the number of workers or processes, and a resumed run goes on
    with the next batch, also in the middle of an epoch.

    Args:
        root: Data folder with `train`, `val` and `test`, in any layout of `vitm.data.layouts`. With `pairs`, the folder
            where extracted triplets are kept.
        pairs: CSV file with columns sdr, hdr (video files, relative to the CSV), split (train, val or test) and
            optionally offset (the SDR frame that shows what HDR frame 0 shows). Triplets are extracted once, see
            `vitm.data.pairs`.
        crop_size: Side of the square training crops, in pixels (published code: 256).
        batch_size: Training samples in a batch of one process (published code: 8).
        num_workers: Processes that decode, for each loader.
        flips: Mirror crops left to right and top to bottom, each with probability 1/2.
        rotations: Turn crops by a random multiple of 90 degrees.
        time_reversal: Reverse the frames' order with probability 1/2.
        shuffle_order: Put the frames in random order with probability 1/2, as the published code does.
        val_split: Split to validate on: `test` for data without `val`, such as HDRTV1K; null for no validation.
        clip_stride: Whole clips only: frames from the start of one triplet to the start of the next.
        still: Frames that are not consecutive (HDRTV1K) are an error, or are repeated three times.
        interval_s: Pairs only: seconds from one triplet to the next (paper: 2).
        grid_crop: Pairs only: side of the square crops that training triplets are cut into on disk (paper: 1024); null
            keeps whole frames.
        grid_stride: Pairs only: pixels from one such crop to the next at most (null: `grid_crop`).
        cache: Keep the decoded training set in memory.
        verify: Decode every file in `setup`, not the headers alone.
        seed: Of the order of the samples and of their augmentation.
    """

    def __init__(
        self,
        root: str,
        pairs: str | None = None,
        crop_size: int = 256,
        batch_size: int = 8,
        num_workers: int = 2,
        flips: bool = True,
        rotations: bool = True,
        time_reversal: bool = True,
        shuffle_order: bool = False,
        val_split: Literal["val", "test"] | None = "val",
        clip_stride: int = 3,
        still: Still = "error",
        interval_s: float = 2.0,
        grid_crop: int | None = None,
        grid_stride: int | None = None,
        cache: bool = False,
        verify: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("crop_size", crop_size, 1),
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; expected {least} or more")
        self.root, self.pairs = Path(root), Path(pairs) if pairs else None
        self.crop_size, self.batch_size, self.num_workers = crop_size, batch_size, num_workers
        self.val_split, self.clip_stride, self.still = val_split, clip_stride, still
        self.interval_s, self.grid_crop, self.grid_stride = interval_s, grid_crop, grid_stride
        self.cache, self.verify, self.seed = cache, verify, seed
        chosen = (
            (flips, augment.random_flip),
            (rotations, augment.random_rotation),
            (time_reversal, augment.random_reversal),
            (shuffle_order, augment.random_order),
        )
        self.augmentations: list[Augmentation] = [
            partial(augment.random_crop, size=crop_size),
            *(f for on, f in chosen if on),
        ]
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer evaluation samples than processes
        self._sets: dict[Split, TripletDataset] = {}

    def prepare_data(self) -> None:
        """Extracts triplets from the video pairs, where that is not done yet."""
        if self.pairs:
            self._extracted(write=True)

    def setup(self, stage: str) -> None:
        """Finds and checks the splits that `stage` needs; decodes them if `verify`."""
        for split in self._splits(stage) - self._sets.keys():
            triplets = self.find(split)
            train = split == "train"
            if train:
                self._check_crop(triplets)
            if self.verify and self._rank_world()[0] == 0:
                for triplet in triplets:
                    read_triplet(triplet)
            self._sets[split] = TripletDataset(
                triplets, augmentations=self.augmentations if train else (), seed=self.seed, cache=self.cache and train
            )

    def find(self, split: Split) -> list[Triplet]:
        """The checked triplets of a split."""
        if self.pairs is None:
            return find_triplets(self.root, split, clip_stride=self.clip_stride, still=self.still)
        folders = self._extracted(write=False).get(split, [])
        if not folders:
            raise FileNotFoundError(f"{self.pairs} names no pair for the '{split}' split; add a row with split={split}")
        return [t for folder in folders for t in pair_folders(folder / "sdr", folder / "hdr")]

    def train_dataloader(self) -> StreamLoader:
        """The training stream, starting after the batches that the trainer has trained on."""
        data = self._sets["train"]
        rank, world = self._rank_world()
        sampler = TrainStream(
            len(data), self.batch_size, seed=self.seed, rank=rank, world=world, start=self._trained_batches
        )
        return StreamLoader(data, batch_size=self.batch_size, sampler=sampler, drop_last=True, **self._workers())

    def val_dataloader(self) -> DataLoader[TripletSample] | list[Any]:
        """Whole frames of `val_split`, one sample a batch; an empty list if there is none."""
        return self._eval_loader(self.val_split) if self.val_split else []

    def test_dataloader(self) -> DataLoader[TripletSample]:
        """Whole frames of the test split, one sample a batch."""
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[TripletSample]:
        data = self._sets[split]
        rank, world = self._rank_world()
        return DataLoader(data, batch_size=1, sampler=EvalShare(len(data), rank=rank, world=world), **self._workers())

    def _splits(self, stage: str) -> set[Split]:
        val: list[Split] = [self.val_split] if self.val_split else []
        by_stage: dict[str, set[Split]] = {"fit": {"train", *val}, "validate": {*val}, "test": {"test"}}
        if stage not in by_stage:
            raise ValueError(f"stage is '{stage}'; expected one of {', '.join(by_stage)}")
        return by_stage[stage]

    def _extracted(self, *, write: bool) -> dict[Split, list[Path]]:
        assert self.pairs
        return extract_pairs(
            self.pairs, self.root, Cutting(self.interval_s, self.grid_crop, self.grid_stride), write=write
        )

    def _check_crop(self, triplets: list[Triplet]) -> None:
        for t in triplets:
            if min(t.height, t.width) < self.crop_size:
                raise ValueError(
                    f"crop_size is {self.crop_size}, but {t.sdr[0]} is {t.width}x{t.height}; choose a crop_size of at "
                    f"most {min(t.height, t.width)}"
                )

    def _rank_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

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
