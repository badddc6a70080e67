"""`HDR10Triplets`: triplets of consecutive SDR and HDR10 frames, the data of KPN-MFI (IJCAI 2022, section 4.1)."""

from __future__ import annotations

from typing import Literal

from vitm.data.paired import augment
from vitm.data.paired.layouts import Still
from vitm.data.paired.pairs import Cutting
from vitm.data.paired.windows import HDR10Windows


class HDR10Triplets(HDR10Windows):
    """Triplets of SDR and HDR10 frames from PNG folders or from pairs of video files; batches are `TripletBatch`.

    Training samples are random crops with geometric and temporal augmentation, the same for SDR and HDR; validation and
    test samples are whole frames, one a batch. What `HDR10Windows` says of checks, seeds and resumed runs holds here.

    Args:
        crop_size: Side of the square training crops, in pixels (published code: 256).
        batch_size: Training samples in a batch of one process (published code: 8).
        time_reversal: Reverse the frames' order with probability 1/2.
        shuffle_order: Put the frames in random order with probability 1/2, as the published code does.
        still: Frames that are not consecutive (HDRTV1K) are an error, or are repeated three times.
        interval_s: Pairs only: seconds from one triplet to the next (paper: 2).
        grid_crop: Pairs only: side of the square crops that training triplets are cut into on disk (paper: 1024); null
            keeps whole frames.
        grid_stride: Pairs only: pixels from one such crop to the next at most (null: `grid_crop`).
    """

    frames = 3

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
        temporal = ((time_reversal, augment.random_reversal), (shuffle_order, augment.random_order))
        super().__init__(
            root,
            pairs,
            crop_size=crop_size,
            batch_size=batch_size,
            num_workers=num_workers,
            flips=flips,
            rotations=rotations,
            val_split=val_split,
            cutting=Cutting(interval_s, grid_crop, grid_stride),
            cache=cache,
            verify=verify,
            seed=seed,
            clip_stride=clip_stride,
            still=still,
            augmentations=[f for on, f in temporal if on],
        )
