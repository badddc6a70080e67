"""Scenes and samples on built surveys and films: cuts, still and repeated scenes, repeated frames, tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitm.data.fake.frames import write_fake_video_pair
from vitm.data.paired.layouts import find_windows
from vitm.data.prepare.pair import prepare_pair
from vitm.data.prepare.samples import Cutting, tile_regions
from vitm.data.prepare.sources import VideoPair, read_video_pairs, share_out, unique_names
from vitm.data.prepare.survey import survey_video
from vitm.video import FrameReader, read_image


def test_static_and_near_duplicate_scenes_are_dropped(tmp_path: Path) -> None:
    # five scenes of 24 frames; the second stands still, the fourth shows the first again
    shown = [*range(24), *[30] * 24, *range(48, 72), *range(24), *range(72, 96)]
    pair = VideoPair(*write_fake_video_pair(tmp_path, (24, 24, 24, 24), sdr_frames=shown, hdr_frames=shown), "train")
    record = prepare_pair(pair, "x", tmp_path / "out", tmp_path / "work", Cutting(frames=10, per_scene=True))
    assert record["samples"] == [7, 55, 103]  # ten frames in the middle of each
    assert record["rejected"] == [
        {"hdr_frame": 31, "reason": "static scene"},
        {"hdr_frame": 79, "reason": "near-duplicate scene: it looks like HDR frame 0"},
    ]


def test_no_clip_holds_a_cut(tmp_path: Path) -> None:
    scenes = (13, 25, 8, 31, 10)
    pair = VideoPair(*write_fake_video_pair(tmp_path, scenes), "train")
    record = prepare_pair(pair, "x", tmp_path / "out", tmp_path / "work", Cutting(frames=10, per_scene=True))
    starts = np.cumsum([0, *scenes])
    assert len(record["samples"]) == 4
    for frame in record["samples"]:
        scene = np.searchsorted(starts, frame, side="right")
        assert frame + 10 <= starts[scene]
    assert record["rejected"] == [{"hdr_frame": 38, "reason": "short scene: fewer than 10 frames"}]
    survey = survey_video(FrameReader(pair.sdr))
    assert np.flatnonzero(survey.cut).tolist() == starts[1:-1].tolist()


@pytest.mark.slow
def test_all_frames_of_a_clip_have_the_same_tiles(tmp_path: Path) -> None:
    pair = VideoPair(*write_fake_video_pair(tmp_path, (12,), size=(96, 192)), "train")
    prepare_pair(pair, "x", tmp_path / "whole/train", tmp_path / "w1", Cutting(frames=10, per_scene=True))
    prepare_pair(pair, "x", tmp_path / "cut/train", tmp_path / "w2", Cutting(2.0, 48, 24, 10, per_scene=True))
    (whole,) = find_windows(tmp_path / "whole", "train", 10)
    tiles = find_windows(tmp_path / "cut", "train", 10)
    assert len(tiles) == 3 * 7  # HDRTVNet's grid: every 24 pixels
    for tile in tiles:
        y, x = (int(v) for v in tile.sdr[0].parent.name.rpartition("_y")[2].split("x"))
        for a, b in zip((*whole.sdr, *whole.hdr), (*tile.sdr, *tile.hdr), strict=True):
            np.testing.assert_array_equal(read_image(b), read_image(a)[y : y + 48, x : x + 48])


def test_tile_regions() -> None:
    places = tile_regions((slice(40, 320), slice(0, 640)), 240, 120)
    assert sorted(places) == ["_y40x0", "_y40x120", "_y40x240", "_y40x360"]
    assert len(tile_regions((slice(0, 2160), slice(0, 3840)), 1024, 704)) == 15  # 5x3, as KPN-MFI
    with pytest.raises(ValueError, match="tiles of 300 every 150 pixels do not fit the picture of 640x280"):
        tile_regions((slice(40, 320), slice(0, 640)), 300, 150)


def test_short_videos_are_refused(tmp_path: Path) -> None:
    pair = VideoPair(*write_fake_video_pair(tmp_path, (6,)), "train")
    with pytest.raises(ValueError, match="only 6 of 6 SDR and 6 HDR frames match; expected 10 or more"):
        prepare_pair(pair, "x", tmp_path / "out", tmp_path / "work", Cutting(frames=10, per_scene=True))
    assert not (tmp_path / "out").exists()


def test_split_is_by_video(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    names = [f"v{i}" for i in range(20)]
    rows = [f"{n}.mp4,{n}_hdr.mp4,,{k}" for n in names for k in (0, 100)]  # two pieces of each video
    table.write_text("sdr,hdr,split,offset\n" + "\n".join(rows) + "\n")
    pairs = read_video_pairs(table, 0.2)
    by_video: dict[str, set[str]] = {}
    for pair in pairs:
        by_video.setdefault(pair.sdr.name, set()).add(pair.split)
    assert all(len(splits) == 1 for splits in by_video.values())
    assert sum(splits == {"test"} for splits in by_video.values()) == 4
    assert [p.split for p in read_video_pairs(table, 0.2)] == [p.split for p in pairs]
    # written down here so that it stays: the smallest SHA-256 of the names
    assert share_out(["a.mp4", "b.mp4", "c.mp4"], 0.3) == ["train", "train", "test"]
    assert share_out(["a", "b"], 0) == ["train", "train"]
    table.write_text("sdr,hdr,split\na.mp4,h.mp4,train\nb.mp4,h.mp4,test\n")
    with pytest.raises(ValueError, match=r"line 3: b\.mp4 or h\.mp4 is in the splits train and test"):
        read_video_pairs(table, 0.2)


def test_names_are_unique() -> None:
    paths = [Path(p) for p in ("one/sdr.mp4", "two/sdr.mp4", "SDR.mkv", "a film (1).mp4", "sdr-2.mp4")]
    assert unique_names(paths) == ["sdr", "sdr-2", "SDR-3", "a_film_1_", "sdr-2-2"]
