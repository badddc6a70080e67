"""HDRTVNet's third stage against a discriminator: what is judged, what learns, the sizes of pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.highlight_task import HighlightTask, PictureDiscriminator
from vitm.nets.complexity import count_parameters


def test_discriminator():
    """Of the authors' code: ten convolutions, nine batch normalisations, two linear layers."""
    with torch.device("meta"):
        discriminator = PictureDiscriminator()
        pairs = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)]
        expected = sum(9 * n * m + 16 * m * m + 4 * m for n, m in pairs) + 64 - 2 * 64 + 100 * (512 * 16 + 1) + 101
        assert count_parameters(discriminator) == expected
        assert discriminator(torch.empty(2, 3, 128, 128)).shape == (2, 1)
        assert discriminator.layers(torch.empty(2, 3, 128, 128)).shape == (2, 512, 4, 4)
    assert PictureDiscriminator(2).eval()(torch.rand(1, 3, 33, 50)).shape == (1, 1)


def test_losses(rng):
    """By triplets; the first two stages stay, and none of a discriminator's gradients reaches the generator."""
    torch.manual_seed(0)
    task = HighlightTask(width=4, blocks=1, highlights=2, perceptual_weight=0, l1_weight=2.0, gan_weight=3.0)
    task.discriminator = PictureDiscriminator(2)
    task.prepare_fit()
    sdr, target = torch.rand(2, 1, 3, 3, 64, 32, generator=rng)
    losses = task.losses({"sdr": sdr.round(), "hdr_pq": target, "name": ["a"]})
    generated = task.network(sdr.round()[0])
    l1 = (generated - target[0]).abs().mean()
    logits = task.discriminator(generated)
    torch.testing.assert_close(losses["l1"], l1)
    torch.testing.assert_close(losses["gan"], F.softplus(-logits).mean())
    torch.testing.assert_close(losses["loss"], 2 * l1 + 3 * F.softplus(-logits).mean())
    expected = F.softplus(logits).mean() + F.softplus(-task.discriminator(target[0])).mean()
    torch.testing.assert_close(losses["discriminator"], expected)
    losses["loss"].backward(retain_graph=True)
    learned = {name.partition(".")[0] for name, p in task.network.named_parameters() if p.grad is not None}
    assert learned == {"hg"}
    assert all(p.grad is None for p in task.discriminator.parameters())
    task.network.zero_grad()
    losses["discriminator"].backward()
    assert all(p.grad is None or not p.grad.any() for p in task.network.parameters())
    assert all(p.grad is not None for p in task.discriminator.parameters())


def test_without_highlights():
    with pytest.raises(ValueError, match="highlights=0"):
        HighlightTask(highlights=0)
