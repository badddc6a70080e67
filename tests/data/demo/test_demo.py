"""The demo data on disk: its layout, its light, and that it is made once, whole, and always the same."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vitm.data import HDR10Clips, HDR10Frames, HDR10Triplets, LongSequences
from vitm.data.demo.cache import kept
from vitm.data.demo.frames import is_whole, write_demo_frames
from vitm.data.demo.photographs import PHOTOGRAPHS, photograph
from vitm.data.demo.scenes import DemoScene, demo_clip, demo_scenes
from vitm.data.module import ResumableDataModule
from vitm.data.paired.layouts import find_windows
from vitm.data.splits import Split

FEW: dict[str, Any] = {"size": (24, 40), "panorama_height": 36, "takes": {"train": 0, "val": 1, "test": 0}}
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])  # BT.2087


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, one triplet each."""
    return write_demo_frames(tmp_path_factory.mktemp("demo") / "set", **FEW)


def stamps(root: Path) -> dict[str, int]:
    return {str(f.relative_to(root)): f.stat().st_mtime_ns for f in root.rglob("*") if f.is_file()}


def contents(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*.png")}


def test_the_splits_share_no_photograph() -> None:
    splits: tuple[Split, ...] = ("train", "val", "test")
    used = {s: {n for scene in demo_scenes(s) for n in (*scene.photos, scene.surface) if n} for s in splits}
    assert all(not used[a] & used[b] for a, b in combinations(splits, 2))
    assert all(names <= set(PHOTOGRAPHS) for names in used.values())
    assert [len(demo_scenes(s)) for s in splits] == [8, 2, 3]
    assert len({scene.name for s in splits for scene in demo_scenes(s)}) == 13
    with pytest.raises(ValueError, match="unknown split"):
        demo_scenes("dev")  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_layout_is_that_of_the_triplets_module(tmp_path: Path) -> None:
    root = write_demo_frames(tmp_path / "a" / "b", **FEW | {"takes": {"train": 1, "val": 1, "test": 1}})
    assert [len(find_windows(root, split)) for split in ("train", "val", "test")] == [8, 2, 3]
    for kind, dtype, top in (("sdr", np.uint8, 255), ("hdr", np.uint16, 65535)):
        assert len(list((root / "test_clip" / kind).iterdir())) == 24
        image = cv2.imread(str(root / "train" / kind / "train0_day_00_2.png"), cv2.IMREAD_UNCHANGED)
        assert image.shape == (24, 40, 3)
        assert image.dtype == dtype
        assert 0.2 * top < image.max() <= top
    codes = image.astype(np.float64) * 1023 / 65535  # the last one is HDR: 10-bit codes
    assert np.abs(codes - codes.round()).max() < 0.01
    assert len(json.loads((root / "manifest.json").read_text())["files"]) == 2 * (3 * 13 + 24)


@pytest.mark.slow
def test_the_manifest_names_photographs_and_licences(small: Path) -> None:
    manifest = json.loads((small / "manifest.json").read_text())
    assert manifest["generator"] == "vitm.data.demo"
    assert manifest["size"] == [24, 40]
    assert manifest["photographs"]["astronaut"] == {
        "file": "astronaut.png",
        "licence": "public domain",
        "credit": "NASA Great Images",
    }
    assert {p["licence"] for p in manifest["photographs"].values()} == {"CC0-1.0", "public domain"}
    assert manifest["files"].keys() == contents(small).keys()


def test_a_second_call_makes_nothing(small: Path) -> None:
    before = stamps(small)
    assert write_demo_frames(small, **FEW) == small  # type: ignore[arg-type]
    assert stamps(small) == before


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    again = write_demo_frames(tmp_path / "again", workers=1, **FEW)
    assert contents(again) == contents(small)
    other = write_demo_frames(tmp_path / "again", seed=1, **FEW)
    assert contents(other).keys() == contents(small).keys()
    assert contents(other) != contents(small)
    assert [f.name for f in tmp_path.iterdir()] == ["again"]  # no scratch folder is left


@pytest.mark.slow
def test_what_is_not_whole_is_made_again(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(small, root)
    assert is_whole(root)
    (root / "val" / "hdr" / "val0_day_00_3.png").write_bytes(b"cut short")
    assert not is_whole(root)
    write_demo_frames(root, **FEW)
    assert is_whole(root)
    assert contents(root) == contents(small)
    (root / "val" / "hdr" / "val0_day_00_3.png").unlink()
    assert not is_whole(root)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    """Nothing that this function did not finish is taken for whole, and nothing that is not its own is removed."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.png").write_bytes(b"x")
    assert not is_whole(tmp_path)
    with pytest.raises(FileExistsError, match="empty folder"):
        write_demo_frames(tmp_path, **FEW)
    assert (tmp_path / "train" / "mine.png").read_bytes() == b"x"


@pytest.mark.slow
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        return False

    monkeypatch.setattr("vitm.data.demo.frames.cv2.imwrite", fail)
    with pytest.raises(OSError, match="cannot write"):
        write_demo_frames(tmp_path / "set", **FEW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("scene", [*demo_scenes("test"), demo_scenes("val")[1]], ids=lambda scene: scene.name)
def test_every_world_is_high_dynamic_range_and_wide_gamut(scene: DemoScene) -> None:
    nits = scene.world().nits.astype(np.float64)
    y = nits @ np.array([0.2627, 0.6780, 0.0593])
    assert 1000 < y.max() <= 4000
    assert np.log2(y.max() / np.percentile(y, 0.1)) >= 12
    horizon = y[len(y) // 3 : -len(y) // 3]
    assert 5 < np.exp(np.log(horizon).mean()) < 100
    in_bt709 = nits @ TO_BT709.T
    assert (in_bt709.min(-1) < -0.01 * nits.max(-1)).mean() > 1e-3


@pytest.mark.slow
def test_the_demo_clip_moves_and_clips_highlights() -> None:
    clip = demo_clip(8, size=(108, 192), panorama_height=256)
    assert clip.hdr_pq.shape == (8, 3, 108, 192)
    assert float(clip.nits.max()) > 1000
    white = (clip.sdr > 0.998).all(1).float().mean()
    assert 0.005 < float(white) < 0.4
    lost = clip.nits.amax(1)[(clip.sdr > 0.998).all(1)]
    assert float(lost.max() / lost.min()) > 2  # what SDR shows as white spans more than a stop in HDR
    assert 0.2 < float(clip.flow_forward.abs().amax()) < 8
    assert float((clip.gain.log2().diff().abs()).max()) < 0.02
    assert torch.isfinite(clip.flow_backward).all()


def test_data_modules_know_their_demo_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks for its own kind in the user's cache; a second process waits for the first."""
    made: list[tuple[Path, dict[str, Any]]] = []
    monkeypatch.setenv("VITM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vitm.data.demo.frames.write_demo_frames", lambda root, **options: made.append((root, options)))
    monkeypatch.setattr("vitm.data.sequences.long_sequences.write_demo_panoramas", lambda root: made.append((root, {})))
    roots = [m.demo_root() for m in (HDR10Frames, HDR10Triplets, HDR10Clips, LongSequences)]
    assert [root.relative_to(tmp_path / "cache").name for root in roots] == [
        "demo",
        "demo",
        "demo_clips",
        "demo_sequences",
    ]
    assert made == [(root, {"frames": 10} if root.name == "demo_clips" else {}) for root in roots]
    with pytest.raises(NotImplementedError, match=r"Mine has no demo data; .*--data\.root"):
        type("Mine", (ResumableDataModule,), {}).demo_root()


def test_one_process_makes_the_demo_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one waits until they are made, and then finds them."""
    monkeypatch.setenv("VITM_CACHE", str(tmp_path / "cache"))
    busy, order = threading.Event(), []

    def slow(root: Path) -> None:
        order.append("begins")
        busy.set()
        time.sleep(0.2)
        order.append("ends")

    first = threading.Thread(target=kept, args=("demo", slow))
    first.start()
    assert busy.wait(5)
    kept("demo", lambda root: order.append("second"))
    first.join()
    assert order == ["begins", "ends", "second"]


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=r"pip install 'vitm\[demo\]'"):
        photograph("coffee")
