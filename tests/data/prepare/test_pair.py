"""Pairs of videos as samples: real pairs of known offsets, and fake ones that are wrong in one way each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vitm.cli import main
from vitm.data import HDR10Triplets
from vitm.data.fake.frames import write_fake_video_pair
from vitm.data.prepare.pair import prepare_pair
from vitm.data.prepare.samples import Cutting
from vitm.data.prepare.sources import VideoPair, read_video_pairs

SIZE = (48, 64)


def prepared(pair: VideoPair, folder: Path, cutting: Cutting) -> tuple[dict[str, int], dict[str, Any]]:
    """Writes a pair's samples to `folder`/out; returns how many are written and left out, and the record."""
    record = prepare_pair(pair, "out", folder / "out", folder / "work", cutting)
    left_out = Counter(sample["reason"].partition(":")[0] for sample in record["rejected"])
    return {"written": len(record["samples"]), **left_out}, record


def extract(folder: Path, cutting: Cutting | None = None, offset: int | None = None, **film: Any) -> Any:
    """Writes a fake pair (12 frames/s) and extracts two triplets a second to `folder`/out."""
    folder.mkdir(exist_ok=True)
    sdr, hdr = write_fake_video_pair(folder, **film)
    return prepared(VideoPair(sdr, hdr, "train", offset), folder, cutting or Cutting(0.5))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_triplets_hold_the_frames_of_the_video(tmp_path: Path) -> None:
    assert extract(tmp_path, scenes=(14,))[0] == {"written": 2}
    expected = [f"out_{start:06d}_{i}.png" for start in (0, 6) for i in (1, 2, 3)]
    assert names(tmp_path / "out/sdr") == names(tmp_path / "out/hdr") == expected
    with av.open(str(tmp_path / "hdr.mp4")) as container:
        luma = [f.to_ndarray()[: SIZE[0]] for f in container.decode(video=0)]
    for start in (0, 6):
        for i in range(3):
            hdr = cv2.imread(str(tmp_path / f"out/hdr/out_{start:06d}_{i + 1}.png"), cv2.IMREAD_UNCHANGED)
            assert hdr.dtype == np.uint16
            assert cv2.imread(str(tmp_path / f"out/sdr/out_{start:06d}_{i + 1}.png"), -1).dtype == np.uint8
            # BT.2100-2, tables 6 and 9: the 10-bit luma code from the R'G'B' that was written; B, G, R in OpenCV
            code = 64 + 876 * (hdr / 65535) @ np.array([0.0593, 0.6780, 0.2627])
            inside = (hdr > 0).all(-1) & (hdr < 65535).all(-1)
            assert inside.mean() > 0.9
            assert np.abs(code - luma[start + i])[inside].max() < 0.02


def test_triplets_with_a_cut_or_a_repeated_frame_are_left_out(tmp_path: Path) -> None:
    frames = [0, 1, 2, 3, 4, 5, 6, 7, 7, 9, 10, 11, 12, 13, 14, 15]
    counts, record = extract(tmp_path, scenes=(13, 3), sdr_frames=frames, hdr_frames=frames)  # triplets 0-2, 6-8, 12-14
    assert counts == {"written": 1, "repeated frame": 1, "scene cut": 1}
    assert names(tmp_path / "out/hdr") == [f"out_000000_{i}.png" for i in (1, 2, 3)]
    assert (record["samples"], record["offset_frames"]) == ([0], 0)
    assert record["rejected"] == [
        {"hdr_frame": 6, "reason": "repeated frame"},
        {"hdr_frame": 12, "reason": "scene cut"},
    ]


def test_bars_are_cut_off(tmp_path: Path) -> None:
    extract(tmp_path, scenes=(14,), bars=6)
    height = cv2.imread(str(tmp_path / "out/hdr/out_000000_1.png"), -1).shape[0]
    assert height == SIZE[0] - 12


def test_tiles_are_those_of_the_data_modules(tmp_path: Path) -> None:
    extract(tmp_path, Cutting(1.0, tile_size=32, tile_stride=20), scenes=(5,))
    files = names(tmp_path / "out/hdr")
    corners = sorted({tuple(int(v) for v in f.split("_")[2][1:].split("x")) for f in files})
    assert corners == [(0, 0), (0, 20)]  # the rest at the edges is less than 48 pixels
    tile = cv2.imread(str(tmp_path / "out/hdr/out_000000_y0x20_2.png"), -1)
    assert tile.shape == (32, 32, 3)
    (tmp_path / "whole").mkdir()
    extract(tmp_path / "whole", Cutting(1.0), scenes=(5,))
    frame = cv2.imread(str(tmp_path / "whole/out/hdr/out_000000_2.png"), -1)
    np.testing.assert_array_equal(tile, frame[0:32, 20:52])


