from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vitm.data.filming.motion import homography_flow
from vitm.nets.flow import ZeroFlow, flow_estimator
from vitm.papers.vitm_tc import Clues
from vitm.papers.vitm_tc.clues import ClueFinder
from vitm.papers.vitm_tc.exposure import linearise
from vitm.papers.vitm_tc.fill import fill_from_clues
from vitm.papers.vitm_tc.motion import (
    Motion,
    at_common_exposure,
    brightness,
    continued_flow,
    estimate_motion,
    exposure_ratio,
    inside,
    smooth_continuation,
)

SIDE = 96


def camera(light, ev=0.0):
    """What a camera records of linear light: 8-bit codes of gamma 2.2, clipped at 1."""
    return ((light * 2.0**ev).clamp(0, 1) ** (1 / 2.2) * 255).round() / 255


def still(gain=1.0):
    """The motion of a camera that stands still before a reference exposed `gain` times shorter."""
    return Motion(torch.zeros(1, 2, SIDE, SIDE), torch.full((1, 1, 1, 1), gain))


@pytest.fixture
def light(rng):
    """Linear light (1, 3, 96, 96): texture of 0.02 to 0.4, and a window of 1 to 5 in its middle."""
    noise = torch.rand(1, 3, 24, 24, generator=rng)
    texture = torch.nn.functional.interpolate(noise, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    scene = 0.02 + 0.38 * texture
    scene[..., 36:60, 36:60] = 1 + 4 * texture[..., 36:60, 36:60]
    return scene


@pytest.fixture
def turned(light):
    """The same scene, seen after the camera has turned, and the homography from the first view to it."""
    matrix = np.array([[1.01, 0.03, 4.0], [-0.02, 0.99, -2.5], [1e-4, -5e-5, 1.0]])
    view = cv2.warpPerspective(light[0].permute(1, 2, 0).numpy(), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    return torch.from_numpy(view).permute(2, 0, 1)[None], torch.from_numpy(matrix).float()


@pytest.mark.parametrize("ev", [-3.0, -0.5, 0.0, 2.0])
def test_exposure_ratio_of_two_exposures(light, turned, ev):
    one, other = (brightness(x) for x in (camera(light), camera(turned[0], ev)))
    assert np.log2(exposure_ratio(one, other).item()) == pytest.approx(-ev, abs=0.1)


def test_exposure_ratio_of_frames_with_nothing_to_compare():
    white, black = torch.ones(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    assert exposure_ratio(brightness(white), brightness(black)) == 1


def test_frames_at_a_common_exposure_are_alike(light):
    """Two exposures of one view become the longer one, whichever comes first; only codes are rounded."""
    long, short = camera(light, 1), camera(light, -1)
    for pair, gain in (((long, short), 4.0), ((short, long), 0.25)):
        one, other = at_common_exposure(*pair, torch.full((1, 1, 1, 1), gain))
        assert (one - other).abs().max() < 4 ** (1 / 2.2) / 255
        assert torch.equal(one if gain > 1 else other, long)


def test_motion_between_exposures_is_the_cameras_also_where_it_clips(light, turned):
    view, matrix = turned
    flow, gain = estimate_motion(flow_estimator("dis"), camera(light, 1), camera(view, -2))
    true, seen = homography_flow(torch.eye(3)[None], matrix[None], (SIDE, SIDE))
    clipped = (light * 2 >= 1).any(1, keepdim=True) & seen
    error = (flow - true).square().sum(1, keepdim=True).sqrt()
    assert error[clipped].mean() < 0.5
    assert np.log2(gain.item()) == pytest.approx(3, abs=0.1)


def test_a_camera_that_has_turned_too_far_for_flow_is_found_by_features():
    """It has rolled by 50 degrees and the reference is eight times darker: DIS alone is lost."""
    side = 2 * SIDE
    view = cv2.resize(data.astronaut()[:256, 100:356], (side, side), interpolation=cv2.INTER_AREA)
    scene = 2 * (view / 255.0) ** 2.2
    matrix = np.vstack([cv2.getRotationMatrix2D((SIDE, SIDE), 50, 1.0), [0, 0, 1]])
    rolled = cv2.warpPerspective(scene, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    light, rolled_light = (torch.from_numpy(x).permute(2, 0, 1)[None].float() for x in (scene, rolled))
    key, reference, dis = camera(light), camera(rolled_light, -3), flow_estimator("dis")
    true, seen = homography_flow(torch.eye(3)[None], torch.from_numpy(matrix)[None].float(), (side, side))
    flow, gain = estimate_motion(dis, key, reference)
    clipped = seen & (key >= 0.98).any(1, keepdim=True)
    assert clipped.float().mean() > 0.05
    alone = dis(*at_common_exposure(key, reference, gain))
    errors = [(x - true).norm(dim=1, keepdim=True)[clipped].mean() for x in (flow, alone)]
    assert errors[0] < 1
    assert errors[1] > 10
    assert np.log2(gain.item()) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(("rows", "back"), [(slice(70, 90), 0.0), (slice(40, 56), -3.0)])
def test_flow_that_does_not_lead_back_or_is_of_clipped_light_is_not_trusted(light, rows, back):
    """A camera that stands still; the flow of one block is three pixels: outside the window, or inside it."""
    key, forth = camera(light, 1), torch.zeros(1, 2, SIDE, SIDE)
    forth[:, 0, rows, 40:56] = 3
    flow, _ = estimate_motion(lambda x, _: forth if torch.equal(x, key) else forth * back / 3, key, camera(light))
    assert flow.abs().max() < 0.1


def test_flow_is_continued_by_the_cameras_motion_and_what_differs_from_it_nearby(turned, rng):
    """Garbage inside a clipped window is replaced; an object beside it that moves two pixels more keeps its motion."""
    true, _ = homography_flow(torch.eye(3)[None], turned[1][None], (SIDE, SIDE))
    true = true[0].clone()
    true[0, :, :20] += 2
    trusted = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    trusted[:, 36:60, 36:60] = False
    garbage = torch.where(trusted, true, 20 * torch.rand(2, SIDE, SIDE, generator=rng))
    error = (continued_flow(garbage, trusted) - true).abs()
    assert error[:, 36:60, 36:60].max() < 0.3
    assert error.max() < 0.3
    assert torch.equal(continued_flow(garbage, torch.zeros_like(trusted)), garbage)  # nothing is known


def test_flow_stays_as_it_is_where_no_homography_explains_most_of_it(turned):
    """Two walls of about equal size that move apart, as to a camera that walks: neither is continued over the other."""
    true, _ = homography_flow(torch.eye(3)[None], turned[1][None], (SIDE, SIDE))
    true = true[0].clone()
    true[0, :, :40] += 12
    trusted = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    trusted[:, 36:60, 36:60] = False
    assert torch.equal(continued_flow(true, trusted), true)


def test_smooth_continuation_keeps_what_is_known_and_fills_a_hole_with_what_is_around(rng):
    values = torch.rand(1, 2, 32, 32, generator=rng)
    whole = torch.ones(1, 1, 32, 32)
    assert (smooth_continuation(values, whole) - values).abs().max() < 2e-3
    hole = whole.clone()
    hole[..., 8:24, 8:24] = 0
    assert (smooth_continuation(torch.full_like(values, 3.0), hole) - 3).abs().max() < 0.05
    assert smooth_continuation(values, torch.zeros_like(whole)).abs().max() == 0


def test_a_shorter_exposure_shows_what_the_key_has_clipped(light):
    key, reference = camera(light), camera(light, -3)
    filled = fill_from_clues(key, [(reference, still(8.0))])
    exposed = key < 0.95
    assert torch.equal(
        filled.hdr_linear[exposed.all(1, keepdim=True).expand_as(key)],
        linearise(key)[exposed.all(1)[:, None].expand_as(key)],
    )
    assert (filled.confidence == 1).all()
    full = key == 1
    assert full.sum() > 1000
    step = 8 * (2.2 * 0.5 / 255 + 1e-3)  # half a code of the reference, in the key's light
    assert (filled.hdr_linear - light)[full].abs().max() < step


def test_where_the_reference_clips_too_its_limit_is_a_lower_bound(light):
    key, reference = camera(light), camera(light, -1)  # clips at 2 in the key's light
    filled = fill_from_clues(key, [(reference, still(2.0))])
    beyond = light > 2.1
    torch.testing.assert_close(filled.hdr_linear[beyond], torch.full_like(light[beyond], 2.0), rtol=1e-4, atol=0)
    assert not filled.confidence[beyond].any()
    shown = (light > 1.1) & (light < 1.9)
    assert filled.confidence[shown].all()
    assert (filled.hdr_linear - light)[shown].abs().max() < 0.02


def test_a_key_that_has_clipped_nothing_asks_nobody(light):
    """And is what it would be in any case: its linearised code."""
    key, other = camera(light, -3), camera(light, -5)
    network = Clues(1, 1, flow=lambda *_: pytest.fail("flow is not needed"))
    clip = {("ldr", t): frame for t, frame in enumerate((other, key, other))}
    assert not [*ClueFinder(network, clip, 4)(1, [0, 2])]
    assert torch.equal(network(torch.stack([other, key, other], 1))[:, 1], linearise(key))


def test_references_that_contradict_the_key_or_are_exposed_longer_do_not_count(light):
    key = camera(light)
    dark = camera(light.flip(3).roll(40, 3), -3)  # another place, dark where the key is clipped
    longer = camera(light, 1)
    for reference, gain in ((dark, 8.0), (longer, 0.5)):
        filled = fill_from_clues(key, [(reference, still(gain))])
        untouched = filled.confidence == 0
        assert untouched.sum() > 500
        assert torch.equal(filled.hdr_linear[untouched], linearise(key)[untouched])


@pytest.mark.parametrize("factor", [1, 2])
def test_a_reference_counts_where_channels_that_are_not_clipped_agree(light, factor):
    """The window's green is not clipped; a reference with twice as much of it shows something else."""
    light[:, 1, 36:60, 36:60] = 0.3
    other = light.clone()
    other[:, 1] *= factor
    confidence = fill_from_clues(camera(light), [(camera(other, -3), still(8.0))]).confidence
    assert (confidence[:, 0, 36:60, 36:60] > 0).all() == (factor == 1)
    assert (confidence[:, 1] == 1).all()


def test_a_reference_as_long_as_the_key_does_not_count(light):
    """It records 0.97 where the key is full: something has changed there, or noise did."""
    key = camera(light)
    reference = torch.where(key == 1, 0.97, key)
    for gain, counts in ((1.0, False), (1.1, True)):
        assert (fill_from_clues(key, [(reference, still(gain))]).confidence[key == 1] > 0).all() == counts


def test_samples_between_clipped_and_shown_light_count_as_clipped(light):
    """Half a pixel to the left of column 48, where the reference clips, lies light that it does not show."""
    reference = camera(light, -3)
    reference[..., 48:] = 1
    flow = torch.zeros(1, 2, SIDE, SIDE)
    flow[:, 0] = 0.5
    confidence = fill_from_clues(camera(light), [(reference, Motion(flow, torch.full((1, 1, 1, 1), 8.0)))]).confidence
    inner = confidence[..., 40:56, :]
    assert not inner[..., 47].any()
    assert ((inner[..., 46] > 0) & (inner[..., 46] < 0.5)).all()  # a seam begins softly


def test_the_nearer_reference_decides(light):
    """A farther one, wrong by a third, moves the fill by a sixteenth of that at most, but for the seam."""
    key = camera(light)
    near, far = (camera(light, -3), still(8.0)), (camera(light, -3), still(8.0 * 4 / 3))
    alone, both = (fill_from_clues(key, clues).hdr_linear for clues in ([near], [near, far]))
    assert ((both / alone - 1).abs() < 1 / 16 / 3 * 1.05).all()
    assert not torch.equal(both, alone)


def test_inside():
    flow = torch.zeros(1, 2, 4, 5)
    flow[0, 0, :, 3:] = 1.5
    expected = torch.ones(1, 1, 4, 5, dtype=torch.bool)
    expected[..., 3:] = False
    assert torch.equal(inside(flow), expected)


@pytest.fixture
def clip(light):
    """Seven exposures (1, 7, 3, 96, 96) of one view: only the last but one shows the window."""
    return torch.stack([camera(light, ev) for ev in (0, 0, -0.2, 0, 0.1, -3, 0)], 1)


def test_a_search_finds_the_frame_that_shows_it(clip, light):
    """Strides of two never meet frame 5 from frame 0; the search between the first and the last reference does."""
    full = clip[:, 0] == 1
    arguments = {"clues_per_direction": 3, "clue_stride": 2, "flow": ZeroFlow()}
    fixed, searched = (Clues(search=search, **arguments)(clip)[:, 0] for search in (0, 2))
    assert (fixed - light)[full].abs().mean() > 1
    assert (searched - light)[full].abs().mean() < 0.02


def test_references_are_asked_in_their_order_and_then_the_shortest_exposure_between_them(light):
    """Frame 11 is exposed as long as the key, so it shows nothing; frame 8 is the shortest of 2, 5, 8, 11 and 14."""
    stops = {0: 0.0, 2: -1.0, 5: -1.5, 8: -3.0, 11: 0.0, 14: -2.0}
    clip = {("ldr", t): camera(light, ev) for t, ev in stops.items()}
    asked = [clue.frame for clue in ClueFinder(Clues(flow=ZeroFlow()), clip, 1)(0, [14, 2])]
    assert [t for frame in asked for t in stops if torch.equal(frame, clip["ldr", t])] == [14, 2, 8]


def test_stream_is_forward_and_clues_can_be_few(clip, tmp_path):
    network = Clues(clues_per_direction=3, clue_stride=2, flow=ZeroFlow())
    stream = torch.stack([*network.stream(clip.unbind(1), folder=tmp_path)], 1)
    torch.testing.assert_close(stream, network(clip), rtol=0, atol=0)
    assert not any(tmp_path.iterdir())
    assert torch.equal(network(clip, max_clues=0), linearise(clip))
    with pytest.raises(ValueError, match="search must be at least 0"):
        Clues(search=-1)
