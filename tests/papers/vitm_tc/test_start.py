"""ICAM that starts from the clues: the fill of `Clues`, and a residual in stops on top of it."""

from __future__ import annotations

import pytest
import torch

from tests.papers.vitm_tc.conftest import WIDTHS
from vitm.data.filming.motion import homography_flow
from vitm.nets.flow import ZeroFlow
from vitm.papers.vitm_tc import ICAM, VITMTC, Clues
from vitm.papers.vitm_tc.exposure import linearise, over_exposure
from vitm.papers.vitm_tc.fill import fill_from_clues
from vitm.papers.vitm_tc.motion import Motion

SIDE = 48
SCHEDULE = {"clues_per_direction": 2, "clue_stride": 2, "search": 1, "flow": ZeroFlow()}
FILLED = {"widths": WIDTHS, "align": "fill", "use_global": False, "start": "clues"}


@pytest.fixture
def exposures(rng):
    """Seven exposures (1, 7, 3, 48, 48) of one view of texture and a bright window."""
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12, generator=rng), (SIDE, SIDE), mode="bicubic")
    light = 0.02 + 0.38 * texture.clamp(0, 1)
    light[..., 16:32, 16:32] *= 12
    stops = (0, 1, -2, 0.5, -0.5, -3, 0)
    return torch.stack([((light * 2.0**ev).clamp(0, 1) ** (1 / 2.2) * 255).round() / 255 for ev in stops], 1)


@torch.no_grad()
@pytest.mark.parametrize("align", ["fill", "flow"])
def test_untrained_it_is_the_converter_without_a_network(exposures, align):
    torch.manual_seed(0)
    network = VITMTC(propagation="none", **SCHEDULE, **FILLED | {"align": align}).eval()
    converted = Clues(**SCHEDULE)(exposures)
    torch.testing.assert_close(network(exposures), converted, rtol=0, atol=0)
    assert (converted - linearise(exposures)).abs().amax((0, 2, 3, 4))[1] > 1
    torch.testing.assert_close(network(exposures, max_clues=0), linearise(exposures))


@torch.no_grad()
def test_stream_is_forward_also_through_fcpm(exposures, make, tmp_path):
    network = make(VITMTC, propagation="warp", key_stride=3, neighbours=2, **SCHEDULE, **FILLED)
    clip = exposures[:, 1:5]
    stream = torch.stack([*network.stream(clip.unbind(1), folder=tmp_path)], 1)
    torch.testing.assert_close(stream, network(clip), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_residual_is_in_stops_and_small_where_a_reference_shows_the_light(exposures, make):
    network = make(ICAM, **FILLED)
    key, reference = exposures[:, 1], exposures[:, 4]
    fill = fill_from_clues(key, [(reference, Motion(torch.zeros(1, 2, SIDE, SIDE), torch.full((1, 1, 1, 1), 2**1.5)))])
    residual = []
    network.last.register_forward_hook(lambda _, inputs, output: residual.append(output))
    out = network.aggregate(key, network.encode(key), (), fill).hdr_linear
    stops = (out / fill.hdr_linear).log2()
    expected = over_exposure(key) * residual[0].clamp(-8, 8) * torch.where(fill.confidence == 1, 0.1, 1.0)
    certain = (fill.confidence == 0) | (fill.confidence == 1)
    torch.testing.assert_close(stops[certain], expected[certain], rtol=1e-3, atol=1e-3)
    for known in (0, 1):
        assert (stops[(fill.confidence == known) & (over_exposure(key) == 1)].abs() > 0.02).any()
    exposed = (over_exposure(key) == 0).expand_as(out)
    assert torch.equal(out[exposed], linearise(key)[exposed])


def test_a_residual_beyond_its_limit_comes_back(exposures, make):
    """A training that has jumped out of the range, by 8 stops at most, is still told to return."""
    network = make(ICAM, **FILLED)
    torch.nn.init.constant_(network.last.bias, 20.0)
    key = exposures[:, 1]
    fill = fill_from_clues(key, ())
    out = network.aggregate(key, network.encode(key), (), fill).hdr_linear
    assert (out / fill.hdr_linear).max().item() == pytest.approx(256, rel=1e-3)
    out.log().mean().backward()
    assert (network.last.bias.grad > 0).all()


@torch.no_grad()
def test_references_as_tensors_and_those_that_are_absent(exposures, make):
    """`reconstruct` fills from the references that are present, with their gains, in their order."""
    network = make(ICAM, **FILLED)
    key, references = exposures[:, 1], exposures[:, [4, 2, 5]]
    flows = torch.stack([homography_flow(torch.eye(3)[None], shift(x), (SIDE, SIDE))[0] for x in (0, 1, 2)], 1)
    gains = 2.0 ** torch.tensor([[1.5, 3.0, 4.0]])
    clues = [(references[:, j], Motion(flows[:, j], gains[:, j, None, None, None])) for j in (0, 2)]
    expected = network.aggregate(key, network.encode(key), (), fill_from_clues(key, clues)).hdr_linear
    present = torch.tensor([[True, False, True]])
    torch.testing.assert_close(network(key, references, flows, present, gains), expected)
    estimated, given = (network(key, references[:, :1], flows[:, :1], gains=g) for g in (None, gains[:, :1]))
    torch.testing.assert_close(estimated, given, rtol=0.05, atol=0.1)
    with pytest.raises(ValueError, match=r"gains must be \(1, 3\)"):
        network(key, references, flows, present, gains[:, :1])


def shift(x):
    matrix = torch.eye(3)
    matrix[0, 2] = x
    return matrix[None]


@torch.no_grad()
def test_a_window_of_which_some_frames_are_given(exposures):
    """The search asks no frame that is not there."""
    network = VITMTC(propagation="warp", neighbours=1, **SCHEDULE, **FILLED).eval()
    ldr = {t: exposures[:, t] for t in (1, 2, 3, 5)}
    assert network.window(ldr, range(2, 4), {1: [3, 5]}).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "fill"}, "start must be one of key, clues"),
        ({"align": "fill", "use_global": False}, "needs start='clues'"),
        ({"align": "fill", "start": "clues"}, "use_global=False"),
    ],
)
def test_arguments_that_do_not_belong_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICAM(WIDTHS, **arguments)
    with pytest.raises(ValueError, match="search=4 looks for frames"):
        VITMTC(search=4)
