"""The warping error against a NumPy oracle, exact pans and a real one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.videos import pan, pan_flows
from tests.reference import temporal as reference
from vitm.metrics import WarpingError
from vitm.metrics.functional.warping_error import visible, warping_error
from vitm.nets.flow import FlowEstimator, flow_estimator


def test_exact_flow_leaves_only_what_is_not_motion(rng: torch.Generator) -> None:
    """Independent noise of each frame shows with twice its variance; the pan itself with nothing."""
    target = pan(5)
    flows = pan_flows(target)
    assert warping_error(target, target, flows).item() < 1e-12
    assert warping_error(target, target, "zero").item() > 1e-3
    noise = 0.02 * torch.randn(target.shape, generator=rng)
    assert warping_error(target + noise, target, flows).item() == pytest.approx(2 * 0.02**2, rel=0.03)
    level = torch.tensor([0.0, 0.1, 0.0, 0.1, 0.0]).view(1, 5, 1, 1, 1)
    assert warping_error(target + level, target, flows).item() == pytest.approx(0.01, rel=1e-4)


def test_agrees_with_numpy(rng: torch.Generator) -> None:
    """Smooth flows with a jump, some of which lead outside or do not return."""
    clip = torch.rand(1, 3, 3, 20, 24, generator=rng, dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    backward = torch.stack((1.3 + 0.05 * y + 3 * (x > 14), -0.7 + 0.04 * x)).expand(1, 2, 2, 20, 24).double()
    forward = -backward + 0.9 * (y > 12)
    seen = visible(backward[:, 0], forward[:, 0])[0, 0]
    np.testing.assert_array_equal(seen, reference.visible(backward[0, 0].numpy(), forward[0, 0].numpy()))
    assert 0.2 < seen.double().mean() < 0.8
    ours = warping_error(clip, clip, (backward, forward)).item()
    assert ours == pytest.approx(reference.warping_error(*(t[0].numpy() for t in (clip, backward, forward))), rel=1e-6)


def test_what_a_moving_object_uncovers_does_not_count(rng: torch.Generator) -> None:
    background, object_ = (torch.rand(3, n, n, generator=rng) for n in (40, 10))
    clip = background.repeat(2, 1, 1, 1)
    forward, backward = torch.zeros(2, 1, 1, 2, 40, 40)
    for t, left in enumerate((8, 14)):
        clip[t, :, 12:22, left : left + 10] = object_
    forward[..., 0, 12:22, 8:18] = 6
    backward[..., 0, 12:22, 14:24] = -6
    seen = visible(backward[:, 0], forward[:, 0])[0, 0]
    assert not seen[13:21, 8:13].any()  # uncovered: it was behind the object
    assert seen[13:21, 15:23].all()  # the object
    assert seen[:11].all()
    assert warping_error(clip[None], clip[None], (backward, forward)).item() < 1e-9


def test_pairs_without_a_visible_pixel_are_left_out(noisy_pan: tuple[Tensor, Tensor]) -> None:
    pred, target = (t[:1] for t in noisy_pan)
    backward, forward = (f.clone() for f in pan_flows(target))
    backward[:, 1] = 1000
    expected = [warping_error(pred[:, i : i + 2], target[:, i : i + 2], pan_flows(target[:, :2])) for i in (0, 2)]
    video = pred.clone().requires_grad_()
    error = warping_error(video, target, (backward, forward))
    assert error.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-9)
    error.sum().backward()
    assert video.grad is not None
    assert video.grad.isfinite().all()
    backward[:] = 1000
    assert warping_error(pred, target, (backward, forward)).isnan().all()


@pytest.mark.slow
def test_dis_finds_the_golden_pan(golden_clip: tuple[Tensor, Tensor]) -> None:
    """c02 moves by 2 pixels a frame and has noise of 0.008 in each frame of the test clip."""
    pred, target = golden_clip
    flow = flow_estimator("dis")(target[0, 1:], target[0, :-1]).median(dim=-1).values.median(dim=-1).values
    assert flow.norm(dim=1).sub(2).abs().max() < 0.2
    own, noise = warping_error(target, target).item(), warping_error(pred, target).item()
    assert own < 0.2 * warping_error(target, target, "zero").item()
    assert noise - own == pytest.approx(2 * 0.008**2, rel=0.15)  # less: warping between pixels smooths the noise


def test_flow_goes_the_way_the_docstring_says() -> None:
    """The estimator is asked for later -> earlier and back, on the target."""
    asked = []

    class Spy(FlowEstimator):
        def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
            asked.append((source, target))
            return torch.zeros_like(source[:, :2])

    target = pan(2)
    warping_error(target.flip(-1), target, Spy())
    ((source, other),) = asked
    torch.testing.assert_close(source, target[0].flip(0))
    torch.testing.assert_close(other, target[0])


@pytest.mark.slow
def test_gradient() -> None:
    clip = pan(3)[..., 20:26, 30:37].double()
    flows = pan_flows(clip)
    pred = (clip + 0.05 * torch.rand(clip.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: warping_error(x, clip, flows), pred)


def test_nan_is_not_hidden() -> None:
    target = pan(3)
    pred = target.clone()
    pred[0, 1, 0, 32, 40] = torch.nan
    assert warping_error(pred, target).isnan().all()


def test_class_says_what_it_measures() -> None:
    assert "flow dis" in str(WarpingError().protocol)
    assert WarpingError.higher_is_better is False
    with pytest.raises(ValueError, match="farneback"):
        WarpingError("farneback")
