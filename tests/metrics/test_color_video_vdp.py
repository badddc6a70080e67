"""ColorVideoVDP against the package's own in-memory call, and what streaming and errors must do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vitm.metrics import ColorVideoVDP
from vitm.metrics.functional import quantize_16bit
from vitm.metrics.functional.color_video_vdp import color_video_vdp, color_video_vdp_stream, viewing


@pytest.fixture(scope="module")
def clips() -> tuple[Tensor, Tensor]:
    pytest.importorskip("pycvvdp")
    rng = torch.Generator().manual_seed(0)
    target = 0.2 + 0.5 * torch.rand(2, 4, 3, 40, 56, generator=rng)
    strength = torch.tensor([0.01, 0.04]).view(2, 1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=rng), target


@pytest.mark.slow
def test_agrees_with_goldens(shared: Path) -> None:
    pytest.importorskip("pycvvdp")
    golden = json.loads((shared / "goldens/metrics/golden.json").read_text())
    clip = np.load(shared / "goldens/metrics/clips/c02.npz")
    test, ref = (torch.from_numpy(clip[key] / 65535).permute(0, 3, 1, 2)[None] for key in ("test", "ref"))
    tolerance = golden["metrics"]["cvvdp_jod"]["tolerance"]
    for fps in (24, 60):
        expected = golden["clips"]["c02"]["values"]["cvvdp_jod"][f"standard_hdr_pq_{fps}fps"]
        assert color_video_vdp(test, ref, fps).item() == pytest.approx(expected, abs=tolerance)
    info = golden["metrics"]["cvvdp_jod"]["info"]["standard_hdr_pq"]
    assumed = viewing()
    assert f"{assumed.ppd:.3g} [pix/deg], Lpeak={assumed.peak_nits:g}" in info


@pytest.mark.parametrize("display", [pytest.param("standard_hdr_pq", marks=pytest.mark.slow), "65inch_hdr_pq_1Knit"])
def test_equals_the_package(clips: tuple[Tensor, Tensor], display: str) -> None:
    pycvvdp = pytest.importorskip("pycvvdp")
    metric = pycvvdp.cvvdp(display_name=display, quiet=True, device=torch.device("cpu"))
    ours = color_video_vdp(*clips, fps=30, display=display)
    assert ours.shape == (2,)
    for value, pred, target in zip(ours, *clips, strict=True):
        theirs, _ = metric.predict(pred.clamp(0, 1), target, dim_order="FCHW", frames_per_second=30)
        assert value.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert ours[0] > ours[1]


def test_streams_frame_by_frame(clips: tuple[Tensor, Tensor]) -> None:
    pred, target = (x[1] for x in clips)
    taken = {"pred": 0, "target": 0}

    def reader(video: Tensor, name: str) -> Iterator[Tensor]:
        for frame in video:
            taken[name] += 1
            assert abs(taken["pred"] - taken["target"]) <= 1
            yield frame

    value = color_video_vdp_stream(reader(pred, "pred"), reader(target, "target"), 4, fps=30)
    assert value.shape == ()
    assert taken == {"pred": 4, "target": 4}
    assert value == color_video_vdp(pred[None], target[None], fps=30)[0]


def test_identical_clips_and_gradients(clips: tuple[Tensor, Tensor]) -> None:
    pred, target = (x[:1, :2] for x in clips)
    for video, best in ((target, True), (pred, False)):
        video = video.clone().requires_grad_()
        value = color_video_vdp(video, target, fps=30)
        assert (value.item() == pytest.approx(10, abs=1e-5)) == best
        value.sum().backward()
        assert video.grad is not None
        assert video.grad.isfinite().all()


@pytest.mark.slow
def test_class_averages_over_clips(clips: tuple[Tensor, Tensor]) -> None:
    metric = ColorVideoVDP(fps=30)
    for i in range(2):
        metric.update(clips[0][i : i + 1], clips[1][i : i + 1])
    expected = color_video_vdp(*(quantize_16bit(x) for x in clips), fps=30)
    assert metric.compute().item() == pytest.approx(expected.mean().item(), rel=1e-6)
    assert str(metric.protocol).startswith("cvvdp 0.5")
    assert "at 30 fps" in str(metric.protocol)
    assert "75.4" in str(metric.protocol)
    assert metric.higher_is_better
    assert ColorVideoVDP(round_16bit=False).protocol.rounding == "unrounded"


def test_nan_is_not_hidden(clips: tuple[Tensor, Tensor]) -> None:
    pred, target = (x[:1].clone() for x in clips)
    pred[0, 1, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="frame 1 of pred holds nan"):
        color_video_vdp(pred, target, fps=30)


def test_errors(clips: tuple[Tensor, Tensor]) -> None:
    pred, target = clips
    for shape in ((2, 1, 3, 40, 56), (2, 3, 40, 56)):
        with pytest.raises(ValueError, match="at least 2 frames"):
            color_video_vdp(torch.rand(shape), torch.rand(shape), fps=30)
    with pytest.raises(ValueError, match="expected the same"):
        color_video_vdp(pred, target[:, :3], fps=30)
    with pytest.raises(TypeError, match="float16"):
        color_video_vdp(pred.half(), target.half(), fps=30)
    with pytest.raises(ValueError, match="fps"):
        color_video_vdp(pred, target, fps=0)
    with pytest.raises(ValueError, match="unknown display 'cinema'"):
        color_video_vdp(pred, target, fps=30, display="cinema")
    for display in ("standard_hdr_hlg", "standard_4k"):
        with pytest.raises(ValueError, match="ours are PQ"):
            ColorVideoVDP(display=display)


def test_stream_errors(clips: tuple[Tensor, Tensor]) -> None:
    pred, target = (list(x[0]) for x in clips)
    with pytest.raises(ValueError, match="pred ends after 4 of the 5"):
        color_video_vdp_stream(pred, target, 5, fps=30)
    with pytest.raises(ValueError, match="pred has more than the 3"):
        color_video_vdp_stream(pred, target, 3, fps=30)
    with pytest.raises(ValueError, match="target has more than the 4"):
        color_video_vdp_stream(pred, [*target, target[0]], 4, fps=30)
    with pytest.raises(ValueError, match="target ends after 0"):
        color_video_vdp_stream(pred, [], 4, fps=30)
    with pytest.raises(ValueError, match="frame 2 of target"):
        color_video_vdp_stream(pred, [*target[:2], target[2][:, :8], target[3]], 4, fps=30)
    with pytest.raises(ValueError, match="expected the same"):
        color_video_vdp_stream(pred, [frame[:, :8] for frame in target], 4, fps=30)
    with pytest.raises(TypeError, match="uint8"):
        color_video_vdp_stream([frame.to(torch.uint8) for frame in pred], target, 4, fps=30)
    with pytest.raises(ValueError, match="at least 2 frames"):
        color_video_vdp_stream(pred[:1], target[:1], 1, fps=30)


def test_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    with pytest.raises(ImportError, match=r"pip install 'vitm\[cvvdp\]'"):
        color_video_vdp(torch.rand(1, 2, 3, 8, 8), torch.rand(1, 2, 3, 8, 8), fps=30)
    with pytest.raises(ImportError, match=r"vitm\[cvvdp\]"):
        ColorVideoVDP()
