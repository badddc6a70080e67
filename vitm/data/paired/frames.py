"""`HDR10Frames`: single SDR and HDR10 frames, as HDRTV1K has them, the data of HDCFM and PDCG (ACM MM 2022)."""

from __future__ import annotations

from typing import Any, Literal

from vitm.data.paired.windows import HDR10Windows, WindowDataset


class FrameDataset(WindowDataset):
    """`WindowDataset` of single frames; samples are `FrameSample`."""

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index` as augmented in `epoch`, for a key (epoch, index); a bare index is epoch 0's."""
        sample = super().__getitem__(key)
        return sample | {"sdr": sample["sdr"][0], "hdr_pq": sample["hdr_pq"][0]}


class HDR10Frames(HDR10Windows):
    """Single frames, SDR and HDR10, from folders of images; batches are `FrameBatch`.

    It reads HDRTV1K as its authors share it (`train_{sdr,hdr}/001.png`, `test_{sdr,hdr}`, also inside `training_set`
    and `test_set`), their sub-images (`train_{sdr,hdr}_sub`), and each single frame of triplets, scenes and clips.
    Training samples are random crops, not mirrored or turned, as in HDRTVNet's configurations; validation and test
    samples are whole frames, one a batch. What `HDR10Windows` says of checks, seeds and resumed runs holds here.

    Each crop decodes a whole file: with frames of 4K, cut them into tiles (`tile_size=480`, as HDRTVNet does), which
    takes about 3.3 times their room on disk, once.

    Args:
        crop_size: Side of the square training crops, in pixels (HDRTVNet: 480, its highlight stage 128).
        batch_size: Training samples in a batch of one process (HDRTVNet: 4).
        val_split: Split to validate on. HDRTV1K has no `val`: HDRTVNet validates on `test`, and so does this, which
            means that a best checkpoint is chosen on the frames that it is measured on; say `val` where there is one,
            null for no validation.
    """

    frames = 1
    dataset = FrameDataset

    def __init__(
        self,
        root: str,
        crop_size: int = 480,
        batch_size: int = 4,
        val_split: Literal["val", "test"] | None = "test",
        **common: Any,
    ) -> None:
        super().__init__(root, crop_size=crop_size, batch_size=batch_size, val_split=val_split, **common)
