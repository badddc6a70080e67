"""The stability of highlights against a NumPy oracle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.videos import pan
from tests.reference import temporal as reference
from vitm.metrics import HighlightStability
from vitm.metrics.functional import highlight_stability


def test_agrees_with_numpy(noisy_pan: tuple[Tensor, Tensor]) -> None:
    level = torch.tensor([0.0, 0.03, -0.01, 0.02], dtype=torch.float64).view(4, 1, 1, 1)
    pred = (noisy_pan[0].double().clamp(0, 1) + level).clamp(0, 1)
    cv = highlight_stability(pred)
    for i in range(2):
        assert cv[i].item() == pytest.approx(reference.highlight_cv(pred[i].numpy()), rel=1e-9)


def test_constant_highlights_do_not_vary() -> None:
    target = pan(4)
    assert highlight_stability(target[:, :1].expand(-1, 4, -1, -1, -1)).item() < 1e-12
    assert highlight_stability(torch.zeros_like(target)).item() == 0


@pytest.mark.slow
def test_gradient() -> None:
    clip = pan(3)[..., 20:26, 30:37].double()
    pred = (clip + 0.05 * torch.rand(clip.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    assert torch.autograd.gradcheck(highlight_stability, pred, atol=1e-4)
    still = clip[:, :1].repeat(1, 3, 1, 1, 1).requires_grad_()
    highlight_stability(still).sum().backward()
    assert still.grad is not None
    assert still.grad.isfinite().all()


def test_nan_is_not_hidden() -> None:
    target = pan(3)
    pred = target.clone()
    pred[0, 1, 0, 32, 40] = torch.nan
    assert highlight_stability(pred).isnan().all()


def test_class_says_what_it_measures() -> None:
    assert HighlightStability.higher_is_better is None


def test_errors() -> None:
    clip = pan(2)
    for wrong in (clip[:, :1], clip[0]):
        with pytest.raises(ValueError, match="at least 2 frames"):
            highlight_stability(wrong)
    for dtype in (torch.float16, torch.uint8):
        wrong = clip.to(dtype)
        with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
            highlight_stability(wrong)
