"""Flicker against a NumPy oracle and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.videos import pan
from tests.reference import temporal as reference
from vitm.metrics import Flicker
from vitm.metrics.functional import flicker


def test_agrees_with_numpy(noisy_pan: tuple[Tensor, Tensor]) -> None:
    pred, target = (x.double().clamp(0, 1) for x in noisy_pan)
    level = torch.tensor([0.0, 0.03, -0.01, 0.02], dtype=torch.float64).view(4, 1, 1, 1)
    pred = (pred + level).clamp(0, 1)
    wobble = flicker(pred, target)
    for i in range(2):
        assert wobble[i].item() == pytest.approx(reference.flicker(pred[i].numpy(), target[i].numpy()), rel=1e-9)
    assert flicker(target + level, target).tolist() == pytest.approx([level.std(unbiased=False).item()] * 2, rel=1e-9)


def test_constant_errors_do_not_flicker() -> None:
    target = pan(4)
    assert flicker(target + 0.1, target).item() < 1e-8


@pytest.mark.slow
def test_gradient() -> None:
    clip = pan(3)[..., 20:26, 30:37].double()
    pred = (clip + 0.05 * torch.rand(clip.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: flicker(x, clip), pred)
    same = clip.clone().requires_grad_()
    flicker(same, clip).sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_nan_is_not_hidden() -> None:
    target = pan(3)
    pred = target.clone()
    pred[0, 1, 0, 32, 40] = torch.nan
    assert flicker(pred, target).isnan().all()


def test_class_says_what_it_measures() -> None:
    assert Flicker.higher_is_better is False


def test_errors() -> None:
    clip = pan(2)
    for wrong in (clip[:, :1], clip[0]):
        with pytest.raises(ValueError, match="at least 2 frames"):
            flicker(wrong, wrong)
    for dtype in (torch.float16, torch.uint8):
        wrong = clip.to(dtype)
        with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
            flicker(wrong, wrong)


def test_unlike_lengths() -> None:
    clip = pan(3)
    with pytest.raises(ValueError, match="expected the same"):
        flicker(clip, clip[:, :2])
