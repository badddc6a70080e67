from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from vitm.cli import main
from vitm.data import HDR10Clips
from vitm.data.fake.frames import write_fake_triplets, write_fake_video_pair
from vitm.data.paired.clips import ClipDataset
from vitm.data.paired.layouts import find_windows


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three clips of ten frames a split, 40 x 52."""
    return write_fake_triplets(tmp_path_factory.mktemp("clips"), 3, (40, 52), layout="clips", frames=10)


def decoded(root, split, clip):
    """All frames of a clip through OpenCV: sdr and hdr_pq, (10, 3, H, W)."""
    out = []
    for kind, top in (("sdr", 255), ("hdr", 65535)):
        files = sorted((root / split / kind / clip).iterdir())
        images = np.stack([cv2.imread(str(f), cv2.IMREAD_UNCHANGED)[..., ::-1] for f in files])
        out.append(torch.from_numpy((images / top).astype(np.float32)).permute(0, 3, 1, 2))
    return out


def made(root, **arguments):
    data = HDR10Clips(str(root), **{"crop_size": 40, "batch_size": 2, "num_workers": 0} | arguments)
    data.setup("fit")
    data.setup("test")
    return data


def test_a_training_sample_is_a_frame_with_its_neighbours(root):
    """Any frame of the clip is a target, the ends are repeated, and all crops are at one place."""
    found = set()
    windows = find_windows(root, "train", 10)
    data = ClipDataset(windows, radius=2)
    sdr, hdr = decoded(root, "train", "train001")
    for epoch in range(60):
        sample = data[epoch, 1]
        assert sample["sdr"].shape == (5, 3, 40, 52)
        (centre,) = [t for t in range(10) if torch.equal(sample["hdr_pq"], hdr[t])]
        found.add(centre)
        near = [min(max(s, 0), 9) for s in range(centre - 2, centre + 3)]
        assert torch.equal(sample["sdr"], sdr[near])
    assert found == set(range(10))


@pytest.mark.parametrize("cache", [False, True])
def test_crops_are_the_same_in_all_frames_and_in_sdr_and_hdr(root, cache):
    data = made(root, crop_size=16, flips=True, cache=cache)
    batch = next(iter(data.train_dataloader()))
    assert batch["sdr"].shape == (2, 5, 3, 16, 16)
    assert batch["hdr_pq"].shape == (2, 3, 16, 16)
    for sample, name, target in zip(batch["sdr"], batch["name"], batch["hdr_pq"], strict=True):
        sdr, hdr = decoded(root, "train", name.split("_")[0])
        places = [
            (t, y, x, flip)
            for t in range(10)
            for flip in ((), (2,), (1,), (1, 2))
            for y in range(25)
            for x in range(37)
            if torch.equal(hdr[t, :, y : y + 16, x : x + 16].flip(flip), target)
        ]
        (t, y, x, flip) = places[0]
        near = [min(max(s, 0), 9) for s in range(t - 2, t + 3)]
        assert torch.equal(sample, sdr[near][..., y : y + 16, x : x + 16].flip([d + 1 for d in flip]))


def test_caching_changes_nothing(root):
    batches = [next(iter(made(root, crop_size=16, cache=c).train_dataloader())) for c in (False, True)]
    assert torch.equal(batches[0]["sdr"], batches[1]["sdr"])
    assert torch.equal(batches[0]["hdr_pq"], batches[1]["hdr_pq"])


def test_only_the_files_of_the_window_are_decoded(root, monkeypatch):
    """At most five SDR frames and one HDR frame of a clip's twenty files."""
    import vitm.data.paired.windows as paired

    read, real = [], paired.read_image
    monkeypatch.setattr(paired, "read_image", lambda path: read.append(path) or real(path))
    ClipDataset(find_windows(root, "train", 10), radius=2)[0, 0]
    assert 4 <= len(read) <= 6
    assert sum("hdr" in p.parts for p in read) == 1


def test_evaluation_is_whole_clips_of_whole_frames(root):
    data = made(root)
    batches = list(data.test_dataloader())
    assert len(batches) == 3
    sdr, hdr = decoded(root, "test", "test000")
    assert torch.equal(batches[0]["sdr"][0], sdr)
    assert torch.equal(batches[0]["hdr_pq"][0], hdr)


def test_a_clip_that_lacks_a_frame_is_named(root, tmp_path):
    broken = write_fake_triplets(tmp_path, 1, (40, 52), layout="clips", frames=10)
    for kind in ("sdr", "hdr"):
        (broken / "train" / kind / "train000" / "000004.png").unlink()
    with pytest.raises(ValueError, match=r"train000 jumps from .*000003 to .*000005"):
        made(broken)


def test_nine_frames_are_too_few(tmp_path):
    short = write_fake_triplets(tmp_path, 1, (40, 52), layout="clips", frames=9)
    with pytest.raises(ValueError, match="has 9 frames; expected 10"):
        made(short)


def test_tiles_are_cut_at_the_same_place_in_all_ten_frames(root, tmp_path):
    copy = write_fake_triplets(tmp_path, 1, (40, 52), layout="clips", frames=10)
    data = HDR10Clips(str(copy), crop_size=16, batch_size=1, num_workers=0, tile_size=24, tile_stride=16)
    (first, *_) = data.find("train")
    sdr, _ = decoded(copy, "train", "train000")
    tiles = np.stack([cv2.imread(str(p))[..., ::-1] for p in first.sdr])
    assert tiles.shape == (10, 24, 24, 3)
    assert np.array_equal(tiles, (sdr[..., :24, :24] * 255).round().permute(0, 2, 3, 1).numpy())


@pytest.mark.slow
def test_prepared_videos_give_one_clip_a_scene(tmp_path):
    """Three scenes of 14, 25 and 12 frames: three clips, none across a cut."""
    sdr, hdr = write_fake_video_pair(tmp_path, scenes=(14, 25, 12), size=(48, 64))
    rows = [f"{sdr.name},{hdr.name},train\n"]
    for split in ("val", "test"):  # no pair is given twice
        for file in (sdr, hdr):
            shutil.copy(file, tmp_path / f"{split}_{file.name}")
        rows.append(f"{split}_{sdr.name},{split}_{hdr.name},{split}\n")
    (tmp_path / "pairs.csv").write_text("sdr,hdr,split\n" + "".join(rows))
    assert main(["prepare", "clips", str(tmp_path / "pairs.csv"), str(tmp_path / "root")]) == 0
    data = HDR10Clips(str(tmp_path / "root"), crop_size=40, batch_size=1, num_workers=0)
    data.setup("fit")
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [b["sdr"].shape[1] for b in batches] == [10] * 3
    for b in batches:
        steps = (b["hdr_pq"][0, 1:] - b["hdr_pq"][0, :-1]).abs().mean((1, 2, 3))
        assert steps.max() < 5 * steps.median()


@pytest.mark.parametrize("arguments", [{"radius": -1}, {"crop_size": 0}, {"tile_size": 30}])
def test_wrong_arguments_are_named(root, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        HDR10Clips(str(root), **{"crop_size": 40} | arguments)
