"""The tasks of networks of single frames, on the batches of every data module."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.task import CSRNetTask, FrameTask, HDRTVNetPlusTask, HDRTVNetTask, ResNetTask
from vitm.zoo import network_class


def made(network: type[FrameTask], **arguments: object) -> FrameTask:
    task = network(**arguments)
    task.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    task._trainer = SimpleNamespace(accumulate_grad_batches=1)
    return task


@pytest.mark.parametrize(
    ("sdr", "target"),
    [((2, 3, 40, 44), (2, 3, 40, 44)), ((2, 3, 3, 40, 44),) * 2, ((2, 1, 3, 40, 44), (2, 3, 40, 44))],
    ids=["frames", "triplets", "windows"],
)
def test_a_step_takes_frames_triplets_and_windows(sdr, target, rng, monkeypatch):
    task = made(CSRNetTask, width=8, conditions=8)
    monkeypatch.setattr(type(task), "global_step", 0)
    monkeypatch.setattr(type(task), "global_rank", 0)
    batch = {"sdr": torch.rand(sdr, generator=rng), "hdr_pq": torch.rand(target, generator=rng), "name": ["a", "b"]}
    loss = task.training_step(batch, 0)
    frames = zip(batch["sdr"].reshape(-1, 3, 40, 44), batch["hdr_pq"].reshape(-1, 3, 40, 44), strict=True)
    expected = torch.stack([F.l1_loss(task.network(x[None])[0], y) for x, y in frames]).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    out = task(batch["sdr"]).detach()
    assert out.shape == batch["sdr"].shape
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1


def test_wide_windows_are_refused(rng):
    task = made(CSRNetTask, width=8, conditions=8)
    batch = {"sdr": torch.rand(2, 5, 3, 9, 9), "hdr_pq": torch.rand(2, 3, 9, 9), "name": ["a", "b"]}
    with pytest.raises(ValueError, match=r"10 frames for 2 targets: set data\.radius to 0"):
        task.training_step(batch, 0)


@pytest.mark.parametrize(
    ("task", "gmacs"), [(ResNetTask, 24.6), (CSRNetTask, 0.4236), (HDRTVNetTask, 24.8), (HDRTVNetPlusTask, 7.4)]
)
def test_a_task_names_its_network_and_counts_it(task, gmacs):
    """Half the FLOPs that were counted of the authors' networks, and biases and LeakyReLUs."""
    task = task()
    again = network_class(task.name)(**task.arguments)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in task.network.state_dict().items()
    }
    assert task.macs_per_frame() / 1e9 == pytest.approx(gmacs, rel=0.03)
