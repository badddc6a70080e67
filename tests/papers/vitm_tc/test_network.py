from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.papers.vitm_tc.conftest import WIDTHS, assert_equal
from tests.reference import vitm_tc as reference
from vitm.nets.complexity import count_parameters
from vitm.nets.flow import ZeroFlow
from vitm.ops.key_frames import clues, key_frames
from vitm.papers.vitm_tc import FCPM, ICAM, VITMTC
from vitm.papers.vitm_tc.exposure import exposure_gain, over_exposure
from vitm.papers.vitm_tc.fcpm import Step

SMALL = {"widths": WIDTHS, "clues_per_direction": 2, "clue_stride": 3, "key_stride": 3, "neighbours": 2}
COMBINED, STEP, FUSED, HALF_FUSED = 441_925, 535_616, 75_523, 38_659


def motion(source, target):
    """A stand-in for an estimator: a smooth flow that depends on both frames."""
    both = torch.cat([source[:, :1] - target[:, 1:2], target[:, :1] - source[:, 2:]], 1)
    return 6 * torch.nn.functional.avg_pool2d(both, 5, 1, 2)


def test_parameters():
    assert count_parameters(FCPM()) == COMBINED + 2 * STEP + FUSED == 1_588_680
    assert count_parameters(VITMTC()) == 4_414_157 + 1_588_680


def test_rows_of_table_3_by_parameters():
    assert count_parameters(FCPM("forward")) == count_parameters(FCPM("backward")) == COMBINED + STEP + HALF_FUSED
    assert count_parameters(FCPM("warp")) == COMBINED
    assert count_parameters(VITMTC(propagation="none")) == 4_414_157


@pytest.mark.slow
@torch.no_grad()
def test_pipeline_is_the_equations(make, clip):
    """Equations 1 to 12 for a clip of eight frames from the weights alone, with the schedule of section 3.2."""
    network = make(VITMTC, flow=motion, **SMALL)
    n = 8
    frames = clip(n, 16, 32)
    ldr = frames.unbind(1)
    icam = dict(network.icam.state_dict())
    keys = {}
    for t in key_frames(n, 3):
        times = clues(t, n, 2, 3)
        flows = [motion(ldr[t], ldr[r]) for r in times]
        x = reference.icam(icam, ldr[t], [ldr[r] for r in times], flows, network.icam.aggregation.swin)
        keys[t] = reference.composite(ldr[t], x)

    def flow(t, other):
        features = [reference.stack(x, reference.layers(icam, "first")) for x in (ldr[t], ldr[other])]
        still = torch.zeros(1, 2, 16, 32)
        estimated = motion(ldr[t], ldr[other])
        features[1] = features[1] * reference.code_gain(ldr[t], ldr[other], estimated)
        return still if t == other else reference.correction(icam, *features, estimated)

    expected = reference.pipeline(dict(network.fcpm.state_dict()), ldr, keys, flow, neighbours=2)
    assert_equal(network(frames), torch.stack(expected, 1))


@pytest.mark.parametrize("propagation", ["both", "backward", "forward", "warp", "none"])
@torch.no_grad()
@pytest.mark.slow
def test_streaming_is_the_whole_clip(propagation, make, clip, tmp_path):
    network = make(VITMTC, propagation=propagation, flow=motion, **SMALL)
    frames = clip(7, 21, 37)
    whole = network(frames)
    assert whole.shape == frames.shape
    stream = list(network.stream(iter(frames.unbind(1)), folder=tmp_path))
    stored_in_half = propagation in ("both", "backward")
    torch.testing.assert_close(torch.stack(stream, 1), whole, rtol=0, atol=1e-3 if stored_in_half else 0)
    if stored_in_half:
        assert not torch.equal(torch.stack(stream, 1), whole)
        exact = torch.stack([*network.stream(frames.unbind(1), exact=True)], 1)
        torch.testing.assert_close(exact, whole, rtol=0, atol=0)
    assert not any(tmp_path.iterdir())


@torch.no_grad()
def test_streaming_is_deterministic_and_leaves_nothing_behind(make, clip, tmp_path):
    network = make(VITMTC, flow=motion, **SMALL)
    frames = clip(4, 16, 16).unbind(1)
    first, second = (torch.cat([*network.stream(frames, folder=tmp_path)]) for _ in range(2))
    assert torch.equal(first, second)
    assert list(network.stream([])) == []
    stream = network.stream(frames, folder=tmp_path)
    next(stream)
    assert any(tmp_path.iterdir())
    stream.close()
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"got \(1, 3, 16, 17\) as frame 3 after \(1, 3, 16, 16\)"):
        list(network.stream([*frames[:2], torch.zeros(1, 3, 16, 17)], folder=tmp_path))
    assert not any(tmp_path.iterdir())


