"""Video pairs -> triplets: real pairs of known offsets, and fake ones that are wrong in one way each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vitm.data import HDR10Triplets
from vitm.data.alignment import has_cut, has_repeat, measure_offset, picture_correlation
from vitm.data.fake import write_fake_video_pair
from vitm.data.pairs import Cutting, VideoPair, extract_pair, extract_pairs, read_pairs

SIZE = (48, 64)


def extract(folder: Path, cutting: Cutting | None = None, offset: int = 0, **film: Any) -> dict[str, int]:
    """Writes a fake pair (12 frames/s) and extracts two triplets a second to `folder`/out."""
    folder.mkdir(exist_ok=True)
    sdr, hdr = write_fake_video_pair(folder, **film)
    return extract_pair(VideoPair(sdr, hdr, "train", offset), folder / "out", cutting or Cutting(0.5))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_triplets_hold_the_frames_of_the_video(tmp_path: Path) -> None:
    assert extract(tmp_path, scenes=(14,)) == {"written": 2}
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
    counts = extract(tmp_path, scenes=(13, 3), sdr_frames=frames, hdr_frames=frames)  # triplets 0-2, 6-8, 12-14
    assert counts == {"written": 1, "repeated frame": 1, "scene cut": 1}
    assert names(tmp_path / "out/hdr") == [f"out_000000_{i}.png" for i in (1, 2, 3)]
    record = json.loads((tmp_path / "out/pair.json").read_text())
    assert (record["written"], record["scene cut"], record["sdr"]) == (1, 1, "sdr.mp4")


def test_bars_are_cut_off(tmp_path: Path) -> None:
    extract(tmp_path, scenes=(14,), bars=6)
    height = cv2.imread(str(tmp_path / "out/hdr/out_000000_1.png"), -1).shape[0]
    assert SIZE[0] - 12 <= height <= SIZE[0] - 10  # the edge row's chroma is shared


def test_grid_covers_the_frame(tmp_path: Path) -> None:
    extract(tmp_path, Cutting(1.0, grid_crop=32, grid_stride=20), scenes=(5,))
    files = names(tmp_path / "out/hdr")
    corners = sorted({tuple(int(v) for v in f.split("_")[2][1:].split("x")) for f in files})
    assert corners == [(y, x) for y in (0, 16) for x in (0, 16, 32)]
    tile = cv2.imread(str(tmp_path / "out/hdr/out_000000_y16x32_2.png"), -1)
    assert tile.shape == (32, 32, 3)
    (tmp_path / "whole").mkdir()
    extract(tmp_path / "whole", Cutting(1.0), scenes=(5,))
    frame = cv2.imread(str(tmp_path / "whole/out/hdr/out_000000_2.png"), -1)
    np.testing.assert_array_equal(tile, frame[16:48, 32:64])


@pytest.mark.parametrize(
    ("film", "offset", "message"),
    [
        ({"hdr_frames": range(5, 40)}, 0, r"HDR file starts 5 frames later .* offset is 0; align with offset=5 "),
        ({"sdr_frames": range(3, 40)}, 0, r"SDR file starts 3 frames later .* align with offset=-3 "),
        ({"hdr_frames": range(5, 40)}, 3, r"HDR file starts 5 frames later .* offset is 3; align with offset=5 "),
        (
            {"sdr_frames": [0] * 4 + [*range(40)]},
            0,
            r"HDR file starts 4 frames later .* cut the first 4 frames off the SDR",
        ),
        ({"hdr_frames": range(38)}, 0, r"differ in length: SDR 40, HDR 38 frames"),
        ({"scenes": (20, 20), "sdr_frames": range(20), "hdr_frames": range(20, 40)}, 0, r"not show the same pictures"),
        ({}, 39, r"have 40 and 40 frames; with offset 39 too few match"),
        ({"bars": 24}, 0, r"black throughout|do not show the same pictures"),
    ],
)
def test_wrong_pairs_are_refused(tmp_path: Path, film: dict[str, Any], offset: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract(tmp_path, offset=offset, **{"scenes": (40,), **film})
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


@pytest.mark.parametrize(("film", "offset"), [({"hdr_frames": range(5, 40)}, 5), ({"sdr_frames": range(3, 40)}, -3)])
def test_offset_aligns(tmp_path: Path, film: dict[str, Any], offset: int) -> None:
    assert extract(tmp_path, offset=offset, scenes=(40,), **film)["written"] == 6
    for i in (1, 2, 3):
        code = [cv2.imread(str(tmp_path / f"out/{kind}/out_000006_{i}.png"), -1) for kind in ("sdr", "hdr")]
        a, b = (c.mean(axis=-1).ravel() for c in code)
        assert np.corrcoef(a, b)[0, 1] > 0.95


def test_missing_piece_in_the_middle_is_found(tmp_path: Path) -> None:
    frames = [*range(100), *range(104, 224)]  # at 3 frames/s the second window starts at frame 180
    with pytest.raises(ValueError, match=r"by frame 180 the files are 4 frames apart, before they were not"):
        extract(tmp_path, Cutting(2.0), scenes=(50, 50, 124), fps=3, sdr_frames=range(220), hdr_frames=frames)


def test_other_sizes_rates_and_roles_are_refused(tmp_path: Path) -> None:
    for name, film in {"a": {}, "large": {"size": (48, 80)}, "fast": {"fps": 24}}.items():
        (tmp_path / name).mkdir()
        write_fake_video_pair(tmp_path / name, scenes=(6,), **film)  # type: ignore[arg-type]
    sdr = tmp_path / "a/sdr.mp4"
    for other, message in (("large", r"differ in size: SDR 64x48, HDR 80x48"), ("fast", r"frame rate: SDR 12, HDR 24")):
        with pytest.raises(ValueError, match=message):
            extract_pair(VideoPair(sdr, tmp_path / other / "hdr.mp4", "train"), tmp_path / "out", Cutting())
    with pytest.raises(ValueError, match=r"sdr\.mp4"):
        extract_pair(VideoPair(sdr, sdr, "train"), tmp_path / "out", Cutting())
    hdr = tmp_path / "a/hdr.mp4"
    with pytest.raises(ValueError, match="grid_crop 49, grid_stride 49 do not fit the picture of 64x48"):
        extract_pair(VideoPair(sdr, hdr, "train"), tmp_path / "out", Cutting(1.0, grid_crop=49))
    with pytest.raises(ValueError, match=r"interval_s is 0\.1"):
        extract_pair(VideoPair(sdr, hdr, "train"), tmp_path / "out", Cutting(0.1))
    assert not (tmp_path / "out").exists()


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_pairs_file(tmp_path: Path) -> None:
    write_fake_video_pair(tmp_path, scenes=(6,))
    table = write_csv(
        tmp_path / "p.csv", "sdr, hdr, split, offset\nsdr.mp4, hdr.mp4, train,\nsdr.mp4, hdr.mp4, test, -2\n"
    )
    assert read_pairs(table) == [
        VideoPair(tmp_path / "sdr.mp4", tmp_path / "hdr.mp4", "train"),
        VideoPair(tmp_path / "sdr.mp4", tmp_path / "hdr.mp4", "test", -2),
    ]
    for text, error, message in (
        ("sdr,split\n", ValueError, "lacks the column hdr"),
        ("sdr,hdr,split\nsdr.mp4,hdr.mp4,dev\n", ValueError, "line 2: split is 'dev'"),
        ("sdr,hdr,split,offset\nsdr.mp4,hdr.mp4,val,1.5\n", ValueError, r"line 2: offset is '1\.5'"),
        ("sdr,hdr,split\nsdr.mp4,none.mp4,val\n", FileNotFoundError, r"no video at .*none\.mp4"),
    ):
        with pytest.raises(error, match=message):
            read_pairs(write_csv(tmp_path / "p.csv", text))


def test_each_pair_is_extracted_once_and_again_when_it_changes(tmp_path: Path) -> None:
    write_fake_video_pair(tmp_path, scenes=(9,))
    table = write_csv(tmp_path / "p.csv", "sdr,hdr,split\nsdr.mp4,hdr.mp4,train\nsdr.mp4,hdr.mp4,val\n")
    root = tmp_path / "root"
    cutting = Cutting(0.5, grid_crop=24)
    with pytest.raises(FileNotFoundError, match="call prepare_data first"):
        extract_pairs(table, root, cutting, write=False)
    found = extract_pairs(table, root, cutting)
    assert len(names(found["train"][0] / "sdr")) == 2 * (2 * 3) * 3  # triplets, squares of 48x64, frames
    assert len(names(found["val"][0] / "sdr")) == 2 * 3  # evaluation keeps whole frames
    stamp = (found["train"][0] / "pair.json").stat().st_mtime_ns
    assert extract_pairs(table, root, cutting) == found
    assert extract_pairs(table, root, cutting, write=False) == found
    assert (found["train"][0] / "pair.json").stat().st_mtime_ns == stamp
    write_fake_video_pair(tmp_path, scenes=(9,), seed=7)
    assert extract_pairs(table, root, cutting)["train"] != found["train"]
    assert len(names(root)) == 4


def test_data_module_reads_pairs(tmp_path: Path) -> None:
    rows = []
    for film in ("one", "two"):  # files of the same names
        (tmp_path / film).mkdir()
        write_fake_video_pair(tmp_path / film, scenes=(14,), seed=len(rows))
        rows.append(f"{film}/sdr.mp4,{film}/hdr.mp4,train\n")
    table = write_csv(tmp_path / "p.csv", "sdr,hdr,split\n" + "".join(rows))
    data = HDR10Triplets(
        str(tmp_path / "root"),
        pairs=str(table),
        interval_s=0.5,
        crop_size=32,
        batch_size=4,
        num_workers=0,
        val_split=None,
    )
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["hdr_pq"].shape == (4, 3, 3, 32, 32)
    assert sorted(name[-7:] for name in batch["name"]) == ["_000000", "_000000", "_000006", "_000006"]
    assert len({*batch["name"]}) == 4
    with pytest.raises(FileNotFoundError, match="names no pair for the 'test' split"):
        data.setup("test")


def test_real_aligned_pair(shared: Path, tmp_path: Path) -> None:
    pairs = shared / "data/pairs"
    pair = VideoPair(pairs / "a_sdr.mp4", pairs / "a_hdr10.mp4", "train")
    assert json.loads((pairs / "manifest.json").read_text())["a"]["scene_starts"] == [0, 72, 132]
    # at 24 frames/s the triplets start at frames 0, 71 and 142: the second holds the cut between 71 and 72
    assert extract_pair(pair, tmp_path / "a", Cutting(71 / 24)) == {"written": 2, "scene cut": 1}


@pytest.mark.parametrize(("name", "offset"), [("b_offset_and_bars", 7), ("c_hdr_late", 10)])
def test_real_shifted_pairs_are_refused_with_their_offset(shared: Path, tmp_path: Path, name: str, offset: int) -> None:
    pairs = shared / "data/pairs"
    manifest = json.loads((pairs / "manifest.json").read_text())[name]
    assert offset == manifest["sdr_leading_frames"] + manifest["hdr_dropped_leading_frames"]
    pair = VideoPair(pairs / f"{name}_sdr.mp4", pairs / f"{name}_hdr10.mp4", "train")
    with pytest.raises(ValueError, match=rf"HDR file starts {offset} frames later .* align with offset={offset} "):
        extract_pair(pair, tmp_path / "x", Cutting())
    assert names(tmp_path) == []


@pytest.mark.slow
def test_real_bars_are_cut_off(shared: Path, tmp_path: Path) -> None:
    pairs = shared / "data/pairs"
    pair = VideoPair(pairs / "b_offset_and_bars_sdr.mp4", pairs / "b_offset_and_bars_hdr10.mp4", "train", 7)
    assert extract_pair(pair, tmp_path / "x", Cutting()) == {"written": 4}
    assert cv2.imread(str(next((tmp_path / "x/hdr").iterdir())), -1).shape == (360 - 80, 640, 3)


def test_offset_of_noise_is_exact() -> None:
    rng = np.random.default_rng(0)
    film = rng.random((60, 9, 16), dtype=np.float32)
    for lag in (-12, -1, 0, 8):
        a, b = film[max(-lag, 0) :], film[max(lag, 0) :]
        found = measure_offset(a, b**0.5, 15)  # any monotone curve
        assert found.frames == lag
        assert found.correlation > 0.9
    still = np.repeat(film[:1], 30, axis=0)
    assert measure_offset(still, still, 10).frames == 0


def test_picture_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 5, 9, 16), dtype=np.float32)
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(picture_correlation(a, b), expected, atol=1e-4)


def test_cuts_and_repeats() -> None:
    ramp = np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (36, 1))
    panned = np.stack([np.roll(ramp, s, axis=1) for s in range(3)])
    assert not has_cut(panned)
    assert not has_repeat(panned)
    assert has_repeat(panned[[0, 1, 1]])
    brighter = np.stack([ramp, ramp, ramp + 0.15])
    assert has_cut(brighter)
    assert has_cut(np.stack([ramp, ramp, np.full_like(ramp, 0.5)]))
