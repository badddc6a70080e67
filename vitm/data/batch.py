"""The contents of a batch: keys, shapes, value ranges and colour domains, written once."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from vitm.ops.copies import copied_to


class FrameSample(TypedDict):
    """One frame.

    Keys:
        sdr: (3, H, W) = (RGB, height, width), float32, BT.709 primaries, gamma code in [0, 1] (8-bit / 255).
        hdr_pq: (3, H, W), float32, BT.2020 primaries, PQ code in [0, 1] (16-bit code / 65535; 1 is 10,000 cd/m2).
        name: Name of the sample, unique within its split.
    """

    sdr: Tensor
    hdr_pq: Tensor
    name: str


class FrameBatch(TypedDict):
    """A batch of `FrameSample`: `sdr` and `hdr_pq` are (B, 3, H, W), `name` is a list of B names."""

    sdr: Tensor
    hdr_pq: Tensor
    name: list[str]


class TripletSample(TypedDict):
    """Three consecutive frames of one scene, in temporal order (t-1, t, t+1).

    Keys:
        sdr: (3, 3, H, W) = (time, RGB, height, width), float32, BT.709 primaries, gamma code in [0, 1] (8-bit / 255).
        hdr_pq: (3, 3, H, W), float32, BT.2020 primaries, PQ code in [0, 1] (16-bit code / 65535; 1 is 10,000 cd/m2).
        name: Name of the sample, unique within its split.
    """

    sdr: Tensor
    hdr_pq: Tensor
    name: str


class TripletBatch(TypedDict):
    """A batch of `TripletSample`: `sdr` and `hdr_pq` are (B, 3, 3, H, W), `name` is a list of B names."""

    sdr: Tensor
    hdr_pq: Tensor
    name: list[str]


class ClipSample(TypedDict):
    """For training, consecutive frames around a target; for evaluation, a clip whose frames are all targets.

    Keys:
        sdr: (N, 3, H, W) = (time, RGB, height, width), float32, BT.709 primaries, gamma code in [0, 1] (8-bit / 255).
        hdr_pq: the middle frame, (3, H, W), or in evaluation all frames, (N, 3, H, W); float32, BT.2020 primaries, PQ
            code in [0, 1] (16-bit code / 65535; 1 is 10,000 cd/m2).
        name: Name of the clip, unique within its split.
    """

    sdr: Tensor
    hdr_pq: Tensor
    name: str


class ClipBatch(TypedDict):
    """A batch of `ClipSample`: `sdr` is (B, N, 3, H, W), `hdr_pq` (B, 3, H, W) or (B, N, 3, H, W), `name` B names."""

    sdr: Tensor
    hdr_pq: Tensor
    name: list[str]


class SequenceSample(TypedDict):
    """N frames of one long clip: a window of consecutive frames, key frames, and the references of each key.

    With `sampling="references"` W = K = 1 and N = 1 + R: frame 0 is the key, frames 1 to R are its references. With
    `sampling="window"` N = W + K (1 + R), and a frame that serves twice is there once; the rest repeats frame 0.
    Indices point into the N frames; where a mask is false they are 0 and mean nothing. Pick the frames of a batch by
    `pick_frames(ldr, window)` -> (B, W, 3, H, W).

    Keys:
        ldr: (N, 3, H, W), float32, camera RGB, code x ** (1 / 2.2) in [0, 1] (8-bit / 255), clipped at 1.
        linear: (N, 3, H, W), float32, the target: relative radiance >= 0 at each frame's own exposure, not clipped;
            1 is where `ldr` clips, so that what is not clipped equals ldr ** 2.2 to within a code.
        ev: (N,), float32, exposure in stops; light at a common exposure is linear / 2 ** ev.
        time: (N,), int64, frame numbers in the clip.
        homography: (N, 3, 3), float32, pixel positions (x, y, 1) on a plane that all frames share -> pixel positions in
            the frame, as resized, cropped and turned; NaN where the motion is not known. See `homography_flow`.
        window: (W,), int64, indices of the consecutive frames, in temporal order.
        keys: (K,), int64, indices of the key frames, nearest to the window's centre first.
        key_mask: (K,), bool, false where the clip has no such key.
        references: (K, R), int64, indices of the references of each key, in the order in which they are folded in.
        reference_mask: (K, R), bool, false where a key has fewer.
        name: Name of the clip.
    """

    ldr: Tensor
    linear: Tensor
    ev: Tensor
    time: Tensor
    homography: Tensor
    window: Tensor
    keys: Tensor
    key_mask: Tensor
    references: Tensor
    reference_mask: Tensor
    name: str


class SequenceBatch(TypedDict):
    """A batch of `SequenceSample`: every tensor has a leading B, `name` is a list of B names.

    On a GPU are `ldr`, `linear` and `ev`; the others stay on the host, which decides by them what is computed.
    """

    ldr: Tensor
    linear: Tensor
    ev: Tensor
    time: Tensor
    homography: Tensor
    window: Tensor
    keys: Tensor
    key_mask: Tensor
    references: Tensor
    reference_mask: Tensor
    name: list[str]


def pick_frames(frames: Tensor, numbers: Tensor) -> Tensor:
    """Return some frames of each sample of a batch.

    Args:
        frames: (B, N, ...).
        numbers: (B, M), int64, on the host.

    Returns:
        (B, M, ...) on the device of the frames.

    Example:
        >>> pick_frames(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[rows, copied_to(frames.device, numbers)]
