"""Decoded frames that are kept on disk: what a training set reads, who writes them, and where."""

from __future__ import annotations

import pickle
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vitm.data import HDR10Clips, HDR10Frames
from vitm.data.fake.frames import write_fake_frames, write_fake_triplets
from vitm.data.paired import packed, tiles
from vitm.data.paired.layouts import find_windows
from vitm.files import WriteError
from vitm.video import read_image

SIZE = (40, 56)


def module(root: Path, **options: Any) -> HDR10Frames:
    data = HDR10Frames(str(root), **{"crop_size": 16, "batch_size": 2, "num_workers": 0, **options})
    data.setup("fit")
    return data


def batches(data: Any, n: int = 6) -> list[dict[str, Any]]:
    return list(islice(data.train_dataloader(), n))


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    return all(
        x["name"] == y["name"] and torch.equal(x["sdr"], y["sdr"]) and torch.equal(x["hdr_pq"], y["hdr_pq"])
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_fake_frames(tmp_path / "data", n=4, size=SIZE)


@pytest.mark.parametrize("options", [{}, {"tile_size": 24}, {"flips": True, "rotations": True, "num_workers": 1}])
def test_samples_are_those_of_the_files(root: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    plain = batches(module(root, cache_dir=str(tmp_path / "a"), **options))
    kept = batches(module(root, cache_dir=str(tmp_path / "b"), cache=True, **options))
    assert same(plain, kept)
    assert len(list((tmp_path / "b/packed").iterdir())) == 2 * 4  # whole frames; no tile is written
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"packed"}
    assert {p.name for p in root.iterdir()} == {"train_sdr", "train_hdr", "test_sdr", "test_hdr"}


def test_clips_share_their_frames(tmp_path: Path) -> None:
    root = write_fake_triplets(tmp_path, 1, SIZE, layout="clips", frames=14, splits=("train",))
    options: dict[str, Any] = {"crop_size": 16, "batch_size": 2, "num_workers": 0, "val_split": None, "clip_stride": 2}
    made = []
    for cache in (False, True):
        data = HDR10Clips(str(root), cache=cache, **options)
        data.setup("fit")
        made.append(batches(data))
    assert same(*made)
    assert len(list((root / "packed").iterdir())) == 2 * 14


def test_a_changed_frame_is_packed_anew(root: Path) -> None:
    module(root, cache=True)
    before = {p: p.stat().st_mtime_ns for p in (root / "packed").iterdir()}
    victim = root / "train_sdr/002.png"
    victim.write_bytes((root / "train_sdr/001.png").read_bytes())
    data = module(root, cache=True)
    after = {p: p.stat().st_mtime_ns for p in (root / "packed").iterdir()}
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    window = data.find("train")[1]
    frames = packed.pack_frames([window], root, root, write=False)
    np.testing.assert_array_equal(frames(window.sdr[0]), read_image(victim))
    frames.files[window.sdr[0]].write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is damaged .*: remove it, and it is made again"):
        frames(window.sdr[0])


def test_worker_processes_get_paths_not_pixels(root: Path) -> None:
    data = module(root, cache=True)
    assert len(pickle.dumps(data._sets["train"])) < 20_000  # one frame pair has 20,160 bytes
    assert isinstance(data._sets["train"].read(data.find("train")[0].sdr[0]), np.memmap)


@pytest.mark.parametrize("options", [{"cache": True}, {"tile_size": 24}])
def test_two_processes_on_one_root_do_the_work_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    reads: list[Path] = []
    for where in (packed, tiles):
        monkeypatch.setattr(where, "read_image", lambda path: reads.append(path) or read_image(path))
    threads = [threading.Thread(target=module, args=(root,), kwargs=options) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 2 * 4
    assert not list(root.glob(".*"))


def test_the_place_is_checked_and_the_option_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: Path(path) != root)
        for options, what in (({"cache": True}, "packed frames"), ({"tile_size": 24}, "tiles")):
            with pytest.raises(WriteError, match=rf"cannot write {what} into .*no permission.*--data\.cache_dir"):
                module(root, **options)
            module(root, **options, cache_dir=str(tmp_path / "own/place"))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
        with pytest.raises(WriteError, match=r"8 packed frames take 0\.0 GB, but .*another --data\.cache_dir"):
            module(root, cache=True)
    assert not list(root.glob("packed"))
    with pytest.raises(FileNotFoundError, match="call prepare_data first"):
        packed.pack_frames(find_windows(root, "train", 1), root, root, write=False)
