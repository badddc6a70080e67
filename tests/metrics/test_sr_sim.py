"""SR-SIM against goldens of the authors' code and against piq."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.metrics import SRSIM, compatible
from vitm.metrics.functional import quantize_16bit
from vitm.metrics.functional.sr_sim import sr_sim

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "goldens/metrics/golden.json").read_text())


def read(path: Path) -> Tensor:
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return torch.from_numpy(bgr[..., ::-1].astype(np.float64) / 65535).permute(2, 0, 1).unsqueeze(0)


def pair(height: int, width: int, count: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth shapes of several sizes in colour, and the same blurred and with noise."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, 3, height, width, dtype=torch.float64)
    for size in (4, 11, 40):
        blobs = torch.rand(count, 3, size, size, generator=rng, dtype=torch.float64)
        target += F.interpolate(blobs, (height, width), mode="bicubic") / 3
    blurred = F.avg_pool2d(F.pad(target, (2, 2, 2, 2), mode="replicate"), 5, 1)
    noise = 0.01 * torch.randn(target.shape, generator=rng, dtype=torch.float64)
    return (blurred + noise).clamp(0, 1), target.clamp(0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_goldens(shared: Path, golden: dict[str, Any], name: str) -> None:
    values = golden["pairs"][name]["values"]
    test, ref = (read(shared / "goldens/metrics" / golden["pairs"][name][key]) for key in ("test", "ref"))
    for scale, metric in ((255, "sr_sim_255"), (1, "sr_sim_as_published_01")):
        assert sr_sim(test, ref, scale).item() == pytest.approx(values[metric], abs=1e-9)  # type: ignore[arg-type]
        single = sr_sim(test.float(), ref.float(), scale)  # type: ignore[arg-type]
        assert single.item() == pytest.approx(values[metric], abs=1e-7)


# 1080 -> every fourth pixel, 550 -> every second, 800 -> every third; the golden pairs have every pixel
SIZES = [(128, 192), (131, 97), (270, 480), (550, 400), (801, 900), pytest.param(1080, 1201, marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_agrees_with_piq_where_it_rounds_the_same(height: int, width: int) -> None:
    """As far as its fp32 kernels go."""
    piq = pytest.importorskip("piq")
    pred, target = pair(height, width)
    expected = piq.srsim(pred, target, data_range=1.0).item()
    assert expected < 0.9999
    assert sr_sim(pred, target).item() == pytest.approx(expected, abs=1e-5)
    assert sr_sim(pred.float(), target.float()).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "factor"), [(383, 1), (384, 2), (639, 2), (640, 3), (641, 3)])
def test_halves_round_up(size: int, factor: int) -> None:
    """A frame reads as its own decimation by hand, which is small enough to be taken as it is."""
    frames = pair(size, size + 7)

    def decimate(x: Tensor) -> Tensor:
        before = (factor - 1) // 2
        padded = np.pad(x[0].numpy(), ((0, 0), (before, factor), (before, factor)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (factor, factor), axis=(1, 2))
        means = windows.mean(axis=(-2, -1))[:, : x.shape[-2] : factor, : x.shape[-1] : factor]
        return torch.from_numpy(means.copy())[None]

    assert sr_sim(*frames).item() == pytest.approx(sr_sim(*(decimate(x) for x in frames)).item(), abs=1e-12)


def test_identical_frames_are_1_and_symmetry() -> None:
    pred, target = pair(60, 70)
    assert sr_sim(pred, pred).item() == pytest.approx(1, abs=1e-12)
    assert sr_sim(pred, target).item() == pytest.approx(sr_sim(target, pred).item(), abs=1e-12)


def test_values_do_not_depend_on_the_batch() -> None:
    pred, target = pair(64, 80, count=4)
    pred = pred * torch.tensor([1, 0.5, 0.1, 1], dtype=torch.float64).view(4, 1, 1, 1)
    alone = torch.cat([sr_sim(pred[i : i + 1], target[i : i + 1]) for i in range(4)])
    together = sr_sim(pred, target)
    assert together.shape == (4,)
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    clips = sr_sim(pred.view(2, 2, 3, 64, 80), target.view(2, 2, 3, 64, 80))
    torch.testing.assert_close(clips, alone.view(2, 2), rtol=1e-12, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_frames(dtype: torch.dtype) -> None:
    """Rounding errors of a flat frame must not become a saliency map."""
    levels = [0.0, 1e-5, 0.3, 1.0]
    flat = [torch.full((1, 3, 45, 50), level, dtype=dtype) for level in levels]
    textured = pair(45, 50)[1].to(dtype)
    for x in flat:
        assert sr_sim(x, x).item() == pytest.approx(1, abs=1e-9)
        for y in (*flat, textured):
            pred = x.clone().requires_grad_()
            value = sr_sim(pred, y)
            assert 0 < value.item() <= 1 + 1e-9
            (gradient,) = torch.autograd.grad(value.sum(), pred)
            assert gradient.isfinite().all()
    # saliency is the same and only the border against the zero padding differs
    assert 0.99 < sr_sim(flat[2], flat[2] + 0.05).item() < 1


def test_small_frames() -> None:
    pred, target = pair(16, 17)
    assert 0 < sr_sim(pred, target).item() < 1
    with pytest.raises(ValueError, match=r"16x16, got \(15, 17\)"):
        sr_sim(pred[..., 1:, :], target[..., 1:, :])


def test_gradients() -> None:
    pred, target = pair(20, 24)
    pred.requires_grad_()
    for scale in (255, 1):
        assert torch.autograd.gradcheck(lambda x, s=scale: sr_sim(x, target, s), pred, fast_mode=True, eps=1e-7)
    single = pred.detach().float().requires_grad_()
    (gradient,) = torch.autograd.grad(sr_sim(single, target.float()).sum(), single)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_autocast_changes_nothing() -> None:
    pred, target = (x.float() for x in pair(64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = sr_sim(pred, target)
    assert torch.equal(value, sr_sim(pred, target))


def test_nan_is_not_hidden() -> None:
    pred, target = pair(32, 32)
    pred[0, 0, 3, 3] = torch.nan
    assert sr_sim(pred, target).isnan().all()


def test_errors() -> None:
    frame = torch.zeros(1, 2, 3, 16, 16)
    with pytest.raises(ValueError, match="255 or 1"):
        sr_sim(frame, frame, 65535)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 16, 15\)"):
        sr_sim(frame, frame[..., :-1])
    with pytest.raises(ValueError, match="3, H, W"):
        sr_sim(frame[:, :, :1], frame[:, :, :1])
    for dtype, message in ((torch.uint16, "65535"), (torch.bfloat16, "16-bit PQ codes")):
        with pytest.raises(TypeError, match=message):
            sr_sim(frame.to(dtype), frame.to(dtype))


def test_class_is_the_mean_over_rounded_frames() -> None:
    pred, target = (x.float() for x in pair(40, 40, count=3))
    for scale, variant in ((255, "0..255"), (1, "as KPN-MFI, 0..1")):
        metric = SRSIM(scale)  # type: ignore[arg-type]
        metric.update(pred[:1], target[:1])
        metric.update(pred[1:], target[1:])
        expected = sr_sim(quantize_16bit(pred), quantize_16bit(target), scale).mean()  # type: ignore[arg-type]
        assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-12)
        assert metric.protocol.variant == variant
    assert not compatible(SRSIM(1).protocol, SRSIM().protocol)
    assert SRSIM().higher_is_better
