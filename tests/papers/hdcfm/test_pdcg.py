from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitm.papers.hdcfm import HDCFM, HDCFMPDCG, PDCG
from vitm.papers.hdcfm.losses import patch_loss
from vitm.papers.hdcfm.pdcg import over_exposure_mask
from vitm.zoo import load_network

SMALL = {"width": 20, "blocks": 2}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def generator(network, hdr_pq, mask):
    """Section 3.3 written out on the network's weights: the features before the mask is applied."""
    p = network.state_dict()

    def conv(x, name, **how):
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], **how)

    def ddf(x, name):
        spatial = conv(x, f"{name}.spatial.0")
        channel = conv(F.relu(conv(x.mean((2, 3), keepdim=True), f"{name}.channel.0")), f"{name}.channel.2")
        B, C, H, W = x.shape
        patches = F.unfold(x, 3, padding=1).view(B, C, 9, H, W)
        return (patches * spatial[:, None] * channel.view(B, C, 9, 1, 1)).sum(2)

    def context(x, name):
        v = ddf(conv(x.mean((2, 3), keepdim=True), f"{name}.transform.0"), f"{name}.transform.1")
        norm = p[f"{name}.transform.2.weight"], p[f"{name}.transform.2.bias"]
        v = ddf(F.relu(F.layer_norm(v, v.shape[1:], *norm)), f"{name}.transform.4")
        return x * torch.sigmoid(conv(v, f"{name}.transform.5"))

    def up(x, name):
        return F.relu(conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"{name}.conv", padding=1))

    h, w = hdr_pq.shape[2:]
    x = np.pad(torch.cat([hdr_pq, mask], 1).numpy(), [(0, 0), (0, 0), (0, -h % 8), (0, -w % 8)], mode="reflect")
    d1 = F.relu(conv(torch.from_numpy(x), "down.0", stride=2, padding=1))
    d2 = F.relu(conv(d1, "down.1", stride=2, padding=1))
    x = F.relu(conv(d2, "down.2", stride=2, padding=1))
    for i in range(len(network.blocks)):
        x = x + conv(context(ddf(x, f"blocks.{i}.dyct.0"), f"blocks.{i}.dyct.1"), f"blocks.{i}.conv", padding=1)
    x = up(up(up(x, "up.0") + d2, "up.1"), "up.2")
    return conv(x, "last", padding=1)[:, :, :h, :w]


@pytest.mark.parametrize("size", [(24, 32), (37, 41), (150, 9)])
def test_equals_the_paper_written_out(size):
    """With gradients, and in bands without; any size."""
    network = PDCG(**SMALL)
    for p in network.parameters():
        p.data.normal_(0, 0.1)
    hdr_pq, mask = torch.rand(2, 3, *size), torch.rand(2, 1, *size)
    mask[mask < 0.5] = 0
    with torch.no_grad():
        expected = generator(network, hdr_pq, mask) * mask + hdr_pq * (1 - mask)
        torch.testing.assert_close(network(hdr_pq, mask), expected, rtol=1e-4, atol=1e-4)
    out = network(hdr_pq, mask)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    untouched = mask.expand_as(out) == 0
    assert torch.equal(out[untouched], hdr_pq[untouched])


def test_parameters():
    """Counts of the specification: 3 + 1 channels in, 64 wide, 16 blocks."""
    block = (585 + 780 + 7488) + 3720 + 36928
    down, last = 2368 + 2 * 36928, 1731
    count = {kind: sum(p.numel() for p in PDCG(upsample=kind).parameters()) for kind in ("nearest", "shuffle")}
    assert count == {"nearest": down + 16 * block + 3 * 36928 + last, "shuffle": down + 16 * block + 3 * 147712 + last}
    assert count == {"nearest": 980_755, "shuffle": 1_313_107}


