"""Deep SR-ITM: its streams written out, bands, its sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.baselines.test_jsi_net import guided
from vitm.baselines.deep_sr_itm import DeepSRITM, base_and_detail
from vitm.nets.complexity import count_macs, count_parameters

KPN_MFI = {"merge": 3, "shared": True}
HDCFM = {"modulated": "all", "halved": True}


def test_sizes_of_the_tables():
    """2.6338 M and 182.5195 G in KPN-MFI's Table 1, 2.87 M in HDCFM's and DSLNet's."""
    with torch.device("meta"):
        published, kpn_mfi, hdcfm = DeepSRITM(), DeepSRITM(**KPN_MFI), DeepSRITM(**HDCFM)
        frame = torch.empty(1, 3, 256, 256)
    assert count_parameters(published) == 2_391_811
    assert count_parameters(kpn_mfi) == 2_633_795
    assert f"{count_macs(kpn_mfi, frame) / 1e9:.4f}" == "182.5195"
    assert count_parameters(hdcfm) == 2_871_875


def test_base_and_detail(rng):
    x = torch.rand(1, 3, 9, 8, generator=rng)
    base, detail = base_and_detail(x)
    torch.testing.assert_close(base, guided(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(detail, x / guided(x), atol=1e-4, rtol=0)
    assert float(base_and_detail(torch.zeros(1, 3, 5, 5))[1].abs().max()) == 0


def small(rng, **arguments):
    torch.manual_seed(0)
    network = DeepSRITM(5, **arguments).eval()
    for p in network.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=rng)
    return network


def test_streams(rng):
    """The layers as the paper's Figure 3 has them; names of ours."""
    network = small(rng)
    state, sdr = network.state_dict(), torch.rand(2, 3, 11, 12, generator=rng)

    def conv(x, name):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def modulation(x, name):
        for i in (0, 2, 4):
            x = conv(x, f"{name}.modulation.{i}").relu()
        return x

    def two(x, name):
        return conv(conv(x, f"{name}.conv1").relu(), f"{name}.conv2")

    def factor(x, name):
        return conv(conv(x, f"{name}.factor.0").relu(), f"{name}.factor.2")

    base = guided(sdr)
    with_base, with_detail = torch.cat((sdr, base), 1), torch.cat((sdr, sdr / base), 1)
    to_base, to_detail = modulation(with_base, "base"), modulation(with_detail, "detail")
    b, d = conv(with_base, "base.first"), conv(with_detail, "detail.first")
    d = d + two(d.relu(), "first_detail")
    for i in range(3):
        b = b + two(b.relu(), f"base_blocks.{2 * i}")
        name = f"detail_blocks.{2 * i}"
        d = d + factor(to_detail, name) * two(conv(torch.cat((d, b), 1).relu(), f"{name}.merge"), name)
        b = b + factor(to_base, f"base_blocks.{2 * i + 1}") * two(b.relu(), f"base_blocks.{2 * i + 1}")
        if i < 2:
            name = f"detail_blocks.{2 * i + 1}"
            d = d + two(conv(torch.cat((d, b), 1).relu(), f"{name}.merge"), name)
    x = conv(conv(torch.cat((b, d), 1).relu(), "merge"), "fused.0")
    for i in range(1, 11):
        x = x + two(x.relu(), f"fused.{i}")
    x = conv(conv(x.relu(), "fused.12").relu(), "fused.14").relu()
    expected = sdr + conv(x, "fused.17")
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("arguments", [KPN_MFI, HDCFM], ids=["kpn_mfi", "hdcfm"])
def test_in_bands_is_the_whole(arguments, rng):
    network, sdr = small(rng, **arguments), torch.rand(1, 3, 401, 3, generator=rng)
    whole = network(sdr)
    assert whole.requires_grad
    with torch.no_grad():
        out = network(sdr)
    torch.testing.assert_close(out, whole.detach(), rtol=1e-4, atol=1e-4 * float(whole.detach().abs().max()))


def test_shared_layers_are_counted_and_saved_once():
    network = DeepSRITM(5, **KPN_MFI)
    assert network.base.modulation is network.detail.modulation
    assert network.first_detail is network.base_blocks[0]
    again = DeepSRITM(5, **KPN_MFI)
    again.load_state_dict(network.state_dict())


def test_wrong_arguments():
    with pytest.raises(ValueError, match="odd merge"):
        DeepSRITM(5, merge=2)
