"""What a batch holds: keys, shapes, value ranges and colour domains, written once."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class FrameSample(TypedDict):
    """One frame.

    Keys:
        sdr: (3, H, W) = (RGB, height, width), float32, BT.709 primaries, gamma code in [0, 1] (8-bit / 255).
        hdr_pq: (3, H, W), float32, BT.2020 primaries, PQ code in [0, 1] (16-bit code / 65535; 1 is 10,000 cd/m2).
        name: the sample's name, unique within its split.
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
        name: the sample's name, unique within its split.
    """

    sdr: Tensor
    hdr_pq: Tensor
    name: str


class TripletBatch(TypedDict):
    """A batch of `TripletSample`: `sdr` and `hdr_pq` are (B, 3, 3, H, W), `name` is a list of B names."""

    sdr: Tensor
    hdr_pq: Tensor
    name: list[str]
