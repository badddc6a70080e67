"""What DSLNet's task minimises, step by step."""

from __future__ import annotations

import copy

import torch

from tests.steps import assert_adam, assert_gradients, take_steps
from vitm.papers.dslnet import DSLNetTask


def test_steps_are_adam_s_on_the_absolute_difference_of_the_middle_frame(rng):
    """Of windows that are wider than the network's, the inner frames."""
    torch.manual_seed(0)
    task = DSLNetTask(radius=1, width=8, lr=1e-3, milestones=[1])
    network = copy.deepcopy(task.network).to(memory_format=torch.channels_last)
    batches = [
        {
            "sdr": torch.rand(2, 5, 3, 24, 26, generator=rng),
            "hdr_pq": torch.rand(2, 3, 24, 26, generator=rng),
            "name": ["a", "b"],
        }
        for _ in range(2)
    ]
    (steps,) = take_steps(task, batches)
    sdr, target = batches[0]["sdr"], batches[0]["hdr_pq"]
    loss = (network(torch.stack([sdr[:, 1], sdr[:, 2], sdr[:, 3]], 1)) - target).abs().mean()
    assert_gradients(steps[0], loss, network.parameters())
    assert [step.rates[0] for step in steps[:2]] == [1e-3, 5e-4]
    assert_adam(steps, (0.9, 0.999))