@torch.no_grad()
def test_features_of_a_frame_are_computed_once_for_all_keys(make, clip, monkeypatch):
    network = make(VITMTC, flow=ZeroFlow(), propagation="none", **SMALL)
    frames, seen = clip(20, 16, 16), []
    encode = network.icam.encode
    monkeypatch.setattr(network.icam, "encode", lambda x: seen.append(x) or encode(x))
    network(frames)
    assert len(seen) == 20


@pytest.mark.parametrize("estimator", ["dis", motion])
@torch.no_grad()
def test_a_single_frame_is_a_key_without_clues(estimator, make, clip):
    network = make(VITMTC, flow=estimator, **SMALL)
    network.flow = None if estimator is motion else network.flow  # never asked
    frame = clip(1, 19, 33)
    out = network(frame)
    assert out.isfinite().all()
    well_exposed = frame.amax(2, keepdim=True) <= 0.95
    torch.testing.assert_close(out.where(well_exposed, 0), (frame**2.2).where(well_exposed, 0))
    alone = make(VITMTC, propagation="none", **SMALL)
    icam = alone.icam(frame[:, 0], frame[:, :0], torch.zeros(1, 0, 2, 19, 33))
    torch.testing.assert_close(alone(frame)[:, 0], icam)


@pytest.mark.parametrize("value", [0.0, 1.0])
@torch.no_grad()
def test_black_and_clipped_clips(value, make):
    frames = torch.full((1, 4, 3, 16, 16), value)
    out = make(VITMTC, **SMALL)(frames)
    assert out.isfinite().all()
    if value == 0:
        assert torch.equal(out, frames)


@torch.no_grad()
def test_well_exposed_pixels_are_the_linearised_input(clip):
    frames = clip(5, 20, 30)
    out = VITMTC(**SMALL)(frames)
    well_exposed = (frames.amax(2, keepdim=True) <= 0.95).expand_as(frames)
    torch.testing.assert_close(out[well_exposed], frames[well_exposed] ** 2.2)
    assert not torch.allclose(out[~well_exposed], frames[~well_exposed] ** 2.2)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("propagation", ["both", "none"])
@torch.no_grad()
def test_any_length(n, propagation, make, clip):
    network = make(VITMTC, propagation=propagation, flow=motion, **SMALL)
    assert network(clip(n, 16, 16)).shape == (1, n, 3, 16, 16)


