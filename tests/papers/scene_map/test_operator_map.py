"""OperatorMap mixes inverses by shares, and its task minimises what it says."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.papers.scene_map.test_task import to_code, to_light
from tests.steps import take_steps
from vitm.color import pq_eotf, pq_inverse_eotf
from vitm.data.filming.camera import Pose, frame
from vitm.data.filming.panorama import Panorama
from vitm.data.open_scenes import remaster
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.best_level import at_best_level
from vitm.metrics.functional import psnr
from vitm.ops.color_table import apply_color_table
from vitm.papers.scene_map import OperatorMap, OperatorMapTask
from vitm.papers.scene_map import task as module
from vitm.papers.scene_map.operators import OPERATORS, operator_tables
from vitm.zoo import load_network


def test_a_picture_is_the_mean_of_what_the_operators_make_of_it(rng):
    network = OperatorMap(hidden=8, table_size=9).eval()
    sdr = torch.rand(1, 3, 24, 32, generator=rng)
    last = network.recognise[-1]
    tables = operator_tables(9, sdr.device)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-60.0)
        last.bias[4], last.bias[20] = 1.0, 1.0 + float(torch.tensor(3.0).log())
        pictures = [apply_color_table(sdr, tables[i : i + 1]) for i in (4, 20)]
        torch.testing.assert_close(network(sdr), 0.25 * pictures[0] + 0.75 * pictures[1], atol=1e-5, rtol=0)


def test_frames_of_all_the_clip_have_a_say_by_likeness_and_contrast(monkeypatch):
    """Shares and weights written out with NumPy, for three operators of five, and a clip of two ways of production."""
    network = OperatorMap(hidden=8, table_size=9).eval()
    logits = np.full((5, len(OPERATORS)), -30.0, np.float32)
    logits[0, :3], logits[1, :3], logits[2, :3] = (0, 1, 2), (1, 0, 2), (3, 3, 0)  # alike, but with other constants
    logits[3, 7:9], logits[4, :3] = (4, 1), (1, 2, 2)  # made in another way; and the scene itself
    levels = np.float32([0.2, 0.4, 0.1, 0.4])
    stripes = torch.tensor([-1.0, 1.0]).expand(1, 3, 8, 2).repeat_interleave(4, 3)
    frames = [0.5 + float(level) * stripes for level in levels]
    described = iter(torch.from_numpy(logits))
    monkeypatch.setattr(network, "describe", lambda sdr: next(described)[None])

    network.survey(frames)
    scene = torch.from_numpy(logits[4:])
    mean = network.in_clip(scene)[0]

    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    weights = (levels + 1e-3) / (0.4 + 1e-3) * (shares[:4] ** 0.5 @ shares[4] ** 0.5) ** (1 / 0.6)
    assert weights[3] < 1e-6 < 0.1 < weights[2]
    expected = (logits[4] + weights @ logits[:4]) / (1 + weights.sum())
    np.testing.assert_allclose(mean, expected, rtol=1e-4)

    network.survey([])
    assert network.in_clip(scene) is scene


@pytest.mark.slow
def test_scenes_of_a_film_made_in_one_way_are_recognised_better_together(shared):
    """Eight places that the default never saw, each a scene: nearer to their light once it has seen all of them."""
    network = load_network("default")
    nits = []
    for file in sorted((shared / "data/panoramas").glob("*.exr")):
        view = frame(Panorama.open(file, 30.0, 10_000.0), Pose(40.0, 0.0, 0.0, 70.0), (90, 160))
        nits.append(remaster(pq_eotf(torch.from_numpy(view).permute(2, 0, 1).float()), 1.0, 1000.0, 0.75)[None])
    errors = {"each alone": [], "as a film": []}
    with torch.inference_mode():
        for name in ("clip", "hable", "bt2446c"):
            scenes = [produce(light, PRODUCTIONS[name]) for light in nits]
            for title, seen in (("each alone", []), ("as a film", scenes)):
                network.survey(seen)
                for sdr, light in zip(scenes, nits, strict=True):
                    (hdr_pq,), target = network.stream([sdr]), pq_inverse_eotf(light)
                    errors[title].append(float(psnr(at_best_level(hdr_pq, target)[0], target)))
    assert np.mean(errors["as a film"]) > np.mean(errors["each alone"]) + 0.3


def test_noise_is_training_s_alone(rng):
    torch.manual_seed(0)
    network = OperatorMap(hidden=8, dropout=0.0, table_size=9)
    sdr = torch.rand(4, 3, 24, 32, generator=rng)
    with torch.no_grad():
        assert not torch.equal(network.describe(sdr), network.describe(sdr))
        network.eval()
        assert torch.equal(network.describe(sdr), network.describe(sdr))


def test_the_task_learns_the_shares_and_the_mixture(rng, monkeypatch):
    """Gains of the target from -0.9 to 0.9 stops, for each operator and for the mixture of all."""
    torch.manual_seed(0)
    task = OperatorMapTask(hidden=8, dropout=0.0, noise=0.0, table_size=9, mixture_weight=0.3, schedule="constant")
    network = copy.deepcopy(task.learner)
    monkeypatch.setattr(torch, "randint", lambda n, size, device: torch.arange(48).expand(size[0], 1, 48))
    monkeypatch.setattr(module, "_SMALL_SHARE", 0.0)
    sdr, target = (torch.rand(3, 3, 6, 8, generator=rng) for _ in range(2))
    (steps,) = take_steps(task, [{"sdr": sdr, "hdr_pq": 0.7 * target, "name": "abc"}] * 2)

    light = to_light(0.7 * target.flatten(2).mT)
    gained = [to_code((light * 2 ** (0.15 * k)).clamp(max=10_000)) for k in range(-6, 7)]

    def error(prediction):
        return torch.stack([(prediction - x).square().mean((1, 2)) for x in gained]).min(0).values

    tables = operator_tables(9, sdr.device)
    made = [apply_color_table(sdr, table.expand(3, -1, -1, -1, -1)).flatten(2).mT for table in tables]
    shares = network.describe(sdr).softmax(1)
    worth = torch.stack([error(x) for x in made], 1).double() ** -5
    entropy = -((worth / worth.sum(1, keepdim=True)).float() * shares.log()).sum(1).mean()
    mixture = sum(shares[:, k, None, None] * made[k] for k in range(len(OPERATORS)))
    loss = 0.7 * entropy + 0.6 * error(mixture).log().mean()
    expected = torch.autograd.grad(loss, [*network.parameters()])
    for gradient, other in zip(steps[0].gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()))


def test_a_scene_begins_as_steadily_as_it_goes_on(rng):
    """Each vector is a third of what is applied, from the second frame on; the first stands for those before it."""
    torch.manual_seed(0)
    network = OperatorMap(hidden=8, table_size=9, smoothing=2).eval()
    codes = torch.randn(5, 1, len(OPERATORS), generator=rng)
    given = iter(codes)
    network.describe = lambda sdr: next(given)
    frames = torch.rand(1, 1, 3, 8, 8, generator=rng).expand(5, -1, -1, -1, -1)  # of one contrast
    for t, result in enumerate(network.stream(frames)):
        code = torch.stack([codes[max(i, 0)] for i in (t - 2, t - 1, t)]).mean(0)
        torch.testing.assert_close(result, apply_color_table(frames[t], network.table(code)))


def test_what_a_still_scene_says_anew_moves_the_default_by_a_hundredth(rng):
    """The map of one frame does not flicker, whatever its statistics say: the mean holds four seconds."""
    network = load_network("default")
    codes = torch.randn(2, 1, len(OPERATORS), generator=rng)
    given = iter(codes)
    network.describe = lambda sdr: next(given)
    applied = []
    network.table = lambda code: applied.append(code) or torch.zeros(1, 3, 2, 2, 2)
    list(network.stream(torch.rand(1, 1, 3, 8, 8, generator=rng).expand(2, -1, -1, -1, -1)))
    torch.testing.assert_close(applied[1] - applied[0], (codes[1] - codes[0]) / 97)


def test_black_frames_before_a_picture_do_not_choose_its_map(rng):
    """Codes of two operators that are sure; of 96 black frames, each weighs a thousandth, the picture's is 0.25."""
    network = OperatorMap(hidden=8, table_size=9).eval()
    codes = 60 * torch.eye(len(OPERATORS))[[4, 20]]
    network.describe = lambda sdr: codes[int(sdr.amax() > 0)][None]
    picture = torch.zeros(1, 3, 8, 16)
    picture[..., 8:] = 0.498
    applied = []
    network.table = lambda code: applied.append(code[0]) or torch.zeros(1, 3, 2, 2, 2)
    list(network.stream([*[torch.zeros(1, 3, 8, 16)] * 30, picture]))
    torch.testing.assert_close(applied[29], codes[0])
    torch.testing.assert_close(applied[30], (0.096 * codes[0] + 0.25 * codes[1]) / 0.346)
    network.color_map_for([torch.zeros(1, 3, 8, 16)] * 10 + [picture])
    torch.testing.assert_close(applied[31], (0.01 * codes[0] + 0.25 * codes[1]) / 0.26)


def test_the_weights_that_ship_give_what_they_gave():
    """Of a picture with soft and hard edges, in colour; measured when they were made."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 90), torch.linspace(0, 1, 160), indexing="ij")
    waves = [(0.5 + 0.5 * torch.sin(k * columns + 3 * rows)) * (0.3 + 0.7 * (rows > 0.4)) for k in (7, 9, 12)]
    with torch.no_grad():
        hdr_pq = load_network("default")(torch.stack(waves)[None])[0]
    expected = torch.tensor([[0.30862, 0.29899, 0.25744], [0.47196, 0.54561, 0.52667]])
    torch.testing.assert_close(hdr_pq[:, (20, 60), (30, 90)].mT, expected, atol=2e-5, rtol=0)
