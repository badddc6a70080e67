"""Warping error, tOF, highlights and flicker against NumPy oracles, exact pans and a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from tests.reference import temporal as reference
from vitm.metrics.clip import ClipMetric
from vitm.metrics.functional.temporal import flicker, highlight_stability, tof, visible, warping_error
from vitm.metrics.temporal import TOF, Flicker, HighlightStability, WarpingError
from vitm.nets.flow import FlowEstimator, flow_estimator

STEP = (2.0, -1.0)  # where the content moves, in pixels a frame


def constant(x: float, y: float, batch: int, pairs: int, height: int, width: int) -> Tensor:
    return torch.tensor([x, y]).view(1, 1, 2, 1, 1).expand(batch, pairs, 2, height, width)


def pan(length: int = 4, step: tuple[float, float] = STEP) -> Tensor:
    """A photograph that moves by whole pixels: (1, T, 3, 64, 80)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    dx, dy = int(step[0]), int(step[1])
    views = [photo[:, 100 - dy * t : 164 - dy * t, 200 - dx * t : 280 - dx * t] for t in range(length)]
    return 0.1 + 0.6 * torch.stack(views)[None]


def pan_flows(clip: Tensor, step: tuple[float, float] = STEP) -> tuple[Tensor, Tensor]:
    size = (clip.shape[0], clip.shape[1] - 1, *clip.shape[-2:])
    return constant(-step[0], -step[1], *size), constant(*step, *size)


