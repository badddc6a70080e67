"""The previews: one display for all models, and none at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch

from vitm.color import pq_inverse_eotf
from vitm.conversion import Grading, convert
from vitm.conversion.preview import displayed
from vitm.video import write_image


def shown(nits: float) -> float:
    return float(displayed(pq_inverse_eotf(torch.full((3, 1, 1), float(nits)))).mean())


def test_the_display_is_linear_below_and_rolls_off_to_300() -> None:
    """BT.2390's EETF from 4,000 to 300 cd/m2 begins at the PQ code 1.5 x code(300) - 0.5 x code(4000): 77 cd/m2."""
    for nits in (0.0, 1.0, 20.0, 75.0):
        assert shown(nits) == pytest.approx((nits / 300) ** (1 / 2.4), abs=2e-4)
    assert shown(4000) == pytest.approx(1, abs=1e-4)
    assert shown(9000) == pytest.approx(1, abs=1e-4)
    levels = [shown(float(n)) for n in range(60, 4000, 10)]
    steps = np.diff(levels)
    assert (steps > -1e-6).all()
    # the spline at 1,000 cd/m2, by hand
    assert shown(1000) ** 2.4 * 300 == pytest.approx(282, abs=1)


def test_hue_stays() -> None:
    """Light of one colour, ten times as bright: the same ratios of BT.709 light."""
    dim, bright = (
        displayed(pq_inverse_eotf(torch.tensor([60.0, 55.0, 50.0]).view(3, 1, 1) * times)) ** 2.4 for times in (1, 10)
    )
    torch.testing.assert_close(bright / bright[:1], dim / dim[:1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("model", ["clip", "bt2446a"])
def test_the_preview_shows_what_a_model_does(model: str, tmp_path: Path) -> None:
    """A lamp of SDR white in a grey frame: brighter than SDR with bt2446a, as bright with `clip`."""
    (tmp_path / "clip").mkdir()
    frame = np.random.default_rng(0).random((64, 64, 3), np.float32) * 0.2
    frame[24:40, 24:40] = 1
    write_image(tmp_path / "clip/0.png", frame, bits=8)
    report = convert(tmp_path / "clip", tmp_path / "out", model, preview=True, progress=False)
    assert report.previews is not None
    on_display, untonemapped = (cv2.imread(str(path)).mean(axis=2) / 255 for path in report.previews[:2])
    assert on_display.shape == (64, 128)
    assert untonemapped.shape == (128, 128)
    sdr, hdr = on_display[32, 32], on_display[32, 96]
    assert sdr == pytest.approx(shown(203), abs=0.003)
    white = {"clip": 203, "bt2446a": 509}[model]
    assert hdr == pytest.approx(shown(white), abs=0.003)
    assert untonemapped[32, 32] == untonemapped[32, 96] == 1  # 203 cd/m2 and more
    assert untonemapped[96, 96] == pytest.approx((white / 1000) ** (1 / 2.4), abs=0.003)


@pytest.mark.slow
def test_a_long_clip_is_animated_by_some_of_its_frames(tmp_path: Path) -> None:
    """61 frames at 24 a second: every second one, 31 in all, for 83 ms each; SDR left and HDR right."""
    (tmp_path / "clip").mkdir()
    for i in range(61):
        frame = np.full((16, 32, 3), 0.3, np.float32)
        frame[:, : 2 * (i % 16)] = 1
        write_image(tmp_path / f"clip/{i:02d}.png", frame, bits=8)
    report = convert(
        tmp_path / "clip", tmp_path / "out", "bt2446a", grading=Grading(graphics="keep"), preview=True, progress=False
    )
    assert report.previews is not None
    assert [path.suffix for path in report.previews] == [".png", ".png", ".mp4", ".webp"]
    with iio.imopen(report.previews[3], "r", plugin="pillow") as file:
        pictures, durations = [], []
        for i in range(31):
            pictures.append(file.read(index=i)[..., :3] / 255)
            durations.append(file.metadata(index=i)["duration"])
        with pytest.raises(EOFError):
            file.read(index=31)
    assert durations == [83] * 31
    assert pictures[0].shape == (16, 64, 3)
    for i, picture in enumerate(pictures):
        edge = 4 * i % 32  # of the white part, in pixels
        for left, dark, white in ((0, shown(0.3**2.4 * 203), shown(203)), (32, None, shown(509))):
            panel = picture[:, left : left + 32].mean(axis=(0, 2))
            assert edge < 8 or panel[2 : edge - 4] == pytest.approx(white, abs=0.03)
            assert dark is None or edge > 24 or panel[edge + 4 : 30] == pytest.approx(dark, abs=0.03)


def test_a_picture_has_no_moving_preview(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    write_image(tmp_path / "clip/0.png", np.full((16, 32, 3), 0.5, np.float32), bits=8)
    report = convert(tmp_path / "clip", tmp_path / "out", "clip", preview=True, progress=False)
    assert report.previews == (tmp_path / "out_preview.png", tmp_path / "out_preview_untonemapped.png")