def test_mask():
    """HDRTVNet's: the brightest channel, from 0 at 0.95 to 1 at 1."""
    sdr = np.random.default_rng(0).uniform(0.8, 1, (2, 3, 16, 20)).astype(np.float32)
    by_channel = np.clip((sdr - 0.95) / 0.05, 0, 1)
    np.testing.assert_allclose(
        over_exposure_mask(torch.from_numpy(sdr)), by_channel.max(1, keepdims=True), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(over_exposure_mask(torch.from_numpy(sdr), "channel"), by_channel, rtol=0, atol=1e-5)
    assert over_exposure_mask(torch.ones(1, 3, 2, 2)).min() == 1


def test_channels_have_masks_of_their_own():
    network = PDCG(**SMALL, mask="channel", upsample="shuffle")
    hdr_pq, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    mask[:, 1] = 1
    out = network(hdr_pq, mask)
    assert torch.equal(out[:, [0, 2]], hdr_pq[:, [0, 2]])
    assert not torch.allclose(out[:, 1], hdr_pq[:, 1], atol=1e-2)


@pytest.mark.parametrize("mask", ["frame", "channel"])
def test_both_stages(mask):
    """The mask is of the SDR frame; HDCFM is never trained, not even its dropout."""
    network = HDCFMPDCG(**SMALL, mask=mask).train()
    sdr = torch.rand(2, 3, 36, 44) * 0.3 + 0.7
    expected = network.pdcg(network.hdcfm.eval()(sdr), over_exposure_mask(sdr, mask))
    out = network.train()(sdr)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    assert all(p.grad is None for p in network.hdcfm.parameters())
    assert all(p.grad is not None for p in network.pdcg.parameters())
    dark = network(sdr * 0.5)
    torch.testing.assert_close(dark, network.hdcfm(sdr * 0.5), rtol=0, atol=0)


def test_zoo_rebuilds_both_stages(tmp_path):
    arguments = {"base": {"local_mod": False}, **SMALL}
    network = HDCFMPDCG(**arguments).eval()
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": "pdcg", "arguments": arguments}, "state_dict": state}, tmp_path / "best.ckpt")
    sdr = torch.rand(1, 3, 40, 33)
    with torch.no_grad():
        torch.testing.assert_close(load_network("pdcg", tmp_path / "best.ckpt")(sdr), network(sdr))


def test_errors():
    with pytest.raises(ValueError, match=r"mask \(B, 1, H, W\)"):
        PDCG(**SMALL)(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="H, W >= 8"):
        PDCG(**SMALL)(torch.zeros(1, 3, 16, 7), torch.zeros(1, 1, 16, 7))
    with pytest.raises(ValueError, match="width of at least 20"):
        PDCG(width=8)


@pytest.mark.parametrize("kind", ["vanilla", "lsgan"])
@pytest.mark.parametrize("real", [True, False])
def test_patch_loss_weighs_patches_by_their_mask(kind, real):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 1, 4, 5)).astype(np.float32)
    mask = rng.uniform(size=(3, 1, 16, 20)).astype(np.float32)
    mask[2] = 0  # nothing is over-exposed: counts zero
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    patches = {
        "vanilla": -np.log(probability if real else 1 - probability),
        "lsgan": (logits - real) ** 2.0,
    }[kind]
    weights = mask.reshape(3, 1, 4, 4, 5, 4).mean((3, 5))
    expected = sum((weights[i] * patches[i]).sum() / weights[i].sum() for i in range(2)) / 3
    loss = patch_loss(torch.from_numpy(logits), torch.from_numpy(mask), real, kind)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_small_highlight_counts_as_much_as_a_large_one():
    logits = torch.zeros(1, 1, 14, 14)
    small, large = torch.zeros(2, 1, 1, 128, 128).unbind()
    small[..., 70, 70], large[..., :64] = 1, 1
    assert float(patch_loss(logits, small, True)) == pytest.approx(float(patch_loss(logits, large, True)), rel=1e-3)


def test_frames_that_are_not_over_exposed_are_converted_by_hdcfm_alone(shared):
    """The released HDCFM inside: its goldens are the output wherever the mask is 0."""
    file = np.load(shared / "goldens" / "HDCFM_96x128.npz")
    network = HDCFMPDCG(**SMALL).eval()
    network.hdcfm.load_state_dict(load_network("hdcfm", shared / "weights" / "hdcfm_official.pth.tar").state_dict())
    sdr, golden = (torch.from_numpy(file[k]).reshape(1, 3, 96, 128) for k in ("input", "output"))
    with torch.no_grad():
        out = network(sdr)
    keep = (sdr.amax(1, keepdim=True) <= 0.95).expand_as(out)
    assert 0.1 < keep.float().mean() < 1
    torch.testing.assert_close(out[keep], golden[keep], rtol=0, atol=1e-5)
    assert isinstance(network.hdcfm, HDCFM)
