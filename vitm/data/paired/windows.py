"""What the data modules of SDR and HDR10 frames share: samples of N frames, checked first, seeded, resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from vitm.data.demo.cache import kept
from vitm.data.module import ResumableDataModule
from vitm.data.paired import augment
from vitm.data.paired.layouts import Split, Still, Window, find_windows, pair_folders
from vitm.data.paired.pairs import Cutting, extract_pairs
from vitm.data.paired.tiles import cut_tiles
from vitm.data.sampling import StreamLoader, TrainStream
from vitm.video import read_image

Augmentation = Callable[..., tuple[augment.Frames, ...]]


class WindowDataset(Dataset[Any]):
    """Reads samples of N frames from disk; augmentation depends on (seed, epoch, index) alone.

    Args:
        windows: What `find_windows` found.
        augmentations: Functions (generator, sdr, hdr) -> (sdr, hdr) on arrays (N, H, W, 3), applied in this order.
        seed: Of the generators.
        cache: Decode every file now and keep it in memory; worker processes share it where they are forked.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        augmentations: Sequence[Augmentation] = (),
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        self.windows, self.augmentations, self.seed = windows, augmentations, seed
        self._decoded = [read_window(w) for w in windows] if cache else None

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Returns sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's.

        `sdr` and `hdr_pq` are (N, 3, H, W), in the domains of `vitm.data.batch`; `name` is the sample's.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, epoch, index))
        sdr, hdr = self.frames(index, rng)
        for augmentation in self.augmentations:
            sdr, hdr = augmentation(rng, sdr, hdr)
        return {"sdr": _to_tensor(sdr, 255), "hdr_pq": _to_tensor(hdr, 65535), "name": self.windows[index].name}

    def frames(self, index: int, rng: np.random.Generator) -> tuple[augment.Frames, augment.Frames]:
        """Decoded (sdr, hdr) of sample `index`, codes (N, H, W, 3); a subclass may choose some of the frames."""
        return self._decoded[index] if self._decoded else read_window(self.windows[index])


def _to_tensor(frames: augment.Frames, full_scale: int) -> torch.Tensor:
    """Codes (N, H, W, 3) -> float32 (N, 3, H, W) in [0, 1]; full scale becomes 1 exactly."""
    return torch.from_numpy(np.divide(frames.transpose(0, 3, 1, 2), full_scale, dtype=np.float32, order="C"))


