"""PSNR against goldens and scikit-image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from tests.metrics.videos import noisy_clips
from vitm.metrics import PSNR
from vitm.metrics.functional import psnr, quantize_16bit

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_goldens(golden: dict[str, Any], golden_pair: Any, name: str) -> None:
    test, ref = golden_pair(name)
    ours = {
        "psnr_pq": psnr(test, ref),
    }
    for metric, value in ours.items():
        golden_value = golden["pairs"][name]["values"][metric]
        expected = float("inf") if golden_value is None else golden_value
        assert value.item() == pytest.approx(expected, abs=golden["metrics"][metric]["tolerance"]), metric


def test_agrees_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    for index, (x, y) in enumerate(zip(*(t.permute(0, 2, 3, 1).numpy() for t in pair), strict=True)):
        assert psnr(pred, target)[index].item() == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-10)


def test_a_uniform_step_by_hand() -> None:
    """0.1 apart everywhere: 20 dB."""
    frame = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(frame, frame - 0.1).item() == pytest.approx(20, abs=1e-5)


def test_identical_frames(pair: tuple[Tensor, Tensor]) -> None:
    same = pair[0]
    assert psnr(same, same).tolist() == [float("inf")] * 2


def test_gradient(rng: torch.Generator) -> None:
    pred, target = 0.1 + 0.8 * torch.rand(2, 1, 2, 3, 11, 11, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: psnr(x, target), pred.requires_grad_(), atol=1e-4, fast_mode=True)


def test_identical_frames_are_left_out_of_psnr_and_counted() -> None:
    pred, target = noisy_clips(3)
    pred[1] = target[1]
    metric = PSNR()
    metric.update(pred, target)
    alone = PSNR()
    alone.update(pred[[0, 2]], target[[0, 2]])
    assert metric.compute() == pytest.approx(alone.compute().item())
    assert (metric.n_identical, metric.count) == (2, 4)
    perfect = PSNR()
    perfect.update(target, target)
    assert perfect.compute() == torch.inf
    metric.reset()
    assert metric.n_identical == 0


def test_rounding_hides_differences_below_half_a_code() -> None:
    stored = quantize_16bit(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    nearly = PSNR()
    nearly.update((stored + 0.4 / 65535).float(), stored.float())
    assert nearly.compute() == torch.inf
