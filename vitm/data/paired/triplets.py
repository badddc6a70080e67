"""`HDR10Triplets`: three consecutive SDR and HDR10 frames, the data of KPN-MFI (IJCAI 2022, section 4.1)."""

from __future__ import annotations

from typing import Any, Literal

from vitm.data.paired import augment
from vitm.data.paired.layouts import Window, find_windows
from vitm.data.paired.windows import HDR10Windows
from vitm.data.splits import Split


class HDR10Triplets(HDR10Windows):
    """Triplets of SDR and HDR10 frames from folders of images; batches are `TripletBatch`.

    Training samples are random crops with geometric and temporal augmentation, the same for SDR and HDR; validation and
    test samples are whole frames, one a batch. What `HDR10Windows` says of checks, seeds and resumed runs holds here.

    Args:
        crop_size: Side of the square training crops, in pixels (published code: 256).
        batch_size: Training samples in a batch of one process (published code: 8).
        flips: Mirror crops left to right and top to bottom, each with probability 1/2.
        rotations: Turn crops by a random multiple of 90 degrees.
        time_reversal: Reverse the frames' order with probability 1/2.
        shuffle_order: Put the frames in random order with probability 1/2, as the published code does.
        clip_stride: Scenes and clips only: frames from the start of one triplet to the start of the next.
        still: Frames that are not consecutive (HDRTV1K) are an error, or are repeated three times.
    """

    frames = 3

    def __init__(
        self,
        root: str,
        crop_size: int = 256,
        batch_size: int = 8,
        flips: bool = True,
        rotations: bool = True,
        time_reversal: bool = True,
        shuffle_order: bool = False,
        clip_stride: int = 3,
        still: Literal["error", "repeat"] = "error",
        **common: Any,
    ) -> None:
        super().__init__(root, crop_size=crop_size, batch_size=batch_size, flips=flips, rotations=rotations, **common)
        self.clip_stride, self.still = clip_stride, still
        temporal = ((time_reversal, augment.random_reversal), (shuffle_order, augment.random_order))
        self.augmentations += [augmentation for on, augmentation in temporal if on]

    def windows(self, split: Split) -> list[Window]:
        """Find and check the triplets of a split."""
        return find_windows(self.root, split, self.frames, clip_stride=self.clip_stride, still=self.still)
