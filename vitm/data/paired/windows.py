"""What the data modules of SDR and HDR10 frames share: samples of N frames, checked first, seeded, resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from einops import rearrange
from torch.utils.data import DataLoader, Dataset

from vitm.data.demo.cache import kept
from vitm.data.module import ResumableDataModule, check_least
from vitm.data.paired import augment
from vitm.data.paired.augment import Frames
from vitm.data.paired.fingerprint import sketch
from vitm.data.paired.layouts import Window, find_windows
from vitm.data.paired.light import LinearLight, is_linear
from vitm.data.paired.packed import pack_frames
from vitm.data.paired.tiles import cut_tiles, tiles_of
from vitm.data.sampling import StreamLoader
from vitm.data.splits import Split
from vitm.data.workers import SteadyLoader
from vitm.video import read_image

OVER_EXPOSED = 0.95 * 255  # SDR code above which the brightest channel is over-exposed, as in HDRTVNet's mask

Augmentation = Callable[..., tuple[Frames, ...]]


class WindowDataset(Dataset[Any]):
    """Reads samples of N frames from disk; augmentation depends on (seed, epoch, index) alone.

    Args:
        windows: The samples, as `find_windows` returns them.
        crop_size: Side of the random square that is cut out of a sample, in pixels; None keeps whole frames.
        augmentations: Functions (generator, sdr, hdr) -> (sdr, hdr) on arrays (N, H, W, 3), applied in this order.
        seed: Seed of the generators.
        read: Function from a file to its frame (H, W, 3), codes.
        highlights: Share of the samples whose crop holds an over-exposed pixel of the SDR frame, where there is one.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        crop_size: int | None = None,
        augmentations: Sequence[Augmentation] = (),
        seed: int = 0,
        read: Callable[[Path], Frames] | None = None,
        highlights: float = 0.0,
    ) -> None:
        self.windows, self.crop_size, self.augmentations, self.seed = windows, crop_size, augmentations, seed
        self.read = read or read_image
        self.highlights = highlights

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's.

        `sdr` and `hdr_pq` are (N, 3, H, W), in the domains of `vitm.data.batch`; `name` is the sample's.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = np.random.default_rng((self.seed, epoch, index))
        window = self.windows[index]
        sdr_paths, hdr_paths = self.choose(window, rng)
        place, read = self._place(window, rng), cache(self.read)  # a file that serves several times is decoded once
        if self.crop_size is not None and self.highlights and rng.random() < self.highlights:
            place = self._place_on_highlights(window, read(sdr_paths[len(sdr_paths) // 2]), rng) or place
        sdr, hdr = (np.stack([read(path)[place] for path in paths]) for paths in (sdr_paths, hdr_paths))
        for augmentation in self.augmentations:
            sdr, hdr = augmentation(rng, sdr, hdr)
        return {"sdr": _to_tensor(sdr, 255), "hdr_pq": _to_tensor(hdr, 65535), "name": window.name}

    def choose(self, window: Window, rng: np.random.Generator) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the SDR and the HDR files that a sample is made of; a subclass may choose some of the window's."""
        return window.sdr, window.hdr

    def _place(self, window: Window, rng: np.random.Generator) -> tuple[slice, slice]:
        """Return rows and columns of the sample in its files: a random square, or all."""
        y, x, height, width = window.top, window.left, window.height, window.width
        if self.crop_size is not None:
            y, x = y + int(rng.integers(height - self.crop_size + 1)), x + int(rng.integers(width - self.crop_size + 1))
            height = width = self.crop_size
        return slice(y, y + height), slice(x, x + width)

    def _place_on_highlights(self, window: Window, sdr: Frames, rng: np.random.Generator) -> tuple[slice, slice] | None:
        """Return a square that holds a random over-exposed pixel of a frame; None where it has none.

        Every fourth row and column of the frame is looked at.
        """
        size, top, left = self.crop_size or 0, window.top, window.left
        codes = sdr[top : top + window.height : 4, left : left + window.width : 4]
        rows, columns = np.nonzero(codes.max(-1) > OVER_EXPOSED)
        if not len(rows):
            return None
        pixel = int(rng.integers(len(rows)))

        def start(at: int, side: int, offset: int) -> int:
            return offset + int(rng.integers(max(0, at - size + 1), min(at, side - size) + 1))

        y = start(4 * int(rows[pixel]), window.height, top)
        x = start(4 * int(columns[pixel]), window.width, left)
        return slice(y, y + size), slice(x, x + size)


def _read_codes(light: LinearLight, path: Path) -> Frames:
    return light.codes(read_image(path), path)


def _to_tensor(frames: Frames, full_scale: int) -> torch.Tensor:
    """Convert codes to float32 in [0, 1]; full scale becomes 1 exactly."""
    channels_first = rearrange(frames, "n h w c -> n c h w")
    return torch.from_numpy(np.divide(channels_first, full_scale, dtype=np.float32, order="C"))


class HDR10Windows(ResumableDataModule):
    """Samples of N frames, SDR and HDR10, from folders of images; the base of the data modules.

    Training samples are random crops, the same of all frames and of SDR and HDR; validation and test samples are whole
    frames, one a batch. Everything is checked in `setup`, from the files' headers, before any work. Samples depend on
    (seed, epoch, index) alone, not on the number of workers or processes, and a resumed run goes on with the next
    batch, also in the middle of an epoch. `vitm prepare` makes such folders from videos.

    A subclass names `frames`, N, and the type of its `dataset`. One that reads files in an order of its own overrides
    `windows`; one that augments in its own way adds to `augmentations`.

    Args:
        root: Data folder with `train`, `val` and `test`, in any layout of `vitm.data.paired.layouts`.
        crop_size: Side of the square training crops, in pixels.
        tile_size: Side of the square tiles that training frames are cut into, once, on disk; frames of that size stay
            as they are, and null reads whole frames. See `vitm.data.paired.tiles`.
        tile_stride: Pixels from one tile to the next (null: half of `tile_size`).
        flips: Mirror crops left to right and top to bottom, each with probability 1/2.
        rotations: Turn crops by a random multiple of 90 degrees.
        highlights: Share of the training crops that hold an over-exposed pixel of the middle SDR frame, if it has any.
        val_split: Split to validate on: `test` for data without `val`, such as HDRTV1K; null for no validation.
        cache: Keep the decoded training set on disk, mapped into memory and shared by all processes; then tiles are
            parts of it, and are not cut. See `vitm.data.paired.packed`.
        cache_dir: Folder for tiles and decoded frames; null is `root`.
        unit_nits: Light of 1.0 in HDR files that are EXR, in cd/m2; null: as their header says (whiteLuminance).
        verify: Decode every file in `setup`, not the headers alone.
        **common: The options of `ResumableDataModule`.
    """

    frames: ClassVar[int]
    dataset: ClassVar[type[WindowDataset]] = WindowDataset

    def __init__(
        self,
        root: str,
        *,
        crop_size: int,
        tile_size: int | None = None,
        tile_stride: int | None = None,
        flips: bool = False,
        rotations: bool = False,
        highlights: float = 0.0,
        val_split: Literal["val", "test"] | None = "val",
        cache: bool = False,
        cache_dir: str | None = None,
        unit_nits: float | None = None,
        verify: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_least(crop_size=(crop_size, 1), tile_stride=(tile_stride, 1))
        if tile_size is not None and tile_size < crop_size:
            raise ValueError(f"tile_size is {tile_size}, crop_size {crop_size}; expected tiles that hold a crop")
        if tile_size is not None and tile_stride is not None and tile_stride > tile_size:
            raise ValueError(
                f"tile_stride is {tile_stride}, tile_size {tile_size}; expected a stride of at most a tile, or pixels "
                "are left out (null: half of a tile)"
            )
        if unit_nits is not None and not unit_nits > 0:
            raise ValueError(f"unit_nits is {unit_nits}; expected the light of 1.0 in cd/m2, such as 100")
        if not 0 <= highlights <= 1:
            raise ValueError(f"highlights is {highlights}; expected a share from 0 to 1")
        self.root, self.highlights = Path(root), highlights
        self.crop_size, self.tile_size, self.tile_stride = crop_size, tile_size, tile_stride
        self.val_split, self.cache, self.verify = val_split, cache, verify
        self.cache_dir = Path(cache_dir) if cache_dir else self.root
        self.light = LinearLight(unit_nits)
        chosen = ((flips, augment.random_flip), (rotations, augment.random_rotation))
        self.augmentations: list[Augmentation] = [augmentation for on, augmentation in chosen if on]
        self._sets: dict[Split, WindowDataset] = {}

    @classmethod
    def demo_root(cls) -> Path:
        """Return the folder of the demo data: rooms filmed in takes of three frames, or of ten for longer samples."""
        from vitm.data.demo.frames import write_demo_frames

        if cls.frames > 3:
            return kept("demo_clips", partial(write_demo_frames, frames=10))
        return kept("demo", write_demo_frames)

    def windows(self, split: Split) -> list[Window]:
        """Find and check the samples of a split; a data set in a layout of its own overrides this."""
        return find_windows(self.root, split, self.frames)

    def prepare_data(self) -> None:
        """Cut or decode the frames for a fit, where that is not done yet."""
        if (self.tile_size or self.cache) and self.trainer and self.trainer.state.fn == "fit":
            windows = {split: self.windows(split) for split in self._splits("fit")}  # errors before any work
            self._training_set(windows["train"], write=True)

    def setup(self, stage: str) -> None:
        """Find and check the splits that `stage` needs; decode them if `verify`.

        Without a trainer, which calls `prepare_data` on one process and lets the others wait, it also does its work.
        """
        for split in sorted(self._splits(stage) - self._sets.keys(), key=lambda s: (s == "train", s)):
            windows, train = self.windows(split), split == "train"
            for path in {path for window in windows for path in window.hdr if is_linear(path)}:
                self.light.unit_of(path)
            read: Callable[[Path], Frames] = partial(_read_codes, self.light)
            if train:
                self._check_crop(windows)
                windows, read = self._training_set(windows, write=not self.trainer)
            if self.verify and self._rank_world()[0] == 0:
                for window in windows:
                    for path in (*window.sdr, *window.hdr):
                        read_image(path)
            self._sets[split] = self.dataset(windows, read=read, **self.dataset_options(train))

    def dataset_options(self, train: bool) -> dict[str, Any]:
        """Return the arguments of `dataset` but for its samples, for training or for evaluation."""
        options = {"crop_size": self.crop_size, "augmentations": self.augmentations, "highlights": self.highlights}
        return (options if train else {}) | {"seed": self.seed}

    def find(self, split: Split) -> list[Window]:
        """Return the checked samples of a split; of `train` their tiles, if there is a `tile_size`."""
        windows = self.windows(split)
        return self._training_set(windows, write=not self.trainer)[0] if split == "train" else windows

    def files(self, stage: str, name: str) -> list[Path]:
        """Return the files of a sample: its SDR, then its HDR."""
        splits = {str(split): data.windows for split, data in self._sets.items()}
        windows = splits.get(str(self.val_split) if stage == "val" else stage, ())
        return [path for window in windows if window.name == name for path in (*window.sdr, *window.hdr)]

    def pictures(self, stage: Literal["val", "test"]) -> list[str]:
        """Return what identifies the HDR frames that a stage measures."""
        split = self.val_split if stage == "val" else stage
        data = self._sets.get(split) if split else None
        return sorted({sketch(path) for window in data.windows for path in window.hdr}) if data else []

    def train_dataloader(self) -> StreamLoader:
        """Return the training stream, starting after the batches that the trainer has trained on."""
        return self._train_loader(self._sets["train"])

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return whole frames of `val_split`, one sample a batch; an empty list if there is none."""
        return self._eval_loader(self.val_split) if self.val_split else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Return whole frames of the test split, one sample a batch."""
        return self._eval_loader("test")

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        data = self._sets[split]
        return SteadyLoader(data, batch_size=1, sampler=self._eval_share(len(data), split), **self._workers())

    def _splits(self, stage: str) -> set[Split]:
        val: list[Split] = [self.val_split] if self.val_split else []
        by_stage: dict[str, set[Split]] = {"fit": {"train", *val}, "validate": {*val}, "test": {"test"}}
        if stage not in by_stage:
            raise ValueError(f"stage is '{stage}'; expected one of {', '.join(by_stage)}")
        return by_stage[stage]

    def _training_set(self, windows: list[Window], *, write: bool) -> tuple[list[Window], Callable[[Path], Frames]]:
        """Return the training samples, tiles if there is a `tile_size`, and how their files are read."""
        size, stride = self.tile_size, self.tile_stride
        if self.cache:
            tiles = tiles_of(windows, size, stride) if size else windows  # errors before any work
            return tiles, pack_frames(windows, self.root, self.cache_dir, light=self.light, write=write)
        if size and any((window.height, window.width) != (size, size) for window in windows):
            windows = cut_tiles(
                windows, self.root, size, stride, cache_dir=self.cache_dir, light=self.light, write=write
            )
        return windows, partial(_read_codes, self.light)

    def _check_crop(self, windows: list[Window]) -> None:
        for window in windows:
            if min(window.height, window.width) < self.crop_size:
                raise ValueError(
                    f"crop_size is {self.crop_size}, but {window.sdr[0]} is {window.width}x{window.height}; choose a "
                    f"crop_size of at most {min(window.height, window.width)}"
                )