def read_window(window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Decodes (sdr, hdr), each (N, H, W, 3) RGB codes; ValueError names the file that cannot be decoded."""
    return np.stack([read_image(p) for p in window.sdr]), np.stack([read_image(p) for p in window.hdr])


class HDR10Windows(ResumableDataModule):
    """Samples of N frames, SDR and HDR10, from PNG folders or from pairs of video files; the base of the data modules.

    Training samples are random crops, the same of all frames and of SDR and HDR; validation and test samples are whole
    frames, one a batch. Everything is checked in `setup`, from the PNG headers, before any work. Samples depend on
    (seed, epoch, index) alone, not on the number of workers or processes, and a resumed run goes on with the next
    batch, also in the middle of an epoch. A subclass names `frames`, N, and the type of its `dataset`.

    Args:
        root: Data folder with `train`, `val` and `test`, in any layout of `vitm.data.paired.layouts`. With `pairs`, the
            where extracted samples are kept.
        pairs: CSV file with columns sdr, hdr (video files, relative to the CSV), split (train, val or test) and
            optionally offset (the SDR frame that shows what HDR frame 0 shows; found by content where it is left out).
            Samples are extracted once, as `vitm prepare` does, see `vitm.data.paired.pairs`.
        crop_size: Side of the square training crops, in pixels.
        batch_size: Training samples in a batch of one process.
        num_workers: Processes that decode, for each loader.
        flips: Mirror crops left to right and top to bottom, each with probability 1/2.
        rotations: Turn crops by a random multiple of 90 degrees.
        val_split: Split to validate on: `test` for data without `val`, such as HDRTV1K; null for no validation.
        clip_stride: Scenes and clips only: frames from the start of one sample to the start of the next.
        still: Frames that are not consecutive (HDRTV1K) are an error, or are repeated N times.
        interval_s: Pairs only: seconds from one sample to the next.
        tile_size: Side of the square tiles that training frames are cut into, once, on disk; null reads whole
            frames. See `vitm.data.paired.tiles`.
        tile_stride: Pixels from one tile to the next (null: half of `tile_size`).
        cache: Keep the decoded training set in memory.
        verify: Decode every file in `setup`, not the headers alone.
        seed: Of the order of the samples and of their augmentation.
        cutting: Pairs only: how samples are taken from the videos, `interval_s` included.
        augmentations: After crop, flips and rotations.
    """

    frames: ClassVar[int]
    dataset: ClassVar[type[WindowDataset]] = WindowDataset

    def __init__(
        self,
        root: str,
        pairs: str | None,
        *,
        crop_size: int,
        batch_size: int,
        num_workers: int,
        flips: bool,
        rotations: bool,
        val_split: Literal["val", "test"] | None,
        cutting: Cutting,
        cache: bool,
        verify: bool,
        seed: int,
        clip_stride: int | None = None,
        still: Still = "error",
        tile_size: int | None = None,
        tile_stride: int | None = None,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("crop_size", crop_size, 1),
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("tile_stride", tile_stride, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; expected {least} or more")
        if tile_size is not None and tile_size < crop_size:
            raise ValueError(f"tile_size is {tile_size}, crop_size {crop_size}; expected tiles that hold a crop")
        self.root, self.pairs = Path(root), Path(pairs) if pairs else None
        self.crop_size, self.batch_size, self.num_workers = crop_size, batch_size, num_workers
        self.val_split, self.clip_stride, self.still = val_split, clip_stride, still
        self.cutting, self.tile_size, self.tile_stride = cutting, tile_size, tile_stride
        self.cache, self.verify, self.seed = cache, verify, seed
        chosen = ((flips, augment.random_flip), (rotations, augment.random_rotation))
        self.augmentations: list[Augmentation] = [
            partial(augment.random_crop, size=crop_size),
            *(f for on, f in chosen if on),
            *augmentations,
        ]
        self._sets: dict[Split, WindowDataset] = {}

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of the demo data: rooms filmed in takes of three frames, or of ten for longer samples."""
        from vitm.data.demo.folder import write_demo

        if cls.frames > 3:
            return kept("demo_clips", partial(write_demo, frames=10))
        return kept("demo", write_demo)

    def prepare_data(self) -> None:
        """Extracts samples from the video pairs and, for a fit, cuts the tiles, where that is not done yet."""
        if self.pairs:
            self._extracted(write=True)
        if self.tile_size and self.trainer and self.trainer.state.fn == "fit":
            found = {split: self._whole(split) for split in self._splits("fit")}  # errors before any work
            self._tiled(found["train"], write=True)

    def setup(self, stage: str) -> None:
        """Finds and checks the splits that `stage` needs; decodes them if `verify`.

        Without a trainer, which calls `prepare_data` on one process and lets the others wait, it also cuts the tiles.
        """
        for split in sorted(self._splits(stage) - self._sets.keys(), key=lambda s: (s == "train", s)):
            windows = self.find(split)
            train = split == "train"
            if train:
                self._check_crop(windows)
            if self.verify and self._rank_world()[0] == 0:
                for window in windows:
                    read_window(window)
            self._sets[split] = self.dataset(windows, **self.dataset_options(train))

    def dataset_options(self, train: bool) -> dict[str, Any]:
        """Arguments of `dataset` but for its samples, for training or for evaluation."""
        return {
            "augmentations": self.augmentations if train else (),
            "seed": self.seed,
            "cache": self.cache and train,
        }

    def find(self, split: Split) -> list[Window]:
        """The checked samples of a split; of `train` their tiles, if there is a `tile_size`."""
        windows = self._whole(split)
        return self._tiled(windows, write=not self.trainer) if self.tile_size and split == "train" else windows

    def train_dataloader(self) -> StreamLoader:
        """The training stream, starting after the batches that the trainer has trained on."""
        data = self._sets["train"]
        rank, world = self._rank_world()
        sampler = TrainStream(
            len(data), self.batch_size, seed=self.seed, rank=rank, world=world, start=self._trained_batches
        )
        return StreamLoader(data, batch_size=self.batch_size, sampler=sampler, drop_last=True, **self._workers())

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Whole frames of `val_split`, one sample a batch; an empty list if there is none."""
        return self._eval_loader(self.val_split) if self.val_split else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Whole frames of the test split, one sample a batch."""
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        data = self._sets[split]
        return DataLoader(data, batch_size=1, sampler=self._eval_share(len(data), split), **self._workers())

    def _splits(self, stage: str) -> set[Split]:
        val: list[Split] = [self.val_split] if self.val_split else []
        by_stage: dict[str, set[Split]] = {"fit": {"train", *val}, "validate": {*val}, "test": {"test"}}
        if stage not in by_stage:
            raise ValueError(f"stage is '{stage}'; expected one of {', '.join(by_stage)}")
        return by_stage[stage]

    def _whole(self, split: Split) -> list[Window]:
        if self.pairs is None:
            return find_windows(self.root, split, self.frames, clip_stride=self.clip_stride, still=self.still)
        folders = self._extracted(write=False).get(split, [])
        if not folders:
            raise FileNotFoundError(f"{self.pairs} names no pair for the '{split}' split; add a row with split={split}")
        return [w for folder in folders for w in pair_folders(folder / "sdr", folder / "hdr", self.frames)]

    def _extracted(self, *, write: bool) -> dict[Split, list[Path]]:
        assert self.pairs
        return extract_pairs(self.pairs, self.root, self.cutting, write=write)

    def _tiled(self, windows: list[Window], *, write: bool) -> list[Window]:
        assert self.tile_size
        return cut_tiles(windows, self.root, self.tile_size, self.tile_stride or -(-self.tile_size // 2), write=write)

    def _check_crop(self, windows: list[Window]) -> None:
        for w in windows:
            if min(w.height, w.width) < self.crop_size:
                raise ValueError(
                    f"crop_size is {self.crop_size}, but {w.sdr[0]} is {w.width}x{w.height}; choose a crop_size of at "
                    f"most {min(w.height, w.width)}"
                )
