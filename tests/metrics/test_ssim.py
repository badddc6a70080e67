"""SSIM against goldens, scikit-image and piq."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from tests.metrics.videos import noisy_clips
from vitm.metrics import SSIM, frame_metrics
from vitm.metrics.functional import ssim

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]
GAUSS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_goldens(golden: dict[str, Any], golden_pair: Any, name: str) -> None:
    test, ref = golden_pair(name)
    ours = {
        "ssim_gauss11": ssim(test, ref),
        "ssim_uniform7_L1": ssim(test, ref, "uniform7"),
        "ssim_uniform7_L2_kpn": ssim(test, ref, "kpn"),
    }
    for metric, value in ours.items():
        golden_value = golden["pairs"][name]["values"][metric]
        expected = float("inf") if golden_value is None else golden_value
        assert value.item() == pytest.approx(expected, abs=golden["metrics"][metric]["tolerance"]), metric


def test_agrees_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    for index, (x, y) in enumerate(zip(*(t.permute(0, 2, 3, 1).numpy() for t in pair), strict=True)):
        for variant, options in (("gauss11", GAUSS), ("uniform7", {"data_range": 1}), ("kpn", {"data_range": 2})):
            expected = structural_similarity(y, x, channel_axis=-1, **options)
            assert ssim(pred, target, variant)[index].item() == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]


def test_bands_join(rng: torch.Generator) -> None:
    """Large frames are measured in bands of rows: here three, the last one short."""
    target = torch.rand(1, 3, 70, 600, generator=rng, dtype=torch.float64)
    pred = (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)
    x, y = (t[0].permute(1, 2, 0).numpy() for t in (pred, target))
    assert ssim(pred, target).item() == pytest.approx(structural_similarity(y, x, channel_axis=-1, **GAUSS), abs=1e-12)
    expected = structural_similarity(y, x, channel_axis=-1, data_range=2)
    assert ssim(pred, target, "kpn").item() == pytest.approx(expected, abs=1e-12)


def test_agrees_with_piq(pair: tuple[Tensor, Tensor]) -> None:
    piq = pytest.importorskip("piq")
    expected = piq.ssim(*pair, data_range=1.0, downsample=False, reduction="none")
    torch.testing.assert_close(ssim(*pair), expected, atol=1e-12, rtol=0)


def test_identical_frames(pair: tuple[Tensor, Tensor]) -> None:
    same = pair[0]
    for variant in ("gauss11", "uniform7", "kpn"):
        assert ssim(same, same, variant).tolist() == pytest.approx([1, 1])  # type: ignore[arg-type]


def test_gradient(rng: torch.Generator) -> None:
    pred, target = 0.1 + 0.8 * torch.rand(2, 1, 2, 3, 11, 11, generator=rng, dtype=torch.float64)
    for variant in ("gauss11", "uniform7", "kpn"):
        assert torch.autograd.gradcheck(lambda x, v=variant: ssim(x, target, v), pred.requires_grad_(), fast_mode=True)


def test_option_errors() -> None:
    frame = torch.zeros(1, 3, 10, 16)
    with pytest.raises(ValueError, match="gauss11"):
        ssim(frame, frame, "torchmetrics")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="11x11"):
        ssim(frame, frame)


def test_metrics_do_not_merge_after_a_perfect_batch() -> None:
    """On identical frames the states of SSIM and SSIM (kpn) agree: a collection that groups them loses one."""
    pred, target = noisy_clips(2)
    metrics = frame_metrics(("ssim", "ssim_kpn"))
    metrics.update(target, target)
    metrics.update(pred, target)
    result = metrics.compute()
    for name, metric in (("ssim", SSIM()), ("ssim_kpn", SSIM("kpn"))):
        metric.update(target, target)
        metric.update(pred, target)
        assert result[name] == metric.compute()
