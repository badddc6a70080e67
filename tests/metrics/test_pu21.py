"""PU21 against goldens of the authors' encoder, scikit-image, and cvvdp where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from vitm.color import pq_inverse_eotf
from vitm.metrics import PSNR, PU21PSNR, PU21SSIM, compatible
from vitm.metrics.functional import pu21_encode, pu21_psnr, pu21_ssim, quantize_16bit

PAIRS = ["g01", "g02", "g03", "g05", "g06", "g11"]


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "goldens/metrics/golden.json").read_text())


def read(path: Path) -> Tensor:
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return torch.from_numpy(bgr[..., ::-1].astype(np.float64) / 65535).permute(2, 0, 1).unsqueeze(0)


@pytest.fixture
def pair(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    target = torch.rand(2, 3, 24, 31, generator=rng, dtype=torch.float64)
    return (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1), target


def encoded(code: Tensor, channels: str) -> np.ndarray:
    """(3, H, W) PQ codes -> (H, W, C) PU21 values in NumPy, from the standard's and the paper's formulas."""
    root = code.numpy().transpose(1, 2, 0) ** (1 / (2523 / 32))
    nits = 1e4 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
    if channels == "y":
        nits = nits @ np.array([[0.2627], [0.6780], [0.0593]])
    y = np.clip(nits, 0.005, 1e4) ** 0.9062562627
    v = ((0.353487901 + 0.3734658629 * y) / (1 + 8.277049286e-05 * y)) ** 0.09150303166 - 0.9099517204
    return np.maximum(596.3148142 * v, 0)


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_agrees_with_goldens(shared: Path, golden: dict[str, Any], name: str) -> None:
    values = golden["pairs"][name]["values"]
    test, ref = (read(shared / "goldens/metrics" / golden["pairs"][name][key]) for key in ("test", "ref"))
    for channels in ("rgb", "y"):
        value = values[f"pu21_psnr_{channels}"]
        expected = float("inf") if value is None else value
        assert pu21_psnr(test, ref, channels).item() == pytest.approx(expected, abs=1e-8)
        single = pu21_psnr(test.float(), ref.float(), channels)
        assert single.item() == pytest.approx(expected, abs=golden["metrics"][f"pu21_psnr_{channels}"]["tolerance"])


@pytest.mark.parametrize("channels", ["rgb", "y"])
def test_agrees_with_scikit_image(pair: tuple[Tensor, Tensor], channels: Any) -> None:
    pred, target = pair
    for i in range(2):
        x, y = encoded(pred[i], channels), encoded(target[i], channels)
        expected = peak_signal_noise_ratio(y, x, data_range=256)
        assert pu21_psnr(pred, target, channels)[i].item() == pytest.approx(expected, abs=1e-8)
        gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 256}
        expected = structural_similarity(y, x, channel_axis=-1, **gauss)
        assert pu21_ssim(pred, target, channels)[i].item() == pytest.approx(expected, abs=1e-10)


def test_encode() -> None:
    nits = torch.tensor([0.0, 0.005, 100.0, 10_000.0, 2e4], dtype=torch.float64)
    assert pu21_encode(nits).tolist() == pytest.approx([0, 0, 256.38, 595.39, 595.39], abs=0.01)
    assert pu21_encode(nits.float()).dtype == torch.float32
    torch.testing.assert_close(pu21_encode(nits.float()), pu21_encode(nits).float(), rtol=0, atol=2e-3)
    ramp = pu21_encode(torch.logspace(-2.3, 4, 1000, dtype=torch.float64))
    assert (ramp.diff() > 0).all()
    with pytest.raises(TypeError, match="int64"):
        pu21_encode(torch.tensor([100]))


def test_encode_agrees_with_cvvdp() -> None:
    pycvvdp = pytest.importorskip("pycvvdp")
    nits = torch.logspace(-2, 4, 100)
    torch.testing.assert_close(pu21_encode(nits), pycvvdp.utils.PU().encode(nits), rtol=1e-5, atol=1e-3)


def test_peak_is_a_display_of_100_nits() -> None:
    """Black against 100 cd/m2 is 256.38 apart: -0.013 dB."""
    white = pq_inverse_eotf(torch.full((1, 3, 12, 12), 100.0, dtype=torch.float64))
    for channels in ("rgb", "y"):
        assert pu21_psnr(white, torch.zeros_like(white), channels).item() == pytest.approx(-0.013, abs=0.001)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [pu21_psnr, pu21_ssim])
def test_values_do_not_depend_on_the_batch(metric: Any, pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    for channels in ("rgb", "y"):
        alone = torch.cat([metric(pred[i : i + 1], target[i : i + 1], channels) for i in range(2)])
        together = metric(pred, target, channels)
        assert together.dtype == torch.float64
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
        clips = metric(pred.view(1, 2, 3, 24, 31), target.view(1, 2, 3, 24, 31), channels)
        torch.testing.assert_close(clips, alone.view(1, 2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", [pu21_psnr, pu21_ssim])
def test_gradients(metric: Any, rng: torch.Generator) -> None:
    pred, target = 0.2 + 0.6 * torch.rand(2, 1, 3, 12, 12, generator=rng, dtype=torch.float64)
    pred.requires_grad_()
    for channels in ("rgb", "y"):
        assert torch.autograd.gradcheck(
            lambda x, c=channels: metric(x, target, c), pred, eps=1e-7, atol=1e-3, rtol=1e-3, fast_mode=True
        )
    for level in (0.0, 1e-6, 1.0):
        extreme = torch.full((1, 3, 12, 12), level, requires_grad=True)
        (gradient,) = torch.autograd.grad(metric(extreme, torch.full_like(extreme, 0.5)).sum(), extreme)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("metric", [pu21_psnr, pu21_ssim])
def test_errors(metric: Any) -> None:
    frame = torch.zeros(1, 2, 3, 16, 16)
    with pytest.raises(ValueError, match="'rgb' or 'y'"):
        metric(frame, frame, "luma")
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 16, 15\)"):
        metric(frame, frame[..., :-1])
    with pytest.raises(TypeError, match="65535"):
        metric(frame.to(torch.uint16), frame.to(torch.uint16))
    with pytest.raises(TypeError, match="16-bit PQ codes"):
        metric(frame.half(), frame.half())
    with pytest.raises(ValueError, match="11x11"):
        pu21_ssim(frame[..., :10], frame[..., :10])


def test_classes(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = (x.float() for x in pair)
    p, t = quantize_16bit(pred), quantize_16bit(target)
    for channels in ("rgb", "y"):
        for metric, expected in (
            (PU21PSNR(channels), pu21_psnr(p, t, channels)),  # type: ignore[arg-type]
            (PU21SSIM(channels), pu21_ssim(p, t, channels)),  # type: ignore[arg-type]
        ):
            metric.update(pred, target)
            assert metric.compute().item() == pytest.approx(expected.mean().item(), rel=1e-12)
            assert metric.higher_is_better
            assert metric.protocol.domain == "PU21 BT.2020"
            assert metric.protocol.variant.endswith(channels)
    assert not compatible(PU21PSNR().protocol, PSNR().protocol)
    assert not compatible(PU21PSNR().protocol, PU21PSNR("y").protocol)


def test_identical_frames_are_left_out_of_psnr_and_counted(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    metric = PU21PSNR()
    metric.update(target[:1], target[:1])
    assert metric.compute() == torch.inf
    metric.update(pred, target)
    alone = PU21PSNR()
    alone.update(pred, target)
    assert metric.compute() == alone.compute()
    assert (metric.n_identical, metric.count) == (1, 2)
    assert PU21PSNR(round_16bit=False).protocol.rounding == "unrounded"
