"""Pairs that do not match are refused, and the refusal names both files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import tifffile
import torch

from vitm.color import bt2020_to_bt709, pq_eotf
from vitm.evaluation.pairs import MismatchError, list_pairs, open_pair, read_pair_list
from vitm.video import HDR10Writer, VideoTagError, write_exr, write_png16


def frames(count: int = 3, size: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *size, 3), np.float32)


def folder(path: Path, images: np.ndarray) -> Path:
    path.mkdir()
    for i, image in enumerate(images):
        write_png16(path / f"{i:03d}.png", image)
    return path


def video(path: Path, images: np.ndarray, fps: int = 24) -> Path:
    with HDR10Writer(path, images.shape[2], images.shape[1], Fraction(fps), preset="ultrafast") as writer:
        for image in images:
            writer.write(image)
    return path


def test_frames_of_both_sides_from_anywhere(tmp_path: Path) -> None:
    a, b = frames(seed=1), frames(seed=2)
    pair = open_pair("clip", folder(tmp_path / "a", a), folder(tmp_path / "b", b), fps=Fraction(50))
    assert (len(pair), pair.fps) == (3, 50)
    pred, target = zip(*pair.frames(1), strict=True)
    for tensors, truth in ((pred, a), (target, b)):
        assert np.abs(np.stack([t.permute(1, 2, 0).numpy() for t in tensors]) - truth[1:]).max() < 1 / 65535


@pytest.mark.parametrize(
    ("count", "size", "message"), [(4, (48, 64), "length: 3 against 4"), (3, (48, 66), "size: 64x48 against 66x48")]
)
def test_unlike_frames(tmp_path: Path, count: int, size: tuple[int, int], message: str) -> None:
    a, b = folder(tmp_path / "a", frames()), folder(tmp_path / "b", frames(count, size))
    with pytest.raises(MismatchError, match=message) as error:
        open_pair("clip", a, b)
    assert str(a) in str(error.value)
    assert str(b) in str(error.value)


def test_unlike_videos(tmp_path: Path) -> None:
    images = frames(size=(64, 64))
    a, png = video(tmp_path / "a.mp4", images), folder(tmp_path / "png", images)
    with pytest.raises(MismatchError, match="bit depth: 10 against 16"):
        open_pair("clip", a, png)
    assert len(open_pair("clip", a, png, mixed_depths=True)) == 3
    with pytest.raises(MismatchError, match=r"rate: 24\.000 against 25\.000"):
        open_pair("clip", a, video(tmp_path / "b.mp4", images, 25))


def test_unlike_transfers(tmp_path: Path, shared: Path) -> None:
    sdr, hdr10 = shared / "data/pairs/a_sdr.mp4", shared / "data/pairs/a_hdr10.mp4"
    with pytest.raises(MismatchError, match="transfer: bt709 against pq") as error:
        open_pair("clip", sdr, hdr10)
    assert "a_sdr.mp4 and " in str(error.value)
    with pytest.raises(VideoTagError, match="a_sdr"):
        open_pair("clip", sdr, sdr)


def test_linear_frames_need_their_unit(tmp_path: Path) -> None:
    codes = frames(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        light = pq_eotf(torch.from_numpy(codes[0])).numpy() / 100
        write_exr(tmp_path / name / "0.exr", light)
    with pytest.raises(MismatchError, match="such as unit_nits=100"):
        open_pair("clip", tmp_path / "a", tmp_path / "b")
    pair = open_pair("clip", tmp_path / "a", tmp_path / "b", unit_nits=100.0)
    pred, _ = next(pair.frames(0))
    assert np.abs(pred.permute(1, 2, 0).numpy() - codes[0]).max() < 1e-5
    (tmp_path / "709").mkdir()
    light = bt2020_to_bt709(pq_eotf(torch.from_numpy(codes[0]).permute(2, 0, 1))).permute(1, 2, 0).numpy() / 100
    OpenEXR.File({}, {"RGB": np.ascontiguousarray(light)}).write(str(tmp_path / "709/0.exr"))  # untagged: BT.709
    _, target = next(open_pair("clip", tmp_path / "a", tmp_path / "709", unit_nits=100.0).frames(0))
    assert np.abs(target.permute(1, 2, 0).numpy() - codes[0]).mean() < 1e-5
    png = folder(tmp_path / "png", codes)
    with pytest.raises(MismatchError, match="linear against pq"):
        open_pair("clip", tmp_path / "a", png)
    with pytest.raises(MismatchError, match="is for linear frames"):
        open_pair("clip", png, png, unit_nits=1.0)


def test_eight_bit_frames_are_no_hdr(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "0.tif", np.zeros((48, 64, 3), np.uint8), photometric="rgb")
    with pytest.raises(VideoTagError, match="8-bit"):
        open_pair("clip", tmp_path / "a", tmp_path / "b")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        open_pair("clip", tmp_path / "none.mp4", tmp_path)


def test_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("pred,target,name\nx/a.mp4,y/a.mp4,one\nx/b.mp4,y/b.mp4,\n")
    assert read_pair_list(path) == [
        ("one", tmp_path / "x/a.mp4", tmp_path / "y/a.mp4"),
        ("b", tmp_path / "x/b.mp4", tmp_path / "y/b.mp4"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pred,truth\na,b\n", "lacks the column target; expected pred, target, and perhaps name"),
        ("pred,target\n", "is an empty list"),
        ("pred, target\n\na.mp4 , b.mp4\n\n c.mp4,\n", "line 5: target is empty"),
        ("pred,target\na.mp4,\n", "line 2: target is empty"),
        ("pred,target\nx/a.mp4,t\ny/a.mp4,t\n", "a is there twice"),
    ],
)
def test_wrong_lists(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list_pairs(path)
