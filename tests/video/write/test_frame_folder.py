"""Folders of frames: exact values in other readers, whole or not there, and going on after an interruption."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import colour
import cv2
import numpy as np
import OpenEXR
import pytest
import torch

from vitm.video import FrameFolderWriter, FrameReader, WriteError, open_writer


def frames(n: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((n, 6, 9, 3), dtype=np.float32))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_codes_are_exact_to_sixteen_bits(kind: str, tmp_path: Path) -> None:
    with open_writer(tmp_path / "f", 9, 6, 24, kind) as writer:  # type: ignore[arg-type]
        for frame in frames(3):
            writer.write(frame, Fraction(1, 7))  # times do not matter here
        assert not (tmp_path / "f").exists()
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [f"00000{i}.{kind}" for i in range(3)]
    for path, frame in zip(sorted((tmp_path / "f").iterdir()), frames(3), strict=True):
        got = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, np.floor(frame.astype(np.float64) * 65535 + 0.5))
    assert FrameReader(tmp_path / "f", expect="hdr10", fps=24).info.transfer == "pq"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("name", ["f:png", "f:tiff", "f:exr", "a.png:png", "a.exr:exr"])
def test_packed_frames_make_the_same_files(name: str, tmp_path: Path) -> None:
    """Bit for bit: 16-bit codes are rounded in fp64, and what is not rounded there comes back as it is."""
    place, _, kind = name.partition(":")
    (tmp_path / "packed").mkdir()
    for folder in (tmp_path, tmp_path / "packed"):
        with open_writer(folder / place, 9, 6, 24, kind) as writer:
            for frame in frames(2)[: 1 if "." in place else 2]:
                hdr_pq = torch.from_numpy(1.2 * frame - 0.1).permute(2, 0, 1)
                writer.write(hdr_pq if folder == tmp_path else writer.pack(hdr_pq))
    plain = [tmp_path / place] if "." in place else sorted((tmp_path / place).iterdir())
    for file in plain:
        packed = tmp_path / "packed" / file.relative_to(tmp_path)
        a, b = (data[max(0, data.find(b"IDAT")) :] for data in (file.read_bytes(), packed.read_bytes()))
        assert a == b  # behind a PNG's MaxFALL, which is a mean of 16-bit codes here and of fp32 there


def test_exr_is_light_in_units_of_100_nits(tmp_path: Path) -> None:
    given = frames(2)
    given[0][0, 0], given[0][0, 1] = 1, 0  # 10,000 cd/m2, and none
    with open_writer(tmp_path / "f", 9, 6, 24, "exr") as writer:
        for frame in given:
            writer.write(frame)
    for path, frame in zip(sorted((tmp_path / "f").iterdir()), given, strict=True):
        with OpenEXR.File(str(path)) as exr:
            header, pixels = dict(exr.header()), exr.channels()["RGB"].pixels
        assert pixels.dtype == np.float16
        light = colour.models.eotf_ST2084(frame.astype(np.float64)) / 100
        np.testing.assert_allclose(pixels.astype(np.float64), light, rtol=2**-11 + 1e-5, atol=2**-25)
        assert header["whiteLuminance"] == 100
        np.testing.assert_allclose(
            header["chromaticities"], (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290), atol=1e-6
        )
    info = FrameReader(tmp_path / "f", expect="linear").info
    assert (info.transfer, info.primaries, info.n_frames) == ("linear", "bt2020", 2)


def test_an_interrupted_folder_goes_on(tmp_path: Path) -> None:
    work, path, given = tmp_path / "w", tmp_path / "f", frames(5)
    given[0][2, 3] = 1

    def interrupted() -> None:
        with FrameFolderWriter(path, 9, 6, work_dir=work) as writer:
            for frame in given[:3]:
                writer.write(frame)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    (work / "frames" / ".000003.x.partial.png").write_bytes(b"half a frame")
    with FrameFolderWriter(path, 9, 6, work_dir=work) as writer:
        assert writer.finished_frames == writer.n_frames == 3
        for frame in given[3:]:
            writer.write(frame)
    assert writer.max_cll == pytest.approx(10_000)
    got = [f.rgb for f in FrameReader(path, expect="hdr10")]
    np.testing.assert_allclose(got, given, atol=0.51 / 65535)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_without_a_work_folder_nothing_is_left_behind(tmp_path: Path) -> None:
    writer = FrameFolderWriter(tmp_path / "f", 9, 6)
    writer.write(frames(1)[0])
    writer.abort()
    assert not list(tmp_path.iterdir())
    with pytest.raises(WriteError, match="no frame was written"):
        FrameFolderWriter(tmp_path / "f", 9, 6).close()
    assert not list(tmp_path.iterdir())


def test_an_older_folder_is_replaced_whole(tmp_path: Path) -> None:
    for n in (5, 2):
        with FrameFolderWriter(tmp_path / "f", 9, 6) as writer:
            for frame in frames(n):
                writer.write(frame)
    assert len(FrameReader(tmp_path / "f", expect="hdr10")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_other_things_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "holiday.png").touch()
    with pytest.raises(WriteError, match=r"holds holiday\.png"):
        FrameFolderWriter(tmp_path / "f", 9, 6)
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="there is a file of this name"):
        FrameFolderWriter(tmp_path / "file", 9, 6)
    with pytest.raises(WriteError, match="there is no folder"):
        FrameFolderWriter(tmp_path / "none" / "f", 9, 6)
    with pytest.raises(ValueError, match="kind='jpg': expected one of png, tiff, exr"):
        FrameFolderWriter(tmp_path / "g", 9, 6, "jpg")  # type: ignore[arg-type]
    with FrameFolderWriter(tmp_path / "g", 9, 6, work_dir=tmp_path / "w") as writer:
        writer.write(frames(1)[0])
        with pytest.raises(ValueError, match=r"other settings \(frames\)"):
            FrameFolderWriter(tmp_path / "g", 9, 6, "exr", work_dir=tmp_path / "w")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = FrameFolderWriter(tmp_path / "f", 9, 6)
    writer.write(frames(1)[0])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="the disk is full"):
        writer.write(frames(1)[0])
    assert not list(tmp_path.iterdir())
    with pytest.raises(WriteError, match="closed"):
        writer.write(frames(1)[0])
