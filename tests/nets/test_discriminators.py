from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from vitm.nets.discriminators import ClipDiscriminator, PatchDiscriminator, least_squares_loss


def test_layers_are_those_of_the_70x70_discriminator() -> None:
    """C64-C128-C256-C512 and one logit: 4x4 kernels with bias; 30 x 30 logits of a 256 x 256 picture."""
    network = PatchDiscriminator()
    widths = (3, 64, 128, 256, 512, 1)
    expected = sum(16 * a * b + b for a, b in pairwise(widths))
    assert sum(p.numel() for p in network.parameters()) == expected == 2_764_737
    with torch.device("meta"):
        assert PatchDiscriminator()(torch.empty(2, 3, 256, 256)).shape == (2, 1, 30, 30)
        assert PatchDiscriminator(6)(torch.empty(1, 6, 128, 32)).shape == (1, 1, 14, 2)


def test_a_logit_sees_70_pixels() -> None:
    network = PatchDiscriminator(width=4)
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            network.layers[i] = nn.Identity()  # what it adds is an average over the whole picture
    x = torch.rand(1, 3, 160, 160, requires_grad=True)
    logits = network(x)
    (grad,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], x)
    seen = grad.abs().sum((0, 1)) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70


def test_pictures_are_judged_by_themselves() -> None:
    network = PatchDiscriminator(width=4)
    x = torch.rand(3, 3, 40, 48)
    torch.testing.assert_close(network(x), torch.cat([network(picture[None]) for picture in x]))


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"H, W >= 32, got \(1, 3, 31, 64\)"):
        PatchDiscriminator(width=4)(torch.zeros(1, 3, 31, 64))


def test_layers_of_the_clip_discriminator() -> None:
    """3x4x4 kernels with bias, the same widths; time keeps its length."""
    widths = (3, 64, 128, 256, 512, 1)
    expected = sum(48 * a * b + b for a, b in pairwise(widths))
    with torch.device("meta"):
        network = ClipDiscriminator()
        assert network(torch.empty(2, 7, 3, 256, 256)).shape == (2, 7, 1, 30, 30)
        assert network(torch.empty(1, 1, 3, 40, 32)).shape == (1, 1, 1, 3, 2)
    assert sum(p.numel() for p in network.parameters()) == expected == 8_292_289


def test_a_logit_sees_11_frames_of_70_pixels() -> None:
    network = ClipDiscriminator(width=2)
    for i, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm3d):
            network.layers[i] = nn.Identity()
    x = torch.rand(1, 15, 3, 96, 96, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x)[0, 7, 0, 5, 5], x)
    seen = grad.abs().sum((0, 2)) > 0
    assert seen.any(2).any(1).sum() == 11
    assert seen.any(0).any(0).sum() == seen.any(0).any(1).sum() == 70


def test_least_squares_loss_is_that_of_mao() -> None:
    """Half the mean squared distance to 1 (real) and 0 (generated)."""
    logits = torch.tensor([[0.5, 2.0], [-1.0, 1.0]])
    assert least_squares_loss(logits, True).item() == pytest.approx((0.25 + 1 + 4 + 0) / 4 / 2)
    assert least_squares_loss(logits.bfloat16(), False).item() == pytest.approx((0.25 + 4 + 1 + 1) / 4 / 2)


def test_wrong_clips_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clips \(B, T, C, H, W\) with H, W >= 32, got \(1, 3, 64, 64\)"):
        ClipDiscriminator(width=2)(torch.zeros(1, 3, 64, 64))
