"""HDRUNet, DeepHDR and KPNiTM: layers against plain references, sizes, and KPN-MFI's interaction plugged in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference import deephdr, hdrunet, kpn_itm, kpn_mfi
from vitm.baselines.deephdr import DeepHDR, SoftPartialConv2d, exposure_mask
from vitm.baselines.hdrunet import HDRUNet
from vitm.baselines.kpn_itm import KPNiTM
from vitm.conversion.stream import convert_clip
from vitm.nets.complexity import count_macs, count_parameters
from vitm.nets.interface import context
from vitm.papers.kpn_mfi.mfi import neighbours
from vitm.zoo import load_network

SMALL = {
    "deephdr": (DeepHDR, {"widths": (8, 8, 8)}, 8),
    "hdrunet": (HDRUNet, {"width": 8, "blocks": (1, 2, 1)}, 4),
    "kpn_itm": (KPNiTM, {"widths": (8, 8, 16)}, 4),
}


def small(name, **changes):
    """With weights that every layer shows in the result."""
    kind, arguments, _ = SMALL[name]
    network = kind(**(arguments | changes)).eval()
    rng = torch.Generator().manual_seed(0)
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=rng) / max(8, p[0].numel()) ** 0.5
    return network


def arrays(network):
    return {k: v.numpy() for k, v in network.state_dict().items()}


def assert_close(out, expected):
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


def test_sizes_of_kpn_mfis_table_1():
    """51.5419 M and 18.9459 G; 35.8732 M and 73.4167 G; 1.6515 M and 23.4223 G at 256 x 256."""
    with torch.device("meta"):
        networks = {name: kind() for name, (kind, _, _) in SMALL.items()}
        frame = torch.empty(1, 3, 256, 256)
    parameters = {name: count_parameters(network) for name, network in networks.items()}
    macs = {name: count_macs(network, frame) for name, network in networks.items()}
    assert parameters["hdrunet"] == 1_651_494
    assert macs["hdrunet"] / 1e9 == pytest.approx(23.42230, abs=5e-6)
    # Within 0.04 %; the widths were found from these numbers.
    assert parameters["kpn_itm"] / 1e6 == pytest.approx(35.8732, rel=2e-4)
    assert macs["kpn_itm"] / 1e9 == pytest.approx(73.4167, rel=4e-4)
    # Each kernel of DeepHDR is counted once more for the masks, without bias and without the LeakyReLU of the decoder.
    biases = 3
    leaky = sum(c * (256 >> level) ** 2 for level, c in ((6, 512), (5, 512), (4, 512), (3, 256), (2, 128), (1, 64)))
    assert f"{(2 * parameters['deephdr'] - biases) / 1e6:.4f}" == "51.5419"
    assert f"{(2 * macs['deephdr'] - biases * 256**2 - leaky) / 1e9:.4f}" == "18.9459"


def test_where_frames_interact():
    """After the last down-sampling layer: 64 channels at 1/4, 512 at 1/128, 512 at 1/32 (Table 2)."""
    with torch.device("meta"):
        deep = {name: kind().encode(torch.empty(1, 3, 256, 256)).deep for name, (kind, _, _) in SMALL.items()}
    assert {name: tuple(x.shape[1:]) for name, x in deep.items()} == {
        "deephdr": (512, 2, 2),
        "hdrunet": (64, 64, 64),
        "kpn_itm": (512, 8, 8),
    }


@pytest.mark.parametrize("name", ["deephdr", "kpn_itm"])
def test_the_last_size_in_bands_is_the_whole(name, rng):
    """132 rows of half the height, in three bands."""
    network, sdr = small(name), torch.rand(1, 3, 264, 16, generator=rng)
    whole = network(sdr)
    assert whole.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), whole.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 3, 1)], ids=str)
def test_hdrunet_layers(blocks, rng):
    network = small("hdrunet", blocks=blocks)
    sdr = torch.rand(2, 3, 12, 20, generator=rng)
    with torch.no_grad():
        assert_close(network(sdr).numpy(), hdrunet.hdrunet(arrays(network), sdr, blocks).numpy())


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(3, 1, True), (3, 2, False), (7, 2, False)])
def test_partial_convolution(kernel, stride, bias, rng):
    """Features, and the updated mask, where a part of the frame is masked."""
    layer = SoftPartialConv2d(3, 5, kernel, stride, bias)
    x = torch.randn(1, 3, 8, 10, generator=rng)
    mask = torch.rand(1, 3, 8, 10, generator=rng) * (torch.arange(10) > 4)
    if bias:
        torch.nn.init.normal_(layer.conv.bias)
    with torch.no_grad():
        out = layer(x, mask)
    state = arrays(layer)
    expected = deephdr.partial_conv(x[0].numpy(), mask[0].numpy(), state["conv.weight"], state.get("conv.bias"), stride)
    for ours, theirs in zip(out, expected, strict=True):
        assert_close(ours[0].numpy(), theirs)
    assert float(out[1].min()) >= 0
    assert float(out[1].max()) <= 1


def test_masks_pass_no_gradient(rng):
    layer = SoftPartialConv2d(3, 5)
    x, mask = torch.rand(2, 1, 3, 8, 8, generator=rng)
    features, updated = layer(x, mask)
    features.sum().backward()
    assert not updated.requires_grad
    # of the sum of a convolution: what each tap saw, and nothing of the mask's own path
    seen = torch.nn.functional.unfold(x * mask, 3, padding=1).sum(dim=2).view(1, 3, 3, 3).expand(5, -1, -1, -1)
    torch.testing.assert_close(layer.conv.weight.grad, seen, rtol=1e-4, atol=1e-4)


def test_mask_of_clipped_pixels():
    sdr = torch.tensor([0.0, 0.5, 0.95, 0.975, 1.0]).view(1, 1, 1, 5).expand(1, 3, 2, 5)
    np.testing.assert_allclose(exposure_mask(sdr)[0, 1, 0].numpy(), [1, 1, 1, 0.5, 0], atol=1e-5)


@pytest.mark.parametrize("widths", [(4, 6), (4, 6, 8, 8)], ids=str)
def test_deephdr_layers(widths, rng):
    """On a frame of which a part is clipped."""
    network = small("deephdr", widths=widths)
    sdr = (1.3 * torch.rand(1, 3, 16, 32, generator=rng)).clamp(max=1)
    with torch.no_grad():
        assert_close(network(sdr)[0].numpy(), deephdr.network(arrays(network), sdr[0].numpy(), len(widths)))


def test_deephdr_does_not_see_what_is_clipped_but_through_the_last_skip(rng):
    """The mask of a clipped pixel is 0: its features come from around it."""
    network = small("deephdr")
    with torch.no_grad():
        sdr = torch.rand(1, 3, 16, 16, generator=rng) * 0.9
        sdr[..., 4:9, 4:9] = 1
        deep = network.encode(sdr).deep
        sdr[..., 4:9, 4:9] = 1.5
        torch.testing.assert_close(network.encode(sdr).deep, deep, atol=0, rtol=0)
        sdr[..., 4:9, 4:9] = 0.9
        assert not torch.allclose(network.encode(sdr).deep, deep)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_kpn_itm_layers(kernel_size, rng):
    network = small("kpn_itm", kernel_size=kernel_size)
    state = {k: v.astype(np.float64) for k, v in arrays(network).items()}
    sdr = torch.rand(1, 3, 8, 12, generator=rng)
    with torch.no_grad():
        assert_close(network(sdr)[0].numpy(), kpn_itm.kpn_itm(state, sdr[0].double().numpy(), 3, kernel_size))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (3, 9), (16, 24), (21, 18)], ids=str)
def test_any_size(name, size, rng):
    """The output has the input's size; inside, it equals the output for the frame padded by hand."""
    network, stride = small(name, mfi=True), SMALL[name][2]
    clip = torch.rand(1, 3, 3, *size, generator=rng)
    bottom, right = (-n % stride for n in size)
    mode = "reflect" if bottom < size[0] and right < size[1] else "edge"
    padded = np.pad(clip.numpy(), [(0, 0)] * 3 + [(0, bottom), (0, right)], mode=mode)
    with torch.no_grad():
        out, expected = network(clip), network(torch.from_numpy(padded))[..., : size[0], : size[1]]
    assert out.shape == clip.shape
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_without_mfi_a_clip_is_its_frames(name, rng):
    network = small(name)
    clip = torch.rand(2, 3, 3, 16, 24, generator=rng)
    with torch.no_grad():
        frames = torch.stack([network(frame) for frame in clip.unbind(1)], dim=1)
        torch.testing.assert_close(network(clip), frames, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_an_mfi_that_adds_nothing_leaves_the_plain_network(name, rng):
    """Equation 7 with Z_t = 0 is C = Y; all else is the plain network's."""
    with_mfi, plain = small(name, mfi=True), small(name)
    plain.load_state_dict({k: v for k, v in with_mfi.state_dict().items() if not k.startswith("mfi.")})
    clip = torch.rand(2, 3, 3, 16, 24, generator=rng)
    with torch.no_grad():
        assert not torch.allclose(with_mfi(clip), plain(clip), rtol=1e-3, atol=1e-4)
        with_mfi.mfi.fuse.weight.zero_()
        with_mfi.mfi.fuse.bias.zero_()
        torch.testing.assert_close(with_mfi(clip), plain(clip), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_deep_features_interact_by_the_equations(name, rng):
    """Between encoder and decoder there are equations 4 to 7, as NumPy has them."""
    network = small(name, mfi=True)
    state = {k: v.numpy() for k, v in network.mfi.state_dict().items()}
    clip = torch.rand(1, 3, 3, 16, 24, generator=rng)
    with torch.no_grad():
        out = network(clip)[0]
        encoded = [network.encode(frame) for frame in clip.unbind(1)]
        for t in range(3):
            y, ya, yb = (encoded[i].deep[0].numpy() for i in (t, *neighbours(t, 3)))
            deep = torch.from_numpy(kpn_mfi.interaction(state, y, ya, yb))[None].float()
            assert_close(out[t].numpy(), network.decode(encoded[t]._replace(deep=deep))[0].numpy())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("mfi", [False, True])
def test_other_frames_matter_only_with_mfi(name, mfi, rng):
    network = small(name, mfi=mfi)
    clip = torch.rand(1, 3, 3, 16, 16, generator=rng)
    other = clip.clone()
    other[:, 2] = torch.rand(3, 16, 16, generator=rng)
    with torch.no_grad():
        assert torch.allclose(network(clip)[:, 1], network(other)[:, 1], rtol=1e-5, atol=1e-6) is not mfi


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("mfi", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
def test_streaming_is_the_whole_clip(name, mfi, frames, rng):
    network = small(name, mfi=mfi)
    clip = torch.rand(1, frames, 3, 13, 16, generator=rng)
    with torch.no_grad():
        whole = network(clip)
    streamed = torch.stack(list(network.stream(clip.unbind(1))), dim=1)
    torch.testing.assert_close(streamed, whole, atol=1e-5, rtol=1e-5)
    assert context(network) == (2 if mfi else 0)
    assert len(list(convert_clip(network, clip[0]))) == frames


@pytest.mark.parametrize("name", SMALL)
def test_all_parameters_are_used(name, rng):
    network = SMALL[name][0](**SMALL[name][1], mfi=True)
    network(torch.rand(1, 3, 3, 16, 16, generator=rng)).square().mean().backward()
    assert not [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@pytest.mark.parametrize("name", SMALL)
def test_outputs_are_fp32(name):
    assert small(name)(torch.rand(1, 3, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("mfi", [False, True])
def test_a_checkpoint_rebuilds_its_network(name, mfi, tmp_path, rng):
    network = small(name, mfi=mfi)
    arguments = SMALL[name][1] | {"mfi": mfi}
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": name, "arguments": arguments}, "state_dict": state}, tmp_path / "best.ckpt")
    clip = torch.rand(1, 3, 3, 16, 16, generator=rng)
    with torch.no_grad():
        loaded = load_network(name, tmp_path / "best.ckpt")
        torch.testing.assert_close(loaded(clip), network(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 1, 8, 8)], ids=str)
def test_wrong_shapes(name, shape):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\) or \(B, T, 3, H, W\), got"):
        small(name)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HDRUNet(width=7), "width is 7; expected an even number"),
        (lambda: DeepHDR(widths=()), "widths is empty"),
        (lambda: KPNiTM(widths=(8,)), "expected the channels at two sizes or more"),
        (lambda: KPNiTM(kernel_size=4), "odd and positive, got 4"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
