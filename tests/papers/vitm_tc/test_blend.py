"""Keys blended along time, against weighted means by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.papers.vitm_tc.conftest import WIDTHS
from vitm.nets.flow import ZeroFlow
from vitm.papers.vitm_tc import VITMTC
from vitm.papers.vitm_tc.blend import Neighbour, blend_keys
from vitm.papers.vitm_tc.exposure import linearise
from vitm.papers.vitm_tc.fcpm import key_image
from vitm.papers.vitm_tc.motion import brightness

SIDE = 32
STARTED = {"widths": WIDTHS, "align": "fill", "use_global": False, "start": "clues", "flow": ZeroFlow()}


@pytest.fixture
def frame(rng):
    """A frame (1, 3, 32, 32) whose right half is clipped."""
    frame = 0.2 + 0.4 * torch.rand(1, 3, SIDE, SIDE, generator=rng)
    frame[..., SIDE // 2 :] = 1
    return frame


def key(frame, light, distance, confidence=1.0, gain=1.0, shift=0.0):
    """A key that has filled what is clipped with one light, exposed `gain` times as long as the frame."""
    filled = torch.where(frame == 1, light, linearise(frame)) * gain
    flow = torch.zeros(1, 2, SIDE, SIDE)
    flow[:, 0] = shift
    return Neighbour(key_image(filled, frame), torch.full_like(frame[:, :1], confidence), flow, distance)


def test_weights_fall_with_time_and_with_what_was_guessed(frame):
    """Weights of a normal curve, times 0.1 for a guess; light in the frame's exposure."""
    keys = [key(frame, 4.0, 0.5), key(frame, 2.0, 1.0, confidence=0.0, gain=3.0), key(frame, 8.0, 2.0)]
    weights = np.exp(-(np.array([0.5, 1.0, 2.0]) ** 2) / (2 * 1.5**2)) * [1, 0.1, 1]
    expected = np.average([4.0, 2.0, 8.0], weights=weights)
    blended = blend_keys(frame, keys)
    clipped = frame == 1
    torch.testing.assert_close(blended[clipped], torch.full_like(blended[clipped], expected), rtol=1e-3, atol=0)
    assert torch.equal(blended[~clipped], linearise(frame)[~clipped])


def test_channels_that_are_not_clipped_keep_the_frame_s_light(frame):
    """Green of a lamp clips, red and blue do not: keys that have them a quarter brighter lend their green alone."""
    frame[:, ::2, :, SIDE // 2 :] = 0.7
    light = torch.where(frame == 1, 4.0, 1.25 * linearise(frame)).float()
    light[..., : SIDE // 2] /= 1.25  # so that exposures agree
    keys = [Neighbour(key_image(light, frame), torch.ones_like(frame[:, :1]), torch.zeros(1, 2, SIDE, SIDE), 1.0)]
    blended = blend_keys(frame, keys)
    torch.testing.assert_close(blended[frame == 1], torch.full_like(blended[frame == 1], 4.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(blended[frame < 1], linearise(frame)[frame < 1])


def test_keys_are_interpolated_in_the_logarithm_of_light(frame):
    """Half a pixel along a lamp whose light doubles from column to column: the mean is the geometric one."""
    frame[:] = 1
    light = 2.0 ** torch.linspace(2, 2 + 7.75, SIDE).expand(1, 3, SIDE, SIDE)  # 2 to the 1/4 a column
    flow = torch.zeros(1, 2, SIDE, SIDE)
    flow[:, 0] = 0.5
    blended = blend_keys(frame, [Neighbour(key_image(light, frame), torch.ones_like(frame[:, :1]), flow, 0.0)])
    torch.testing.assert_close(blended[..., 2:-3], light[..., 2:-3] * 2**0.125, rtol=1e-3, atol=0)


def test_a_key_that_contradicts_the_frame_or_ends_counts_where_no_other_does(frame):
    near, dark = key(frame, 4.0, 1.0), key(frame, 0.3, 0.0)
    right = key(frame, 8.0, 0.0, shift=SIDE)  # all of it lies past the edge
    clipped = frame == 1
    for wrong in (dark, right):
        assert (blend_keys(frame, [wrong, near])[clipped] / 4 - 1).abs().max() < 0.01
    torch.testing.assert_close(blend_keys(frame, [dark])[clipped], torch.full_like(frame[clipped], 0.3))


@pytest.fixture
def clip(rng):
    """Seven exposures (1, 7, 3, 32, 32) of one view whose window of light 4 two of them show."""
    light = 0.05 + 0.1 * torch.rand(1, 3, SIDE, SIDE, generator=rng)
    light[..., 8:24, 8:24] = 4
    stops = (0, 1, -3, 1, 0.5, -2.5, 0)
    return torch.stack([((light * 2.0**ev).clamp(0, 1) ** (1 / 2.2) * 255).round() / 255 for ev in stops], 1)


@torch.no_grad()
def test_keys_stand_for_all_frames_of_a_clip(clip, tmp_path):
    """Keys 0, 2, 4 and 6: frames 0 and 4 are filled from frame 2, and lend their light to those between them."""
    torch.manual_seed(0)
    network = VITMTC(1, 2, 2, neighbours=2, propagation="blend", **STARTED).eval()
    out = network(clip)
    window = out[..., 12:20, 12:20] / torch.tensor([0, 1, -3, 1, 0.5, -2.5, 0]).exp2()[:, None, None, None]
    assert (window / 4 - 1).abs().amax((2, 3, 4)).flatten()[:5].max() < 0.05
    stream = torch.stack([*network.stream(clip.unbind(1), folder=tmp_path)], 1)
    torch.testing.assert_close(stream, out, rtol=1e-5, atol=0)
    some = torch.stack([*network.stream(clip.unbind(1), every=3)], 1)
    torch.testing.assert_close(some, out[:, ::3], rtol=1e-5, atol=0)
    assert network.fcpm is None


@torch.no_grad()
def test_keys_of_the_paper_s_start_are_guesses_where_they_clip(clip):
    torch.manual_seed(0)
    network = VITMTC(1, 2, 2, neighbours=3, propagation="blend", widths=WIDTHS, flow=ZeroFlow()).eval()
    seen = []
    neighbour = network._neighbour
    network._neighbour = lambda *a: seen.append(neighbour(*a)) or seen[-1]
    assert network(clip[:, :3]).isfinite().all()
    first = seen[0]
    assert torch.equal(first.confidence, 1 - first.image[:, 3:])


def test_flow_leads_from_the_frame_to_the_key_at_a_common_exposure(clip):
    """Frame 1 was exposed eight times as long as key 2; both are seen as the longer exposure has it."""
    seen = []

    def flow(source, target):
        seen.append((source, target))
        return torch.full_like(source[:, :2], 0.5)

    network = VITMTC(1, 2, 2, propagation="blend", **STARTED | {"flow": flow})
    frame, other = clip[:, 1], clip[:, 2]
    image = torch.rand(1, 4, SIDE, SIDE)
    store = {("ldr", 1): frame, ("ldr", 2): other, ("key", 2): image, ("confidence", 2): image[:, :1]}
    neighbour = network._neighbour(store, 1, 2, lambda t: brightness(store["ldr", t]))
    ((source, target),) = seen
    assert torch.equal(source, frame)
    assert (target - frame).abs().amax(1)[frame.amax(1) < 1].max() < 0.05
    assert (neighbour.distance, neighbour.flow.unique().item()) == (0.5, 0.5)