@torch.no_grad()
@pytest.mark.slow
def test_two_clips_are_each_by_itself(make, clip):
    network = make(VITMTC, flow=motion, **SMALL)
    frames = clip(4, 16, 32, batch=2)
    torch.testing.assert_close(network(frames), torch.cat([network(c[None]) for c in frames]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_number_of_clues(make, clip):
    """Figure 7: no clue, one, all."""
    network = make(VITMTC, flow=motion, propagation="none", **SMALL)
    frames = clip(8, 16, 16)
    outs = [network(frames, max_clues=n) for n in (0, 1, 4, None)]
    without = VITMTC(flow=motion, propagation="none", **(SMALL | {"clues_per_direction": 0})).eval()
    without.load_state_dict(network.state_dict())
    assert torch.equal(outs[0], without(frames))
    assert not torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[1], outs[2])
    assert torch.equal(outs[2], outs[3])
    streamed = torch.stack([*network.stream(frames.unbind(1), max_clues=1)], 1)
    torch.testing.assert_close(streamed, outs[1])


@torch.no_grad()
def test_a_window_is_propagated_by_itself(make, clip):
    network = make(VITMTC, flow=motion, propagation="warp", **SMALL)
    frames = clip(8, 16, 16)
    torch.testing.assert_close(network(frames, window=(2, 5)), network(frames)[:, 2:5])
    both = make(VITMTC, flow=motion, **SMALL)
    assert both(frames, window=(7, 8)).shape == (1, 1, 3, 16, 16)


@pytest.mark.parametrize("propagation", ["both", "backward", "forward", "warp"])
def test_gradients_reach_every_parameter(propagation, make, clip):
    network = make(VITMTC, flow=motion, propagation=propagation, **SMALL).train()
    frames = clip(5, 16, 16)
    out = network(frames.clamp(min=0.97), window=(1, 4))  # clipped everywhere: all is predicted
    out.square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().sum() > 0, name


@torch.no_grad()
def test_bfloat16(make, clip):
    network = make(VITMTC, flow=motion, **SMALL)
    frames = clip(4, 16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(frames)
    exact = network(frames)
    assert out.dtype == torch.float32
    assert (out - exact).abs().mean() < 0.02 * exact.mean()


@torch.no_grad()
def test_keys_come_in_the_exposure_of_the_frame(make, clip):
    """A key of the same scene that was exposed three times as long is divided by three."""
    frame = 0.5 * clip(1, 32, 32)[:, 0]
    key = torch.cat([3 * frame**2.2, torch.zeros(1, 1, 32, 32)], 1)
    still = torch.zeros(1, 2, 32, 32)
    merged = FCPM("warp").merge(frame, [key] * 5, [still] * 5)
    torch.testing.assert_close(merged, frame**2.2, rtol=1e-4, atol=1e-5)
    literal = FCPM("warp", exposure_match=False).merge(frame, [key] * 5, [still] * 5)
    torch.testing.assert_close(literal, 3 * frame**2.2, rtol=1e-4, atol=1e-5)


def test_exposure_gain_is_the_ratio_of_medians(rng):
    frame, other = torch.rand(2, 2, 3, 41, 23, generator=rng)
    valid = torch.rand(2, 1, 41, 23, generator=rng) > 0.4
    gain = exposure_gain(frame, other, valid)
    for b in range(2):
        seen = valid[b, 0, ::4, ::4].numpy()
        medians = [np.quantile(x[b, :, ::4, ::4].numpy().mean(0)[seen], 0.5, method="lower") for x in (frame, other)]
        assert gain[b].item() == pytest.approx(medians[0] / medians[1], rel=1e-5)
    assert exposure_gain(frame, other, torch.zeros_like(valid)).flatten().tolist() == [1, 1]
    assert exposure_gain(frame, 0 * other, valid).flatten().tolist() == [1, 1]


def test_over_exposure_mask():
    codes = torch.tensor([0.0, 0.95, 0.975, 1.0])
    ldr = torch.stack([codes, 0 * codes, 0 * codes]).view(1, 3, 1, 4)
    np.testing.assert_allclose(over_exposure(ldr).flatten().numpy(), [0, 0, 0.5, 1], atol=1e-6)


@pytest.mark.slow
@torch.no_grad()
def test_memory_does_not_grow_with_the_clip(clip, extra_peak, tmp_path):
    network = VITMTC(flow=ZeroFlow(), **(SMALL | {"clues_per_direction": 1})).eval()
    frame = clip(1, 64, 64)[:, 0]

    def run(n):
        return extra_peak(lambda: [None for _ in network.stream((frame for _ in range(n)), folder=tmp_path)])

    run(2)
    assert run(24) < 1.05 * run(8)


def test_errors(make):
    network = VITMTC(**SMALL)
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\), T >= 1, got \(2, 3, 16, 16\)"):
        network(torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match="T >= 1"):
        network(torch.zeros(1, 0, 3, 16, 16))
    with pytest.raises(ValueError, match="window 2, 5 is not inside a clip of 4 frames"):
        network(torch.zeros(1, 4, 3, 16, 16), window=(2, 5))
    for run in (lambda: network(torch.zeros(1, 1, 3, 16, 16), max_clues=-1), lambda: [*network.stream([], -1)]):
        with pytest.raises(ValueError, match="max_clues must be at least 0"):
            run()
    with pytest.raises(ValueError, match="key_stride must be at least 1, got 0"):
        VITMTC(key_stride=0)
    with pytest.raises(ValueError, match="propagation must be one of both, forward, backward, warp, got 'sideways'"):
        VITMTC(propagation="sideways")
    with pytest.raises(ValueError, match="use one of dis"):
        VITMTC(flow="farneback")
    with pytest.raises(ValueError, match="1 to 5 keys, got 0"):
        FCPM("warp").merge(torch.zeros(1, 3, 8, 8), [], [])
    assert isinstance(network.icam, ICAM)
    assert isinstance(network.fcpm.forward_step, Step)
