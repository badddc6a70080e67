"""Networks of single frames: layers against plain references, any size, errors, checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.ada_3dlut import Ada3DLUT
from vitm.baselines.adaint import AdaInt
from vitm.baselines.csrnet import CSRNet, GlobalMapping
from vitm.baselines.deep_sr_itm import DeepSRITM
from vitm.baselines.hdrnet import HDRNet
from vitm.baselines.hdrtvdm import LSN, ChannelAttention, TransformerBlock
from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.hdrtvnet_plus import AGCM, HDRTVNetPlus, LocalEnhancement
from vitm.baselines.jsi_net import JSInet
from vitm.papers.hdcfm import HDCFM
from vitm.zoo import load_network

SMALL = {
    "ada_3dlut": (Ada3DLUT, {"size": 5}, (1, 1)),
    "adaint": (AdaInt, {"size": 5}, (1, 1)),
    "csrnet": (CSRNet, {"width": 8, "conditions": 8}, (5, 7)),
    "deep_sr_itm": (DeepSRITM, {"width": 4, "merge": 3, "shared": True}, (3, 5)),
    "hdrnet": (HDRNet, {"places": 64, "brightnesses": 2}, (1, 1)),
    "hdrtvdm": (LSN, {"width": 8}, (8, 9)),
    "hdrtvnet": (HDRTVNet, {"width": 8, "blocks": 1}, (33, 37)),
    "jsi_net": (JSInet, {"width": 4}, (3, 5)),
    "hdrtvnet_plus": (HDRTVNetPlus, {"width": 8}, (33, 67)),
}


def randomised(network: nn.Module, rng: torch.Generator) -> nn.Module:
    """Weights that every layer shows in the result."""
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=rng) / max(1, p[0].numel()) ** 0.5
    return network.eval()


def test_csrnet_layers(rng: torch.Generator) -> None:
    """The published layers, written out: ECCV 2020, Figure 2."""
    network = randomised(CSRNet(), rng)
    state = network.state_dict()
    sdr = torch.rand(2, 3, 21, 34, generator=rng)

    v = sdr
    for i in (0, 2, 4):
        v = F.relu(F.conv2d(F.pad(v, [1] * 4), state[f"estimator.{i}.weight"], state[f"estimator.{i}.bias"], 2))
    v = v.flatten(2).mean(2)
    x = sdr.permute(0, 2, 3, 1)
    for i in range(3):
        w, b = state[f"mapping.convs.{i}.weight"].flatten(1), state[f"mapping.convs.{i}.bias"]
        a, c = (
            (v @ state[f"mapping.{n}.{i}.weight"].T + state[f"mapping.{n}.{i}.bias"])[:, None, None]
            for n in ("scales", "shifts")
        )
        x = x @ w.T + b
        x = x * a + c + x
        x = x.relu() if i < 2 else x
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), x.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_mapping_in_bands_is_the_whole(rng: torch.Generator) -> None:
    mapping = randomised(GlobalMapping((3, 8, 3), 4, slope=0.1, activate_last=True), rng)
    x, v = torch.randn(2, 3, 300, 5, generator=rng), torch.randn(2, 4, generator=rng)
    whole = mapping(x, v)
    assert whole.requires_grad
    assert bool((whole < 0).any())
    with torch.no_grad():
        torch.testing.assert_close(mapping(x, v), whole.detach(), rtol=0, atol=1e-5)


def test_agcm_is_hdcfm_but_for_what_it_looks_at(rng: torch.Generator) -> None:
    """Up to 64 x 64 it looks at the frame itself."""
    agcm, hdcfm = AGCM(), HDCFM(local_mod=False, dyct=False, context=False)
    randomised(agcm, rng)
    hdcfm.load_state_dict(agcm.state_dict())
    hdcfm.eval()
    for size, same in ((64, True), (65, False)):
        sdr = torch.rand(1, 3, size, size, generator=rng)
        with torch.no_grad():
            assert torch.allclose(agcm(sdr), hdcfm(sdr), atol=1e-6) == same


def test_hdrtvnet_is_its_parts(rng: torch.Generator) -> None:
    network = HDRTVNet(width=8, blocks=1).eval()
    sdr = torch.rand(1, 3, 40, 36, generator=rng)
    with torch.no_grad():
        assert torch.equal(network(sdr), network.le(network.agcm(sdr)))


def test_channel_attention(rng: torch.Generator) -> None:
    """Against attention on normalised rows, head by head."""
    layer = ChannelAttention(8, heads=2)
    layer.temperature.data = torch.tensor([0.5, 3.0])[:, None, None]
    x = torch.randn(2, 8, 5, 6, generator=rng)
    with torch.no_grad():
        q, k, v = (t.reshape(2, 8, 30) for t in layer.qkv(x).split(8, dim=1))
        heads: list[Tensor] = []
        for h in range(2):
            rows = slice(4 * h, 4 * h + 4)
            similarity = torch.einsum("bcn,bdn->bcd", F.normalize(q[:, rows], dim=2), F.normalize(k[:, rows], dim=2))
            heads.append(torch.einsum("bcd,bdn->bcn", (similarity * layer.temperature[h]).softmax(2), v[:, rows]))
        expected = F.conv2d(torch.cat(heads, 1).view_as(x), layer.project.weight)
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-6)
        assert bool(layer(torch.zeros_like(x)).isfinite().all())


def test_attention_in_bands_is_the_whole(rng: torch.Generator) -> None:
    """Of 75 rows, in three bands: sums of all pixels, and convolutions that reach beyond a band."""
    block = randomised(TransformerBlock(8, heads=2), rng)
    x = torch.randn(2, 8, 75, 9, generator=rng)
    whole = block(x)
    assert whole.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(block(x), whole.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_any_size_a_batch_is_its_frames_and_gradients_reach_everything(name: str, rng: torch.Generator) -> None:
    made, arguments, smallest = SMALL[name]
    network = randomised(made(**arguments), rng)
    for size in (smallest, (70, 45)):
        sdr = torch.rand(2, 3, *size, generator=rng)
        with torch.no_grad():
            out = network(sdr)
            assert out.shape == sdr.shape
            assert out.dtype == torch.float32
            torch.testing.assert_close(out[1:], network(sdr[1:]), rtol=1e-4, atol=1e-4 * float(out.abs().max()))
    network(sdr).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (15, 17)])
def test_local_enhancement_of_any_size(size: tuple[int, int], rng: torch.Generator) -> None:
    x = torch.rand(1, 3, *size, generator=rng)
    assert LocalEnhancement(8)(x).shape == x.shape


@pytest.mark.parametrize("name", SMALL)
def test_our_checkpoints(name: str, tmp_path: Path, rng: torch.Generator) -> None:
    made, arguments, _ = SMALL[name]
    torch.manual_seed(0)
    network = made(**arguments).eval()
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": name, "arguments": arguments}, "state_dict": state}, tmp_path / "best.ckpt")
    sdr = torch.rand(1, 3, 40, 44, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(load_network(name, tmp_path / "best.ckpt")(sdr), network(sdr), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_wrong_shapes(name: str) -> None:
    made, arguments, smallest = SMALL[name]
    network = made(**arguments)
    for shape in ((1, 2, 3, 40, 40), (1, 1, 40, 40), (1, 3, 40, min(smallest[0], 32) - 1)):
        with pytest.raises(ValueError, match=r"expected sdr .*got \(1, "):
            network(torch.zeros(shape))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="agcm, le or both"):
        HDRTVNetPlus(agcm=False, le=False)
    with pytest.raises(ValueError, match="even number"):
        LocalEnhancement(7)
    with pytest.raises(ValueError, match="multiple of 8"):
        LSN(12)
