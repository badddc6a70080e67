"""`HDR10Clips`: clips of ten consecutive SDR and HDR10 frames, the data of DSLNet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from vitm.data.paired import augment
from vitm.data.paired.pairs import Cutting
from vitm.data.paired.windows import HDR10Windows, WindowDataset, read_window


class ClipDataset(WindowDataset):
    """`WindowDataset` of clips; samples are `ClipSample`.

    Args:
        radius: a sample is a random frame of the clip with so many frames on either side, the clip's first or last one
            repeated where there are none, and the HDR of that frame; None: a sample is the whole clip.
        **kwargs: see `WindowDataset`.
    """

    def __init__(self, *args: Any, radius: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.radius = radius

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Returns sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's."""
        sample = super().__getitem__(key)
        return sample if self.radius is None else sample | {"hdr_pq": sample["hdr_pq"][0]}

    def frames(self, index: int, rng: np.random.Generator) -> tuple[augment.Frames, augment.Frames]:
        """The frames around a random one, and its HDR alone: no other file is decoded."""
        if self.radius is None:
            return super().frames(index, rng)
        window = self.windows[index]
        n = len(window.sdr)
        centre = int(rng.integers(n))
        near = np.clip(np.arange(centre - self.radius, centre + self.radius + 1), 0, n - 1)
        if self._decoded:
            sdr, hdr = self._decoded[index]
            return sdr[near], hdr[centre : centre + 1]
        distinct = range(near[0], near[-1] + 1)
        sdr, hdr = read_window(
            replace(window, sdr=tuple(window.sdr[t] for t in distinct), hdr=window.hdr[centre : centre + 1])
        )
        return sdr[near - near[0]], hdr


class HDR10Clips(HDR10Windows):
    """Clips of ten SDR and HDR10 frames from PNG folders or from pairs of video files; batches are `ClipBatch`.

    A training sample is a random frame of a clip with its neighbours, cropped at one random place; validation and test
    samples are whole clips of whole frames, every frame of which is a target (section Dataset: 74 sequences of ten
    frames). What `HDR10Windows` says of checks, seeds and resumed runs holds here.

    Each crop decodes whole files: with frames of 4K, cut them into tiles (`tile_size=480`), once, on disk.

    Args:
        radius: Frames on either side of the target in training; at least that of the network.
        crop_size: Side of the square training crops, in pixels (not in the paper).
        batch_size: Training samples in a batch of one process (not in the paper).
        clip_stride: Frames from the start of one clip to the start of the next, where a folder holds longer ones.
        interval_s: Pairs only: seconds from one clip to the next; null takes one clip from each scene (paper).
    """

    frames = 10
    dataset: ClassVar[type[WindowDataset]] = ClipDataset

    def __init__(
        self,
        root: str,
        pairs: str | None = None,
        radius: int = 2,
        crop_size: int = 256,
        batch_size: int = 8,
        num_workers: int = 2,
        tile_size: int | None = None,
        tile_stride: int | None = None,
        flips: bool = False,
        rotations: bool = False,
        val_split: Literal["val", "test"] | None = "val",
        clip_stride: int = 10,
        interval_s: float | None = None,
        cache: bool = False,
        verify: bool = False,
        seed: int = 0,
    ) -> None:
        if radius < 0:
            raise ValueError(f"radius is {radius}; expected 0 or more frames on either side")
        cutting = Cutting(frames=10, per_scene=True) if interval_s is None else Cutting(interval_s, frames=10)
        super().__init__(
            root,
            pairs,
            crop_size=crop_size,
            batch_size=batch_size,
            num_workers=num_workers,
            flips=flips,
            rotations=rotations,
            val_split=val_split,
            cutting=cutting,
            cache=cache,
            verify=verify,
            seed=seed,
            clip_stride=clip_stride,
            tile_size=tile_size,
            tile_stride=tile_stride,
        )
        self.radius = radius

    def dataset_options(self, train: bool) -> dict[str, Any]:
        """Targets with their neighbours for training, whole clips otherwise."""
        return super().dataset_options(train) | {"radius": self.radius if train else None}
