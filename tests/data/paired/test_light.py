"""EXR files as targets: linear light becomes PQ codes, whichever unit and primaries it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vitm.data import HDR10Frames
from vitm.data.fake.frames import write_fake_frames
from vitm.video import read_image
from vitm.video.images import write_exr

SIZE = (40, 56)
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # BT.2100, table 4


def to_nits(codes: NDArray[np.uint16]) -> NDArray[np.float64]:
    root = (codes / 65535) ** (1 / M2)
    light: NDArray[np.float64] = 10_000 * (np.maximum(root - C1, 0) / (C2 - C3 * root)) ** (1 / M1)
    return light


def to_codes(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    y = (np.clip(nits, 0, 10_000) / 10_000) ** M1
    codes: NDArray[np.float64] = 65535 * ((C1 + C2 * y) / (1 + C3 * y)) ** M2
    return codes


def frames(root: Path, **options: Any) -> HDR10Frames:
    return HDR10Frames(str(root), crop_size=16, batch_size=2, num_workers=0, **options)


def in_exr(root: Path, **options: Any) -> dict[str, NDArray[np.float64]]:
    """Write the HDR files as EXR of 1.0 = 203 cd/m2 in their place; return the light in cd/m2 by name of a file."""
    light = {}
    for file in root.glob("*_hdr/*.png"):
        light[f"{file.parent.name}/{file.stem}"] = nits = to_nits(read_image(file))
        write_exr(file.with_suffix(".exr"), nits / 203, **options)
        file.unlink()
    return light


def hdr_codes(data: HDR10Frames) -> NDArray[np.float64]:
    """Return the codes of the first test frame, (H, W, 3)."""
    data.setup("test")
    codes: NDArray[np.float64] = next(iter(data.test_dataloader()))["hdr_pq"][0].permute(1, 2, 0).double().numpy()
    return codes * 65535


@pytest.mark.parametrize("primaries", ["bt2020", "bt709"])
def test_light_becomes_the_codes_of_pq(primaries: Any, tmp_path: Path) -> None:
    """By NumPy from BT.2100, and the matrix that BT.2087 prints; a header's unit, or the option's."""
    root = write_fake_frames(tmp_path, n=1, size=SIZE)
    light = in_exr(root, primaries=primaries, white_nits=203.0 if primaries == "bt2020" else None)["test_hdr/001"]
    if primaries == "bt709":
        light = light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
    codes = hdr_codes(frames(root, unit_nits=None if primaries == "bt2020" else 203.0))
    assert np.abs(codes - codes.round()).max() < 0.01
    assert np.abs(codes - to_codes(light)).max() < (1 if primaries == "bt2020" else 12)  # the matrix has four digits
    twice = hdr_codes(frames(root, unit_nits=406.0))
    assert np.abs(twice - to_codes(2 * light)).max() < (1 if primaries == "bt2020" else 12)


def test_tiles_and_packed_frames_hold_the_same_codes(tmp_path: Path) -> None:
    """And others for another unit."""
    root = write_fake_frames(tmp_path / "data", n=2, size=SIZE)
    in_exr(root, white_nits=203.0)
    hdr = []
    for options in (
        {},
        {"cache": True},
        {"unit_nits": 203.0},
        {"unit_nits": 100.0},
        {"unit_nits": 100.0, "cache": True},
    ):
        data = frames(root, tile_size=24, cache_dir=str(tmp_path / "kept"), **options)
        data.setup("fit")
        hdr.append(next(iter(data.train_dataloader()))["hdr_pq"])
    assert (hdr[0] == hdr[1]).all()
    assert (hdr[0] == hdr[2]).all()
    assert (hdr[3] == hdr[4]).all()
    assert (hdr[3] < hdr[0]).all()
    assert len([*(tmp_path / "kept").glob("tiles_*")]) == 2


def test_light_of_unknown_unit_is_refused_before_any_work(tmp_path: Path) -> None:
    root = write_fake_frames(tmp_path, n=1, size=SIZE)
    in_exr(root)
    for options in ({}, {"tile_size": 24}):
        with pytest.raises(ValueError, match=r"001\.exr holds linear light.*--data\.unit_nits 100"):
            frames(root, **options).setup("fit")
    with pytest.raises(ValueError, match="unit_nits is 0"):
        frames(root, unit_nits=0)
    sdr = root / "test_sdr/001"
    write_exr(sdr.with_suffix(".exr"), read_image(sdr.with_suffix(".png")) / 255)
    sdr.with_suffix(".png").unlink()
    with pytest.raises(ValueError, match=r"SDR file .*float32 samples; expected 8-bit RGB"):
        frames(root, unit_nits=100).setup("test")
