"""HDR-VQM against the released code's goldens and a NumPy oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from tests.reference import hdr_vqm as reference
from vitm.metrics import HDRVQM
from vitm.metrics.functional import quantize_16bit
from vitm.metrics.functional.hdr_vqm import frame_statistics, hdr_vqm, hdr_vqm_image, pool_runs, run_length
from vitm.metrics.functional.pu08 import pu08


def clips(count: int, length: int, dtype: torch.dtype = torch.float32, size: tuple[int, int] = (24, 31)) -> Any:
    rng = torch.Generator().manual_seed(count + length)
    target = 0.2 + 0.6 * torch.rand(count, length, 3, *size, generator=rng, dtype=dtype)
    return target + 0.03 * torch.randn(target.shape, generator=rng, dtype=dtype), target


@pytest.fixture(scope="module")
def nodes(shared: Path) -> Any:
    return json.loads((shared / "goldens/metrics/pu08_nodes.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 2e-6)])
def test_agrees_with_the_released_code(shared: Path, dtype: torch.dtype, tolerance: float) -> None:
    golden = json.loads((shared / "goldens/metrics/golden.json").read_text())["clips"]["c02"]["values"]["hdr_vqm"]
    clip = np.load(shared / "goldens/metrics/clips/c02.npz")
    test, ref = (torch.from_numpy(clip[key] / 65535).permute(0, 3, 1, 2).to(dtype) for key in ("test", "ref"))
    # Of the 8 frames the released code uses the first 6: runs start at 1 and 4, or at 1.
    blocks, images = frame_statistics(test[:7], ref[:7])
    assert pool_runs(blocks, 3).item() == pytest.approx(golden["bt2020_nfix3"], abs=tolerance)
    assert pool_runs(blocks, 6).item() == pytest.approx(golden["bt2020_nfix6"], abs=tolerance)
    assert images[0].item() == pytest.approx(golden["bt2020_image_frame1"], rel=5e-6)


@pytest.mark.slow
def test_agrees_with_numpy(nodes: Any) -> None:
    pred, target = clips(1, 2, torch.float64, (37, 1100))
    pairs = (x[0].permute(0, 2, 3, 1).clamp(0, 1).numpy() for x in (pred, target))
    maps = np.stack(
        [reference.similarity_map(x, y, nodes["log10_L_nodes"], nodes["PU_nodes"]) for x, y in zip(*pairs, strict=True)]
    )
    assert hdr_vqm(pred, target, frames=2).item() == pytest.approx(reference.hdr_vqm(maps, 2), rel=1e-8)
    images = hdr_vqm_image(pred, target)
    assert images.shape == (1, 2)
    assert images[0, 1].item() == pytest.approx(reference.image_mode(maps[1]), rel=1e-8)


@pytest.mark.parametrize(("length", "frames"), [(1, 1), (2, 1), (3, 3), (4, 3), (6, 3), (7, 3), (2, 15)])
def test_runs_and_pooling_agree_with_numpy(length: int, frames: int) -> None:
    """Also where the clip ends with a run, which is dropped, and where it is shorter than a run."""
    maps = 20 - np.random.default_rng(length).gamma(2, 0.1, (length, 512, 896))
    maps += np.random.default_rng(frames).random((length, 512, 1)) / 4
    blocks = maps.reshape(length, 8, 64, 14, 64).swapaxes(2, 3).reshape(length, 112, 4096)
    statistics = np.stack((blocks.mean(-1), blocks.var(-1) * 4096), axis=1)
    ours = pool_runs(torch.from_numpy(statistics), frames)
    assert ours.item() == pytest.approx(reference.hdr_vqm(maps, frames), rel=1e-9)


def test_a_run_lasts_600_ms() -> None:
    rates = {25: 15, 24: 15, 23.976: 15, 30: 18, 50: 30, 60000 / 1001: 36, 5: 3, 35: 21, 1: 1}
    assert {fps: run_length(fps, None) for fps in rates} == rates
    assert run_length(25, 4) == 4


def test_pu08_is_the_spline_through_the_nodes(nodes: Any) -> None:
    spline = CubicSpline(nodes["log10_L_nodes"], nodes["PU_nodes"])
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        log_l = torch.linspace(-1.74, 4, 999, dtype=dtype)
        np.testing.assert_allclose(pu08(10**log_l), spline(log_l.double()), rtol=0, atol=tolerance)
    outside = pu08(torch.tensor([0.0, 1e-9, 2e4]))
    assert outside[0] == outside[1] == pytest.approx(nodes["PU_nodes"][0])
    assert outside[2] == pytest.approx(nodes["PU_nodes"][-1])
    assert torch.autograd.gradcheck(pu08, torch.tensor([0.05, 3.0, 4e3], dtype=torch.float64, requires_grad=True))


@pytest.mark.slow
def test_identical_clips_score_0_and_gradients_are_finite() -> None:
    pred, target = clips(1, 2)
    still = target.clone().requires_grad_()
    assert hdr_vqm(still, target) == 0
    assert torch.all(hdr_vqm_image(still[:, :1], target[:, :1]) == 20)
    for video in (still, pred.requires_grad_()):
        hdr_vqm(video, target).sum().backward()
        assert video.grad is not None
        assert video.grad.isfinite().all()
    assert still.grad is not None
    assert not still.grad.any()
    assert pred.grad.abs().max() > 0


@pytest.mark.slow
def test_gradient_is_the_slope() -> None:
    pred, target = clips(1, 1, torch.float64)
    direction = torch.randn(pred.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        below, above = (hdr_vqm(pred + step * direction, target) for step in (-1e-6, 1e-6))
    pred.requires_grad_()  # after inference mode: the cached filters must serve both
    hdr_vqm(pred, target).sum().backward()
    assert (pred.grad * direction).sum().item() == pytest.approx(((above - below) / 2e-6).item(), rel=1e-4)


@pytest.mark.slow
def test_clips_are_independent_and_stream() -> None:
    pred, target = clips(2, 2)
    pred, target = quantize_16bit(pred), quantize_16bit(target)
    both = hdr_vqm(pred.float(), target.float(), fps=1)
    assert both.dtype == torch.float64
    metric = HDRVQM(fps=1)
    metric.update(pred, target)
    assert metric.compute()["hdr_vqm"] == pytest.approx(both.mean().item(), rel=1e-12)
    streamed = torch.cat([metric.measure(pred[1, i : i + 1], target[1, i : i + 1]) for i in range(2)])
    assert streamed.shape == (2, len(metric.columns))
    assert metric.reduce(streamed)["hdr_vqm"] == pytest.approx(both[1].item(), rel=1e-12)
    assert streamed[1, 0] == hdr_vqm_image(pred[1, 1:].float(), target[1, 1:].float())


@pytest.mark.slow
def test_worse_is_higher() -> None:
    pred, target = clips(1, 1)
    worse: Tensor = target + 2 * (pred - target)
    assert hdr_vqm(worse, target) > hdr_vqm(pred, target) > 0
    assert hdr_vqm_image(worse, target) < hdr_vqm_image(pred, target) < 20


def test_nan_is_not_hidden() -> None:
    pred, target = clips(1, 1)
    pred[0, 0, 0, 3, 3] = torch.nan
    assert hdr_vqm(pred, target).isnan().all()
    statistics = torch.rand(9, 2, 112, dtype=torch.float64)
    statistics[4] = torch.nan
    assert pool_runs(statistics, 2).isnan()


def test_class_says_what_it_measures() -> None:
    metric = HDRVQM()
    assert "runs of 15 frames" in str(metric.protocol)
    assert "4500" in str(metric.protocol)
    assert [name for name in metric.columns if not name.startswith("_")] == ["hdr_vqm_image"]
    assert len(set(metric.columns)) == 1 + 2 * 112


def test_errors() -> None:
    clip = torch.rand(1, 2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"B, T, 3, H, W"):
        hdr_vqm(clip[0], clip[0])
    with pytest.raises(ValueError, match="expected the same"):
        hdr_vqm(clip, clip[:, :1])
    with pytest.raises(ValueError, match="at least 1 frame,"):
        hdr_vqm(clip[:, :0], clip[:, :0])
    with pytest.raises(TypeError, match="float16"):
        hdr_vqm(clip.half(), clip.half())
    with pytest.raises(TypeError, match="uint8"):
        hdr_vqm(clip.to(torch.uint8), clip.to(torch.uint8))
    with pytest.raises(ValueError, match="fps"):
        hdr_vqm(clip, clip, fps=0)
    with pytest.raises(ValueError, match="frames"):
        hdr_vqm(clip, clip, frames=0)
    with pytest.raises(ValueError, match="fps"):
        HDRVQM(fps=float("nan"))
