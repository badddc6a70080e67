"""The fake sets against the true layouts, read with OpenCV and PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vitm.data.fake.frames import fake_frames, write_fake_triplets, write_fake_video_pair


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("triplets", "train/{}/train001_3.png"),
        ("scenes", "train/{}/train001_000014.png"),
        ("clips", "train/{}/train001/000002.png"),
        ("stills", "train_{}/002.png"),
    ],
)
def test_files_are_where_and_what_they_should_be(tmp_path: Path, layout: str, file: str) -> None:
    assert write_fake_triplets(tmp_path, n=2, size=(10, 14), layout=layout, seed=5) == tmp_path  # type: ignore[arg-type]
    sdr, hdr = fake_frames(1 if layout == "stills" else 3, 10, 14, seed=6)
    for kind, dtype, codes in (("sdr", np.uint8, sdr), ("hdr", np.uint16, hdr)):
        stored = cv2.imread(str(tmp_path / file.format(kind)), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == dtype
        np.testing.assert_array_equal(stored[..., ::-1], codes[-1])
    frames = 2 * 3 * 2 * (1 if layout == "stills" else 3)  # splits, SDR and HDR, samples, frames
    assert len(list(tmp_path.rglob("*.png"))) == (2 * 3 * 2 if layout == "stills" else frames)


def test_frames_move_and_differ_by_seed() -> None:
    sdr, hdr = fake_frames(3, 32, 32)
    assert all((a != b).mean() > 0.5 for a, b in ((sdr[0], sdr[1]), (hdr[1], hdr[2])))
    assert (fake_frames(3, 32, 32, seed=1)[1] != hdr).mean() > 0.9
    assert round(hdr.max() / 65535, 3) == 0.75  # BT.2100: 983 cd/m2


def test_video_pair(tmp_path: Path) -> None:
    paths = write_fake_video_pair(tmp_path, scenes=(4, 3), size=(48, 64), fps=5, hdr_frames=range(2, 7), bars=8)
    film = np.concatenate([fake_frames(4, 48, 64)[1], fake_frames(3, 48, 64, seed=1000)[1]])
    for path, frames, tags, pixel in zip(
        paths, (7, 5), ((1, 1, 1), (9, 16, 9)), ("yuv420p", "yuv420p10le"), strict=True
    ):
        with av.open(str(path)) as container:
            decoded = list(container.decode(video=0))
            assert container.streams.video[0].average_rate == 5
        assert len(decoded) == frames
        first = decoded[0]
        assert (int(first.color_primaries), int(first.color_trc), int(first.colorspace)) == tags
        assert first.format.name == pixel
        luma = np.stack([f.to_ndarray()[:48] for f in decoded]).astype(float)
        black = 16 * (4 if pixel.endswith("10le") else 1)
        assert np.abs(luma[:, :7] - black).max() <= 3
        assert np.abs(luma[:, 41:] - black).max() <= 3
    weights = np.array([0.2627, 0.6780, 0.0593])  # BT.2100-2, table 6
    expected = 64 + 876 * (film[2:] / 65535 @ weights)  # table 9, 10 bits
    assert np.abs(luma[:, 8:40] - expected[:, 8:40]).max() <= 0.51
