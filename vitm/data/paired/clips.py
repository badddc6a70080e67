"""`HDR10Clips`: clips of ten consecutive SDR and HDR10 frames, the data of DSLNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitm.data.paired.layouts import Window, find_windows
from vitm.data.paired.windows import HDR10Windows, WindowDataset
from vitm.data.splits import Split


class ClipDataset(WindowDataset):
    """`WindowDataset` of clips; samples are `ClipSample`.

    Args:
        radius: Frames on either side of a sample's frame, which is a random one of the clip; the clip's first or last
            frame is repeated where there are none. None: a sample is the whole clip.
        **kwargs: The other arguments of `WindowDataset`.
    """

    def __init__(self, *args: Any, radius: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.radius = radius

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's."""
        sample = super().__getitem__(key)
        return sample if self.radius is None else sample | {"hdr_pq": sample["hdr_pq"][0]}

    def choose(self, window: Window, rng: np.random.Generator) -> tuple[Sequence[Path], Sequence[Path]]:
        """Return the SDR files around a random frame, and its HDR file alone: no other file is decoded."""
        if self.radius is None:
            return super().choose(window, rng)
        n = len(window.sdr)
        centre = int(rng.integers(n))
        near = np.clip(np.arange(centre - self.radius, centre + self.radius + 1), 0, n - 1)
        return [window.sdr[t] for t in near], [window.hdr[centre]]


class HDR10Clips(HDR10Windows):
    """Clips of ten SDR and HDR10 frames from folders of images; batches are `ClipBatch`.

    A training sample is a random frame of a clip with its neighbours, cropped at one random place; validation and test
    samples are whole clips of whole frames, every frame of which is a target (section Dataset: 74 sequences of ten
    frames). What `HDR10Windows` says of checks, seeds and resumed runs holds here.

    Each crop decodes whole files: with frames of 4K, cut them into tiles (`tile_size=480`), once, on disk.

    Args:
        radius: Frames on either side of the target in training; at least that of the network.
        crop_size: Side of the square training crops, in pixels (not in the paper).
        batch_size: Training samples in a batch of one process (not in the paper).
        clip_stride: Frames from the start of one clip to the start of the next, where a folder holds longer ones.
    """

    frames = 10
    dataset = ClipDataset

    def __init__(
        self,
        root: str,
        radius: int = 2,
        crop_size: int = 256,
        batch_size: int = 8,
        clip_stride: int = 10,
        **common: Any,
    ) -> None:
        super().__init__(root, crop_size=crop_size, batch_size=batch_size, **common)
        if radius < 0:
            raise ValueError(f"radius is {radius}; expected 0 or more frames on either side")
        self.radius, self.clip_stride = radius, clip_stride

    def windows(self, split: Split) -> list[Window]:
        """Find and check the clips of a split."""
        return find_windows(self.root, split, self.frames, clip_stride=self.clip_stride)

    def dataset_options(self, train: bool) -> dict[str, Any]:
        """Return the arguments of `ClipDataset`: targets with their neighbours for training, whole clips otherwise."""
        return super().dataset_options(train) | {"radius": self.radius if train else None}
