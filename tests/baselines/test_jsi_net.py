"""JSInet: filters of each pixel against sums, its subnets written out, its sizes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.jsi_net import LINE, SQUARE, JSInet, separable_pixel_conv
from vitm.nets.complexity import count_macs, count_parameters


def test_sizes_of_the_tables():
    """1.06 M in HDCFM's Table 1; 1.2493 M and 81.8757 G in KPN-MFI's."""
    with torch.device("meta"):
        one, three = JSInet(), JSInet(kernel_for_each_color=True)
        frame = torch.empty(1, 3, 256, 256)
    assert count_parameters(one) == 1_061_222
    assert count_parameters(three) == 1_249_324
    assert f"{count_macs(three, frame) / 1e9:.4f}" == "81.8757"


@pytest.mark.parametrize("kernels", [1, 3])
def test_separable_filters(kernels, rng):
    """Column by column, then row by row, with zeros outside."""
    x = torch.rand(2, 3, 7, 6, generator=rng)
    vertical, horizontal = torch.randn(2, 2, kernels, 5, 7, 6, generator=rng)

    def at(image, i, j):
        return image[i, j] if 0 <= i < 7 and 0 <= j < 6 else 0.0

    out = separable_pixel_conv(x, vertical, horizontal)
    for b, c in product(range(2), range(3)):
        v, h = (k[b, c % kernels].double().numpy() for k in (vertical, horizontal))
        image, columns, expected = x[b, c].double().numpy(), np.zeros((7, 6)), np.zeros((7, 6))
        for i, j in product(range(7), range(6)):
            columns[i, j] = sum(v[t, i, j] * at(image, i + t - 2, j) for t in range(5))
        for i, j in product(range(7), range(6)):
            expected[i, j] = sum(h[t, i, j] * at(columns, i, j + t - 2) for t in range(5))
        np.testing.assert_allclose(out[b, c].numpy(), expected, atol=1e-5)


def guided(x):
    """The guided filter of 5 x 5 boxes by windows."""

    def mean(t):
        return F.pad(t, [2] * 4, mode="reflect").unfold(2, 5, 1).unfold(3, 5, 1).mean((-2, -1))

    variance = mean(x * x) - mean(x) ** 2
    a = variance / (variance + 0.01)
    return mean(a) * x + mean(mean(x) - a * mean(x))


@pytest.mark.parametrize("each", [False, True])
def test_subnets(each, rng):
    torch.manual_seed(0)
    network = JSInet(6, kernel_for_each_color=each).eval()
    for p in network.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=rng)
    state, kernels = network.state_dict(), 3 if each else 1
    sdr = torch.rand(2, 3, 12, 13, generator=rng)

    def conv(x, name):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def block(x, name):
        return x[:, :6] + conv(conv(x.relu(), f"{name}.conv1").relu(), f"{name}.conv2")

    base = guided(sdr)
    detail = sdr / base
    x = conv(base, "contrast.0")
    for i in range(1, 5):
        x = block(x, f"contrast.{i}")
    squares = conv(x.relu(), "contrast.6").view(2, kernels, SQUARE**2, 12, 13).exp()
    squares = squares / squares.sum(2, keepdim=True)
    windows = F.unfold(base, SQUARE, padding=4).view(2, 3, SQUARE**2, 12, 13)
    contrast = 2 * ((windows * squares).sum(2)).sigmoid()

    x = early = block(conv(detail, "detail_first"), "detail_blocks.0")
    for i in range(1, 4):
        x = block(x, f"detail_blocks.{i}")
    lines = [conv(x.relu(), name).view(2, kernels, LINE, 12, 13) for name in ("vertical", "horizontal")]
    details = separable_pixel_conv(detail, *lines)

    x = block(conv(sdr, "first"), "blocks.0")
    x = block(torch.cat((x, early), 1), "blocks.1")
    x = block(block(x, "blocks.2"), "blocks.3")
    picture = conv(conv(x.relu(), "last.1").relu(), "last.3")
    expected = (picture + details) * contrast
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_in_bands_is_the_whole(rng):
    torch.manual_seed(0)
    network, sdr = JSInet(4).eval(), torch.rand(1, 3, 280, 5, generator=rng)
    for p in network.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=rng)
    whole = network(sdr)
    assert whole.requires_grad
    with torch.no_grad():
        out = network(sdr)
    torch.testing.assert_close(out, whole.detach(), rtol=1e-5, atol=1e-5 * float(whole.detach().abs().max()))
