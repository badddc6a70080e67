"""Layouts and their errors, on files written here with OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vitm.data.fake.frames import write_fake_triplets
from vitm.data.paired.layouts import find_windows


def write(path: Path, bits: int, height: int = 8, width: int = 12, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, channels), {8: np.uint8, 16: np.uint16}[bits]))


def write_both(root: Path, split: str, names: list[str]) -> None:
    for name in names:
        write(root / split / "sdr" / name, 8)
        write(root / split / "hdr" / name, 16)


def files(root: Path) -> list[tuple[str, list[str]]]:
    return [(t.name, [p.name for p in t.sdr]) for t in find_windows(root, "train")]


def test_triplets_in_temporal_order(tmp_path: Path) -> None:
    write_both(tmp_path, "train", ["b_2.png", "b_1.png", "a_3.png", "b_3.png", "a_1.png", "a_2.png"])
    found = find_windows(tmp_path, "train")
    assert [t.name for t in found] == ["a", "b"]
    assert [p.relative_to(tmp_path).as_posix() for p in found[1].sdr] == [f"train/sdr/b_{i}.png" for i in (1, 2, 3)]
    assert [p.relative_to(tmp_path).as_posix() for p in found[1].hdr] == [f"train/hdr/b_{i}.png" for i in (1, 2, 3)]
    assert (found[0].height, found[0].width) == (8, 12)


@pytest.mark.parametrize(
    ("split", "sdr", "hdr"),
    [
        ("train", "train/SDR", "train/HDR"),
        ("train", "train_sdr", "train_hdr"),
        ("val", "validation/sdr", "validation/hdr"),
        ("test", "Test/test_sdr", "Test/test_hdr"),
        ("test", "test_SDR", "test_HDR"),
    ],
)
def test_folder_names(tmp_path: Path, split: str, sdr: str, hdr: str) -> None:
    for i in (1, 2, 3):
        write(tmp_path / sdr / f"x_{i}.png", 8)
        write(tmp_path / hdr / f"x_{i}.png", 16)
    (found,) = find_windows(tmp_path, split)  # type: ignore[arg-type]
    assert found.hdr[0].parent == tmp_path / hdr


def test_numbered_scenes_break_at_gaps_and_at_new_scenes(tmp_path: Path) -> None:
    write_both(tmp_path, "train", [f"s_{i:06d}.png" for i in (8, 9, 10, 11, 20, 21, 22)] + ["z_000023.png"])
    assert files(tmp_path) == [
        ("s_000008", ["s_000008.png", "s_000009.png", "s_000010.png"]),
        ("s_000020", ["s_000020.png", "s_000021.png", "s_000022.png"]),
    ]


def test_clips_slide_by_stride(tmp_path: Path) -> None:
    write_both(tmp_path, "train", [f"{clip}/{i:06d}.png" for clip in "ab" for i in range(5)])
    names = [t.name for t in find_windows(tmp_path, "train", clip_stride=1)]
    assert names == [f"{clip}_{i:06d}" for clip in "ab" for i in range(3)]
    (first, *_) = find_windows(tmp_path, "train", clip_stride=3)
    assert [p.relative_to(tmp_path / "train").as_posix() for p in first.hdr] == [f"hdr/a/{i:06d}.png" for i in range(3)]


@pytest.mark.parametrize("layout", ["triplets", "scenes", "clips"])
def test_fake_layouts_are_read(tmp_path: Path, layout: str) -> None:
    write_fake_triplets(tmp_path, n=2, size=(16, 24), layout=layout)  # type: ignore[arg-type]
    for split in ("train", "val", "test"):
        found = find_windows(tmp_path, split)  # type: ignore[arg-type]
        assert [(t.height, t.width) for t in found] == [(16, 24)] * 2


def test_single_frames_are_refused_or_repeated(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=4, layout="stills", splits=("train", "test"))
    with pytest.raises(ValueError, match=r"single frames.*still='repeat'"):
        find_windows(tmp_path, "train")
    found = find_windows(tmp_path, "train", still="repeat")
    assert [t.name for t in found] == ["001", "002", "003", "004"]
    assert len({*found[0].sdr}) == 1


def test_missing_split_says_what_is_there(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=1, splits=("train", "test"))
    with pytest.raises(FileNotFoundError, match=r"no 'val' split.*val/sdr.*found test, train"):
        find_windows(tmp_path, "val")
    with pytest.raises(FileNotFoundError, match="no data folder"):
        find_windows(tmp_path / "nowhere", "train")


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "train/sdr").mkdir(parents=True)
    (tmp_path / "train/hdr").mkdir()
    (tmp_path / "train/sdr/a_1.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"no PNG or TIFF file; found .jpg"):
        find_windows(tmp_path, "train")


def test_unequal_names(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=2)
    (tmp_path / "train/hdr/train001_2.png").unlink()
    with pytest.raises(ValueError, match=r"6 frames.*5.*hdr/train001_2.png is missing"):
        find_windows(tmp_path, "train")


def test_incomplete_triplet(tmp_path: Path) -> None:
    write_both(tmp_path, "train", ["a_1.png", "a_2.png", "a_3.png", "b_1.png", "b_3.png"])
    with pytest.raises(ValueError, match=r"triplet b lacks b_2.png"):
        find_windows(tmp_path, "train")


def test_clip_with_a_missing_frame(tmp_path: Path) -> None:
    write_both(tmp_path, "train", [f"a/{i:06d}.png" for i in (0, 1, 2, 4, 5, 6)])
    with pytest.raises(ValueError, match=r"clip a jumps from a/000002 to a/000004"):
        find_windows(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "bits", "channels", "message"),
    [
        ("hdr/train000_2.png", 8, 3, r"HDR file .*train000_2.png has uint8 samples; expected 16-bit RGB"),
        ("sdr/train000_3.png", 16, 3, r"SDR file .*train000_3.png has uint16 samples; expected 8-bit RGB"),
        ("hdr/train000_1.png", 16, 1, r"HDR file .*train000_1.png: not an 8- or 16-bit RGB PNG .*expected 16-bit RGB"),
        ("sdr/train000_1.png", 8, 4, r"SDR file .*train000_1.png: not an 8- or 16-bit RGB PNG .*expected 8-bit RGB"),
    ],
)
def test_wrong_depth_or_channels(tmp_path: Path, name: str, bits: int, channels: int, message: str) -> None:
    write_fake_triplets(tmp_path, n=1, size=(8, 12))
    write(tmp_path / "train" / name, bits, channels=channels)
    with pytest.raises(ValueError, match=message):
        find_windows(tmp_path, "train")


def test_different_sizes(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=1, size=(8, 12))
    write(tmp_path / "train/hdr/train000_3.png", 16, height=10)
    with pytest.raises(ValueError, match=r"differ in size.*sdr/train000_1.png is 12x8.*hdr/train000_3.png is 12x10"):
        find_windows(tmp_path, "train")


def test_not_a_png(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=1)
    for content in (b"\xff\xd8\xff not a PNG but long enough to be one", b"\x89PNG"):
        (tmp_path / "train/sdr/train000_1.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"train000_1.png: not an? .*PNG|train000_1.png: not a readable png"):
            find_windows(tmp_path, "train")