@pytest.mark.parametrize(
    ("film", "offset", "message"),
    [
        ({"hdr_frames": range(5, 40)}, 0, r"offset is given as 0, but the content says 5: SDR frame 5 shows what HDR"),
        ({"sdr_frames": range(3, 40)}, 0, r"given as 0, but the content says -3"),
        ({"hdr_frames": range(5, 40)}, 3, r"given as 3, but the content says 5"),
        ({"sdr_frames": [0] * 4 + [*range(40)]}, 0, r"given as 0, but the content says 4"),
        ({"scenes": (20, 20), "sdr_frames": range(20), "hdr_frames": range(20, 40)}, None, r"not show the same frames"),
        ({"scenes": (20, 20), "sdr_frames": range(20), "hdr_frames": range(20, 40)}, 0, r"not show the same pictures"),
        ({}, 39, r"only 1 of 40 SDR and 40 HDR frames match"),
        ({"bars": 24}, None, r"black throughout"),
    ],
)
def test_wrong_pairs_are_refused(tmp_path: Path, film: dict[str, Any], offset: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract(tmp_path, offset=offset, **{"scenes": (40,), **film})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    ("film", "offset"),
    [
        ({"hdr_frames": range(5, 40)}, 5),
        ({"sdr_frames": range(3, 40)}, -3),
        ({"sdr_frames": [0] * 4 + [*range(38)]}, 4),
    ],
)
def test_offset_aligns(tmp_path: Path, film: dict[str, Any], offset: int, given: bool) -> None:
    counts, record = extract(tmp_path, offset=offset if given else None, scenes=(40,), **film)
    assert (counts["written"], record["offset_frames"]) == (6, offset)
    for i in (1, 2, 3):
        name = f"out_{max(-offset, 0) + 6:06d}_{i}.png"  # after the frame of the HDR file
        code = [cv2.imread(str(tmp_path / "out" / kind / name), -1) for kind in ("sdr", "hdr")]
        a, b = (c.mean(axis=-1).ravel() for c in code)
        assert np.corrcoef(a, b)[0, 1] > 0.95


def test_missing_piece_in_the_middle_is_found(tmp_path: Path) -> None:
    frames = [*range(100), *range(104, 224)]  # at 3 frames/s the second window starts at frame 180
    with pytest.raises(ValueError, match=r"they are 4 frames further apart than elsewhere"):
        extract(tmp_path, Cutting(2.0), scenes=(50, 50, 124), fps=3, sdr_frames=range(220), hdr_frames=frames)


def test_other_sizes_rates_and_roles_are_refused(tmp_path: Path) -> None:
    for name, film in {"a": {}, "large": {"size": (48, 80)}, "fast": {"fps": 24}}.items():
        (tmp_path / name).mkdir()
        write_fake_video_pair(tmp_path / name, scenes=(6,), **film)  # type: ignore[arg-type]
    sdr = tmp_path / "a/sdr.mp4"
    for other, message in (("large", r"differ in size: SDR 64x48, HDR 80x48"), ("fast", r"frame rate: SDR 12, HDR 24")):
        with pytest.raises(ValueError, match=message):
            prepared(VideoPair(sdr, tmp_path / other / "hdr.mp4", "train"), tmp_path, Cutting())
    with pytest.raises(ValueError, match=r"sdr\.mp4"):
        prepared(VideoPair(sdr, sdr, "train"), tmp_path, Cutting())
    hdr = tmp_path / "a/hdr.mp4"
    with pytest.raises(ValueError, match="tiles of 49 every 25 pixels do not fit the picture of 64x48"):
        prepared(VideoPair(sdr, hdr, "train"), tmp_path, Cutting(1.0, tile_size=49))
    with pytest.raises(ValueError, match=r"interval_s is 0\.1"):
        prepared(VideoPair(sdr, hdr, "train"), tmp_path, Cutting(0.1))
    assert not (tmp_path / "out").exists()


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_pairs_file(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "p.csv", "sdr, hdr, split, offset\nsdr.mp4, hdr.mp4, train,\nsdr2.mp4, hdr2.mp4, test, -2\n"
    )
    assert read_video_pairs(table) == [
        VideoPair(tmp_path / "sdr.mp4", tmp_path / "hdr.mp4", "train"),
        VideoPair(tmp_path / "sdr2.mp4", tmp_path / "hdr2.mp4", "test", -2),
    ]
    for text, error, message in (
        ("sdr,split\n", ValueError, "lacks the column hdr"),
        ("sdr,hdr,split\nsdr.mp4,hdr.mp4,dev\n", ValueError, "line 2: split is 'dev'"),
        ("sdr,hdr,split,offset\nsdr.mp4,hdr.mp4,val,1.5\n", ValueError, r"line 2: offset is '1\.5'"),
    ):
        with pytest.raises(error, match=message):
            read_video_pairs(write_csv(tmp_path / "p.csv", text))


def test_a_data_module_reads_what_is_prepared(tmp_path: Path) -> None:
    rows = []
    for film in ("one", "two"):  # files of the same names
        (tmp_path / film).mkdir()
        write_fake_video_pair(tmp_path / film, scenes=(14,), seed=len(rows))
        rows.append(f"{film}/sdr.mp4,{film}/hdr.mp4,train\n")
    table = write_csv(tmp_path / "p.csv", "sdr,hdr,split\n" + "".join(rows))
    root = tmp_path / "root"
    assert main(["prepare", "triplets", str(table), str(root), "--interval", "0.5"]) == 0
    data = HDR10Triplets(str(root), crop_size=32, batch_size=4, num_workers=0, val_split=None)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["hdr_pq"].shape == (4, 3, 3, 32, 32)
    assert sorted(name[-7:] for name in batch["name"]) == ["_000000", "_000000", "_000006", "_000006"]
    assert len({*batch["name"]}) == 4
    with pytest.raises(FileNotFoundError, match="no 'test' split"):
        data.setup("test")


@pytest.mark.slow
def test_real_aligned_pair(shared: Path, tmp_path: Path) -> None:
    pairs = shared / "data/pairs"
    pair = VideoPair(pairs / "a_sdr.mp4", pairs / "a_hdr10.mp4", "train")
    assert json.loads((pairs / "manifest.json").read_text())["a"]["scene_starts"] == [0, 72, 132]
    # at 24 frames/s the triplets start at frames 0, 71 and 142: the second holds the cut between 71 and 72
    assert prepared(pair, tmp_path, Cutting(71 / 24))[0] == {"written": 2, "scene cut": 1}
