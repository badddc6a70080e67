"""HDRNet: its layers written out, its size, its start."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.ops.test_bilateral_grid import sliced
from vitm.baselines.hdrnet import HDRNet
from vitm.nets.complexity import count_macs, count_parameters


def test_size_of_the_table():
    """482 K in HDCFM's Table 1; the layers by hand."""
    network = HDRNet().to("meta")
    assert count_parameters(network) == 482_080
    splat = [(8, 3, 128), (16, 8, 64), (32, 16, 32), (64, 32, 16)]
    macs = sum(m * (9 * n + 1) * size**2 for m, n, size in (*splat, (64, 64, 8), (64, 64, 4)))
    macs += 256 * 1025 + 128 * 257 + 64 * 129 + 16**2 * 64 * (9 * 64 + 1 + 9 * 64) + 16**2 * 96 * 65
    macs += 300 * 200 * 3 * 4  # of the guide; the curves, which are no layers, are not counted
    assert count_macs(network, torch.empty(1, 3, 300, 200, device="meta")) == macs


def test_layers(rng):
    torch.manual_seed(0)
    network = HDRNet(places=64, brightnesses=2).eval()
    for p in network.parameters():
        p.data += 0.2 * torch.randn(p.shape, generator=rng) / max(1, p[0].numel()) ** 0.5
    state = network.state_dict()
    sdr = torch.rand(2, 3, 11, 13, generator=rng)

    def conv(x, name, stride=1):
        return F.conv2d(F.pad(x, [1] * 4), state[f"{name}.weight"], state.get(f"{name}.bias"), stride)

    x = F.interpolate(sdr, size=(256, 256), mode="bilinear")
    for i in (0, 2):
        x = conv(x, f"splat.{i}", 2).relu()
    y = x
    for i in (0, 2, 4, 6):
        y = conv(y, f"whole.{i}", 2).relu()
    y = y.reshape(2, -1)
    for i in (9, 11, 13):
        y = y @ state[f"whole.{i}.weight"].T + state[f"whole.{i}.bias"]
        y = y.relu() if i < 13 else y
    x = conv(conv(x, "local.0").relu(), "local.2")
    x = (x + y[:, :, None, None]).relu()
    weight, bias = state["coefficients.weight"].flatten(1), state["coefficients.bias"]
    grid = (torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None]).view(2, 12, 2, 64, 64)

    colors = torch.einsum("oc,bchw->bohw", state["guide.colors.weight"].flatten(1), sdr)
    colors += state["guide.colors.bias"][:, None, None]
    guide = state["guide.mix.bias"].view(1, 1, 1)
    for c in range(3):
        for slope, threshold in zip(state["guide.slopes"][c], state["guide.thresholds"][c], strict=True):
            guide = guide + state["guide.mix.weight"][0, c, 0, 0] * slope * (colors[:, c] - threshold).relu()
    guide = guide.clamp(0, 1)
    with torch.no_grad():
        hdr_pq = network(sdr)
    for b in range(2):
        transforms = torch.from_numpy(sliced(grid[b].double().numpy(), guide[b].double().numpy())).view(3, 4, 11, 13)
        expected = (transforms[:, :3] * sdr[b].double()).sum(1) + transforms[:, 3]
        torch.testing.assert_close(hdr_pq[b].double(), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


def test_the_guide_begins_as_the_mean_of_colors(rng):
    sdr = torch.rand(1, 3, 20, 30, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(HDRNet().guide(sdr), sdr.mean(1, keepdim=True), atol=1e-5, rtol=0)


def test_in_bands_is_the_whole(rng):
    network = HDRNet(places=64, brightnesses=2).eval()
    sdr = torch.rand(1, 3, 70, 45, generator=rng)
    whole = network(sdr)
    assert whole.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), whole.detach(), atol=1e-4 * float(whole.detach().abs().max()), rtol=0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="places 8, 16"):
        HDRNet(places=12)
