"""JSI-GAN's losses: hinges against loops, what counts when, where gradients go."""

from __future__ import annotations

import pytest
import torch

from vitm.baselines.jsi_gan_task import FeatureDiscriminator, JSIGANTask, relativistic_hinge


def test_relativistic_hinge(rng):
    better, worse = torch.randn(2, 7, generator=rng)
    expected = sum(max(0.0, 1 - float(b - worse.mean())) for b in better) / 7
    expected += sum(max(0.0, 1 + float(w - better.mean())) for w in worse) / 7
    assert float(relativistic_hinge(better, worse)) == pytest.approx(expected, rel=1e-5)


def test_discriminator():
    logits, features = FeatureDiscriminator(4)(torch.rand(2, 3, 70, 40))
    assert logits.shape == (2, 1, 2, 1)
    assert [f.shape[1:] for f in features] == [(4, 35, 20), (8, 17, 10), (16, 8, 5), (32, 4, 2)]


@pytest.mark.slow
def test_losses_before_and_after_the_start(rng, monkeypatch):
    torch.manual_seed(0)
    task = JSIGANTask(width=4, gan_start=5, gan_weight=2.0, feature_weight=3.0)
    sdr, target = torch.rand(2, 2, 3, 40, 33, generator=rng)
    batch = {"sdr": sdr, "hdr_pq": target}
    monkeypatch.setattr(type(task), "global_step", 4)
    losses = {name: loss.detach() for name, loss in task.losses(batch).items()}
    mse = (task.network(sdr) - target).square().mean()
    torch.testing.assert_close(losses["loss"], mse.detach())
    assert float(losses["gan"]) == float(losses["features"]) == 0 < float(losses["discriminator"])
    monkeypatch.setattr(type(task), "global_step", 5)
    losses = task.losses(batch)
    torch.testing.assert_close(losses["loss"], mse + 2 * losses["gan"] + 3 * losses["features"])
    assert min(float(losses[name].detach()) for name in ("gan", "features")) > 0
    losses["loss"].backward(retain_graph=True)
    assert all(p.grad is None for p in task.discriminator.parameters())
    assert all(p.grad is not None for p in task.network.parameters())
    task.network.zero_grad()
    losses["discriminator"].backward()
    assert all(p.grad is None for p in task.network.parameters())
    assert all(p.grad is not None for p in task.discriminator.parameters() if p.requires_grad)