@pytest.fixture
def noisy(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two clips with noise of different strength, and their targets."""
    target = torch.cat((pan(4), pan(4, (-1.0, 2.0))))
    strength = torch.tensor([0.02, 0.05]).view(2, 1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=rng), target


@pytest.fixture(scope="module")
def c02(shared: Path) -> tuple[Tensor, Tensor]:
    clip = np.load(shared / "goldens/metrics/clips/c02.npz")
    pred, target = (torch.from_numpy(clip[key] / 65535).permute(0, 3, 1, 2)[None] for key in ("test", "ref"))
    return pred, target


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


def test_warping_error_agrees_with_numpy(rng: torch.Generator) -> None:
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


def test_pairs_without_a_visible_pixel_are_left_out(noisy: tuple[Tensor, Tensor]) -> None:
    pred, target = (t[:1] for t in noisy)
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
def test_dis_finds_the_golden_pan(c02: tuple[Tensor, Tensor]) -> None:
    """c02 moves by 2 pixels a frame and has noise of 0.008 in each frame of the test clip."""
    pred, target = c02
    flow = flow_estimator("dis")(target[0, 1:], target[0, :-1]).median(dim=-1).values.median(dim=-1).values
    assert flow.norm(dim=1).sub(2).abs().max() < 0.2
    own, noise = warping_error(target, target).item(), warping_error(pred, target).item()
    assert own < 0.2 * warping_error(target, target, "zero").item()
    assert noise - own == pytest.approx(2 * 0.008**2, rel=0.15)  # less: warping between pixels smooths the noise
    assert 0 < tof(pred, target).item() < 1


def test_tof_is_the_difference_of_motions() -> None:
    target = pan(3, (1.0, 0.0))
    exact = tuple(pan_flows(target, step)[1] for step in ((3.0, -1.0), (1.0, 0.0)))
    assert tof(target, target, exact).item() == pytest.approx(3.0)
    assert tof(target, target).item() == 0
    assert tof(pan(3, (3.0, 0.0)), target).item() == pytest.approx(2, abs=0.3)


def test_flow_goes_the_way_the_docstrings_say() -> None:
    """The estimator is asked for later -> earlier and back on the target, and for earlier -> later of both videos."""
    asked = []

    class Spy(FlowEstimator):
        def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
            asked.append((source, target))
            return torch.zeros_like(source[:, :2])

    target = pan(2)
    pred = target.flip(-1)
    warping_error(pred, target, Spy())
    tof(pred, target, Spy())
    (source, other), (first, second) = asked
    torch.testing.assert_close(source, target[0].flip(0))
    torch.testing.assert_close(other, target[0])
    torch.testing.assert_close(first, torch.cat((pred[:, 0], target[:, 0])))
    torch.testing.assert_close(second, torch.cat((pred[:, 1], target[:, 1])))


def test_highlights_and_flicker_agree_with_numpy(noisy: tuple[Tensor, Tensor]) -> None:
    pred, target = (x.double().clamp(0, 1) for x in noisy)
    level = torch.tensor([0.0, 0.03, -0.01, 0.02], dtype=torch.float64).view(4, 1, 1, 1)
    pred = (pred + level).clamp(0, 1)
    cv, wobble = highlight_stability(pred), flicker(pred, target)
    for i in range(2):
        assert cv[i].item() == pytest.approx(reference.highlight_cv(pred[i].numpy()), rel=1e-9)
        assert wobble[i].item() == pytest.approx(reference.flicker(pred[i].numpy(), target[i].numpy()), rel=1e-9)
    assert flicker(target + level, target).tolist() == pytest.approx([level.std(unbiased=False).item()] * 2, rel=1e-9)


def test_constant_errors_do_not_flicker() -> None:
    target = pan(4)
    assert flicker(target + 0.1, target).item() < 1e-8
    assert highlight_stability(target[:, :1].expand(-1, 4, -1, -1, -1)).item() < 1e-12
    assert highlight_stability(torch.zeros_like(target)).item() == 0


@pytest.mark.slow
def test_gradients() -> None:
    clip = pan(3)[..., 20:26, 30:37].double()
    flows = pan_flows(clip)
    pred = (clip + 0.05 * torch.rand(clip.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: warping_error(x, clip, flows), pred)
    assert torch.autograd.gradcheck(lambda x: flicker(x, clip), pred)
    assert torch.autograd.gradcheck(highlight_stability, pred, atol=1e-4)
    same = clip.clone().requires_grad_()
    still = clip[:, :1].repeat(1, 3, 1, 1, 1).requires_grad_()
    (flicker(same, clip) + highlight_stability(still)).sum().backward()
    assert same.grad is not None
    assert still.grad is not None
    assert same.grad.isfinite().all()
    assert still.grad.isfinite().all()


METRICS: list[tuple[type[ClipMetric], Any]] = [
    (WarpingError, lambda p, t: torch.stack((warping_error(p, t), warping_error(t, t)))),
    (TOF, lambda p, t: tof(p, t)[None]),
    (HighlightStability, lambda p, t: torch.stack((highlight_stability(p), highlight_stability(t)))),
    (Flicker, lambda p, t: flicker(p, t)[None]),
]


@pytest.mark.parametrize(("cls", "function"), METRICS, ids=lambda x: getattr(x, "__name__", ""))
def test_classes_stream_and_average_over_clips(
    cls: type[ClipMetric], function: Any, noisy: tuple[Tensor, Tensor]
) -> None:
    pred, target = (x.double() for x in noisy)
    metric = cls(round_16bit=False)
    metric.update(pred, target)
    expected = function(pred, target)
    assert list(metric.compute()) == list(metric.values)
    for value, function_value in zip(metric.compute().values(), expected, strict=True):
        assert value.item() == pytest.approx(function_value.mean().item(), rel=1e-12)
    chunks = ((0, 2), (2, 3), (3, 4))
    parts = [
        metric.measure(pred[1, max(0, a - metric.context) : b], target[1, max(0, a - metric.context) : b])
        for a, b in chunks
    ]
    measured = torch.cat(parts)
    assert measured.shape == (4 - metric.context, len(metric.columns))
    assert measured.dtype == torch.float64
    for value, alone in zip(metric.reduce(measured).values(), function(pred[1:], target[1:]), strict=True):
        assert value.item() == pytest.approx(alone.item(), rel=1e-12)
    assert function(pred[1:], target[1:])[0] == expected[0, 1]


def test_nan_is_not_hidden() -> None:
    target = pan(3)
    pred = target.clone()
    pred[0, 1, 0, 32, 40] = torch.nan
    for value in (warping_error(pred, target), tof(pred, target), flicker(pred, target), highlight_stability(pred)):
        assert value.isnan().all()


def test_classes_say_what_they_measure() -> None:
    assert "flow dis" in str(WarpingError().protocol)
    assert "flow ZeroFlow" in str(TOF(flow_estimator("zero")).protocol)
    assert [m.higher_is_better for m in (WarpingError(), TOF(), Flicker(), HighlightStability())] == [False] * 3 + [
        None
    ]
    with pytest.raises(ValueError, match="farneback"):
        WarpingError("farneback")  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [warping_error, tof, flicker, lambda x, _: highlight_stability(x)])
def test_errors(function: Any) -> None:
    clip = pan(2)
    with pytest.raises(ValueError, match="at least 2 frames"):
        function(clip[:, :1], clip[:, :1])
    with pytest.raises(ValueError, match="at least 2 frames"):
        function(clip[0], clip[0])
    with pytest.raises(TypeError, match="float16"):
        function(clip.half(), clip.half())
    with pytest.raises(TypeError, match="uint8"):
        function(clip.to(torch.uint8), clip.to(torch.uint8))


def test_errors_of_pairs_flows_and_classes() -> None:
    clip = pan(3)
    flows = pan_flows(clip)
    for function in (warping_error, tof, flicker):
        with pytest.raises(ValueError, match="expected the same"):
            function(clip, clip[:, :2])
    for function in (warping_error, tof):
        with pytest.raises(ValueError, match=r"exact flows must be two .* \(1, 2, 2, 64, 80\)"):
            function(clip, clip, (flows[0], flows[1][:, :1]))
        with pytest.raises(ValueError, match="exact flows"):
            function(clip, clip, (flows[0], flows[1].long()))
        with pytest.raises(ValueError, match="farneback"):
            function(clip, clip, "farneback")
    for cls, _ in METRICS:
        with pytest.raises(ValueError, match="at least 2 frames"):
            cls().update(clip[:, :1], clip[:, :1])
