"""HDRTVNet's third stage: its layers written out, its mask, its size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.highlights import HighlightGeneration, over_exposure
from vitm.nets.complexity import count_macs, count_parameters


def test_size_of_all_three_stages():
    """KPN-MFI's Table 1: 38.1977 M and 55.5621 G; the authors' layers have 1,610 parameters more, 0.004 %."""
    with torch.device("meta"):
        stages, highlights = HDRTVNet(), HighlightGeneration()
        frame = torch.empty(1, 3, 256, 256)
    parameters = count_parameters(stages) + count_parameters(highlights)
    assert parameters == 38_199_310
    assert parameters / 1e6 == pytest.approx(38.1977, rel=5e-5)
    macs = count_macs(stages.agcm.eval(), frame) + count_macs(stages.le, frame)
    highlights.eval()
    with torch.no_grad():
        macs += count_macs(_Masked(highlights), frame)
    assert macs / 1e9 == pytest.approx(55.5621, rel=2e-3)


def test_size_that_kpn_mfi_prints():
    """38.1977 M and 55.5621 G, to all digits, of the authors' code with its default arguments, as a counter saw it.

    That is three conditions instead of the recipe's six, taken from the frame itself instead of a quarter of its size.
    The counter (thop of 2020) takes two operations for each element behind a batch normalisation and one behind a
    pooling, and overlooks the parameters of instance normalisations.
    """
    widths, conditions, size = (3, 16, 32, 64, 128, 128), 3, 256
    pixels = [(size >> i) ** 2 for i in range(6)]
    estimator = sum((n + 1) * m * p for n, m, p in zip(widths, widths[1:], pixels, strict=False))
    pooled = sum(m * p for m, p in zip(widths[1:], pixels[1:], strict=True))
    head = (widths[-1] + 1) * conditions * pixels[-1]
    vectors = 2 * (conditions + 1) * (64 + 64 + 3)
    mapping = ((3 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * 3) * size**2
    last_pool = (pixels[-1] + 1) * conditions
    agcm = estimator + head + vectors + mapping + 2 * pooled + last_pool  # pooled: by pooling and by LeakyReLU
    with torch.device("meta"):
        stages, highlights = HDRTVNet(), HighlightGeneration().eval()
        frame = torch.empty(1, 3, size, size)
    normalised = []
    for module in highlights.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: normalised.append(2 * output.numel()))
    with torch.no_grad():
        macs = agcm + count_macs(stages.le, frame) + count_macs(_Masked(highlights), frame) + sum(normalised)
    assert f"{macs / 1e9:.4f}" == "55.5621"
    parameters = count_parameters(stages) + count_parameters(highlights)
    of_a_condition, of_instance_norms = widths[-1] + 1 + 2 * (64 + 64 + 3), 2 * sum(widths[1:5])
    assert f"{(parameters - 3 * of_a_condition - of_instance_norms) / 1e6:.4f}" == "38.1977"


class _Masked(torch.nn.Module):
    """Highlight generation of one argument."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x, x[:, :1])


def test_mask():
    sdr = torch.tensor([[0.0, 0.95, 0.97, 1.0, 0.99], [1.0, 0.2, 0.96, 0.5, 0.99], [0.3, 0.1, 0.1, 0.96, 0.1]])
    expected = torch.tensor([1.0, 0.0, 0.4, 1.0, 0.8])
    torch.testing.assert_close(over_exposure(sdr.view(1, 3, 1, 5)).flatten(), expected, atol=1e-5, rtol=0)


def test_layers(rng):
    torch.manual_seed(0)
    network = HighlightGeneration(4).eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value += 0.1 * torch.rand(value.shape, generator=rng) * (1 if "running" in name else 0.5)
    state = network.state_dict()
    x, mask = torch.rand(1, 3, 37, 61, generator=rng), torch.rand(1, 1, 37, 61, generator=rng)

    def conv(y, name):
        weight = state[f"{name}.weight"]
        return F.conv2d(y, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def layer(y, name):
        y = conv(y, f"{name}.0").movedim(1, 3)
        scale, shift, mean, var = (state[f"{name}.1.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        return ((y - mean) / (var + 1e-5).sqrt() * scale + shift).relu().movedim(3, 1)

    def halved(y):
        return torch.stack([y[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)

    padded = F.pad(x, (0, 3, 0, 27), mode="reflect")
    first = layer(padded, "first")
    second = layer(halved(first), "second.1")
    skips = [first, second]
    y = second
    for i in range(4):
        y = layer(halved(layer(y, f"down.{i}.0")), f"down.{i}.2")
        skips.append(y)
    for i, skip in enumerate(skips[4::-1]):
        y = F.pixel_shuffle(conv(y, f"up.{i}.0"), 2).relu()
        y = conv(torch.cat((y, skip), 1), f"join.{i}")
    expected = x + mask * conv(torch.cat((y, padded), 1), "last")[..., :37, :61]
    with torch.no_grad():
        torch.testing.assert_close(network(x, mask), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_third_stage_changes_what_is_over_exposed_alone(rng):
    torch.manual_seed(0)
    network = HDRTVNet(width=8, blocks=1, highlights=4).eval()
    sdr = 0.9 * torch.rand(1, 3, 40, 36, generator=rng)
    sdr[..., 10:20, 10:20] = 1
    with torch.no_grad():
        two, three = network.le(network.agcm(sdr)), network(sdr)
        expected = network.hg(two, over_exposure(sdr))
    assert torch.equal(three, expected)
    changed = (three != two).any(1)[0]
    assert changed[10:20, 10:20].float().mean() > 0.9
    changed[10:20, 10:20] = False
    assert not changed.any()
