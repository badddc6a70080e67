"""What SceneMap's task minimises, step by step."""

from __future__ import annotations

import copy

import numpy as np
import torch

from tests.steps import assert_adam, assert_gradients, take_steps
from vitm.ops.color_table import apply_color_table
from vitm.papers.scene_map import OperatorsTask, SceneMapTask
from vitm.papers.scene_map import task as module
from vitm.papers.scene_map.operators import operator_tables

M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32  # ST 2084
RGB_TO_LMS = torch.tensor([[1688.0, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096  # BT.2100, table 7
LMS_TO_ICTCP = torch.tensor([[2048.0, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096


def to_light(code):
    power = code.clamp(min=1e-7) ** (1 / M2)
    return 10_000 * ((power - C1).clamp(min=0) / (C2 - C3 * power)) ** (1 / M1)


def to_code(light):
    power = (light.clamp(min=0) / 10_000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def ictcp(code):
    return to_code(to_light(code.clamp(0, 1)) @ RGB_TO_LMS.T) @ LMS_TO_ICTCP.T


def error_of_colours(prediction, target):
    """10 (L1 + half the root mean square) + 8 dE_ITP / 720."""
    difference = prediction - target
    root = (difference.square().mean((1, 2)) + 1e-8).sqrt().mean()
    distance = ictcp(prediction) - ictcp(target)
    squares = distance[..., 0] ** 2 + 0.25 * distance[..., 1] ** 2 + distance[..., 2] ** 2
    return 10 * difference.abs().mean() + 5 * root + 8 * (squares + 1e-8).sqrt().mean()


def with_one_gain(prediction, target):
    """The prediction at the level of the target: the geometric mean ratio of light over its pixels above 3 cd/m2."""
    gained = []
    for ours, true in zip(prediction, target, strict=True):
        light, wanted = to_light(ours.clamp(1e-3, 1)), to_light(true.clamp(1e-3, 1))
        counts = true.mean(-1) > 0.2
        stops = torch.log((wanted.mean(-1) + 0.01) / (light.mean(-1) + 0.01))[counts]
        gained.append(to_code((light * torch.exp(stops.mean())).clamp(1e-4, 10_000)))
    return torch.stack(gained)


def test_steps_are_adam_s_on_colours_as_they_are_and_at_their_best_level(rng, monkeypatch):
    torch.manual_seed(0)
    task = SceneMapTask(pixels=48, level_weight=0.3, ema_decay=0.9, lr=2e-3, schedule="constant")
    with torch.no_grad():  # the last layer starts at zero, and lets no gradient through
        for parameter in task.learner.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
        task.network.load_state_dict(task.learner.state_dict())
    network = copy.deepcopy(task.learner)
    monkeypatch.setattr(torch, "randint", lambda n, size, device: torch.arange(size[2]).expand(size))  # all pixels
    batches = [
        {"sdr": torch.rand(2, 3, 6, 8, generator=rng), "hdr_pq": torch.rand(2, 3, 6, 8, generator=rng), "name": "ab"}
        for _ in range(2)
    ]
    (steps,) = take_steps(task, batches)
    sdr, target = (batches[0][key] for key in ("sdr", "hdr_pq"))
    prediction = network.color_map(sdr.flatten(2).mT, network.describe(sdr))
    target = target.flatten(2).mT
    outside = torch.relu(-prediction) + torch.relu(prediction - 1)
    loss = 0.3 * error_of_colours(prediction, target) + outside.mean()
    loss = loss + 0.7 * error_of_colours(with_one_gain(prediction, target), target)
    assert_gradients(steps[0], loss, network.parameters(), tolerance=1e-2)
    assert steps[0].rates[0] == 2e-3
    assert_adam(steps, (0.9, 0.99))

    average = [p.numpy() for p in steps[0].parameters]  # after n steps it moves by at least 100 / (100 + n)
    for n, step in enumerate(steps[1:], 1):
        decay = min(0.9, n / (n + 100))
        average = [decay * a + (1 - decay) * p.numpy() for a, p in zip(average, step.parameters, strict=True)]
    for ours, expected in zip(task.network.parameters(), average, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_second_stage_learns_which_operator_has_the_least_error_and_nothing_else(rng, monkeypatch):
    """Gains of the target from -0.9 to 0.9 stops; the free map is frozen, and so are what reads for it."""
    torch.manual_seed(0)
    frozen = ["read_statistics.*", "encode.*", "layers.*", "modulate.*", "last.*"]
    task = OperatorsTask(operators=True, table_size=9, freeze=frozen, ema_decay=0.9, schedule="constant")
    for layer in task.learner.recognise:
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    network = copy.deepcopy(task.learner)
    monkeypatch.setattr(torch, "randint", lambda n, size, device: torch.arange(48).expand(size[0], 1, 48))
    monkeypatch.setattr(module, "_SMALL_SHARE", 0.0)
    sdr, target = (torch.rand(2, 3, 6, 8, generator=rng) for _ in range(2))
    (steps,) = take_steps(task, [{"sdr": sdr, "hdr_pq": 0.7 * target, "name": "ab"}] * 2)

    code, colours = network.describe(sdr), sdr.flatten(2).mT
    light = to_light(0.7 * target.flatten(2).mT)
    gained = [to_code((light * 2 ** (0.15 * k)).clamp(max=10_000)) for k in range(-6, 7)]

    def error(prediction):
        return torch.stack([(prediction - x).square().mean((1, 2)) for x in gained]).min(0).values

    tables = operator_tables(9, sdr.device)
    operators = [apply_color_table(sdr, table.expand(2, -1, -1, -1, -1)).flatten(2).mT for table in tables]
    free = network.free_map(colours, code[:, :128])
    with torch.no_grad():
        worth = torch.stack([*(error(x) for x in operators), 1.297 * error(free)], 1).double() ** -5
        worth = (worth / worth.sum(1, keepdim=True)).float()
    loss = -(worth * torch.log_softmax(code[:, 128:], 1)).sum(1).mean()
    parameters = [p for name, p in network.named_parameters() if name.startswith("recognise")]
    assert len(steps[0].parameters) == len([*network.parameters()])
    moved = [not torch.equal(a, b) for a, b in zip(steps[0].parameters, steps[1].parameters, strict=True)]
    learns = [name.startswith("recognise") for name, _ in network.named_parameters()]
    assert moved == learns
    ours = [g for g, learned in zip(steps[0].gradients, learns, strict=True) if learned]
    expected = torch.autograd.grad(loss, parameters)
    for gradient, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()))


def test_a_softened_picture_is_blurred_by_a_quarter_pixel():
    step = torch.zeros(1, 3, 4, 8)
    step[..., 4:] = 1
    torch.testing.assert_close(module._softened(step)[0, 0, 0], torch.tensor([0, 0, 0, 0.125, 0.875, 1, 1, 1.0]))
