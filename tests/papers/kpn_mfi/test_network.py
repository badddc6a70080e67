from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference import kpn_mfi as reference
from vitm.nets.complexity import count_macs, count_parameters
from vitm.papers.kpn_mfi import KPNMFI, MFI
from vitm.papers.kpn_mfi.mfi import neighbours
from vitm.zoo import load_network

SMALL = {"width": 16, "trunk": (1, 1, 1, 1, 1)}


def small(**changes):
    torch.manual_seed(0)
    return KPNMFI(**(SMALL | changes)).eval()


def test_size_of_the_paper():
    """Table 1: 3.3735 M parameters and 29.0289 G multiply-adds a frame at 256 x 256, each within 0.1 %."""
    network = KPNMFI()
    assert count_parameters(network) == pytest.approx(3.3735e6, rel=1e-3)
    assert count_macs(network, torch.rand(1, 3, 3, 64, 64)) / 3 * 16 == pytest.approx(29.0289e9, rel=1e-3)


def test_official_network_reproduces_the_released_code(shared):
    """Output of the authors' program with random weights, all three frames."""
    golden = np.load(shared / "goldens/KPN_MFI_official_rand_96x128.npz")
    network = load_network("kpn_mfi", shared / "goldens/KPN_MFI_official_randweights_fp16.pt")
    with torch.no_grad():
        out = network(torch.from_numpy(golden["input"])[None])[0]
    assert np.abs(out.numpy() - golden["output"]).max() < 1e-5


@pytest.mark.parametrize("norm", ["mean", "sum", "softmax"])
def test_mfi_is_the_equations(norm):
    torch.manual_seed(1)
    mfi = MFI(8, corr_norm=norm)
    features = [torch.randn(2, 8, 5, 7) for _ in range(3)]
    state = {k: v.numpy() for k, v in mfi.state_dict().items()}
    with torch.no_grad():
        out = mfi(features)
    for t in range(3):
        a, b = neighbours(t, 3)
        for sample in range(2):
            y, ya, yb = (features[i][sample].numpy() for i in (t, a, b))
            expected = reference.interaction(state, y, ya, yb, norm)
            np.testing.assert_allclose(out[t][sample].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_neighbours_of_the_ends():
    """Section 3.2, after equation 7: C_{(t, t+1) -> t-1} and C_{(t-1, t) -> t+1}."""
    assert [neighbours(t, 3) for t in range(3)] == [(1, 2), (0, 2), (0, 1)]
    assert [neighbours(t, 5) for t in range(5)] == [(1, 2), (0, 2), (1, 3), (2, 4), (2, 3)]
    assert [neighbours(t, 2) for t in range(2)] == [(1, 1), (0, 0)]
    assert neighbours(0, 1) == (0, 0)


def test_frames_matter_only_with_mfi():
    clip = torch.rand(1, 3, 3, 32, 32)
    other = clip.clone()
    other[:, 2] = torch.rand(3, 32, 32)
    with torch.no_grad():
        with_mfi, without = small(), small(use_mfi=False)
        assert not torch.allclose(with_mfi(clip)[:, 1], with_mfi(other)[:, 1])
        assert torch.equal(without(clip)[:, 1], without(other)[:, 1])


@pytest.mark.parametrize("size", [(40, 48), (37, 51), (5, 3), (8, 9)])
def test_any_size(size):
    """The output has the input's size; inside, it equals the output for the frame padded by hand."""
    clip = torch.rand(1, 3, 3, *size)
    network = small()
    with torch.no_grad():
        out = network(clip)
        bottom, right = -size[0] % 8, -size[1] % 8
        mode = "reflect" if bottom < size[0] and right < size[1] else "edge"
        padded = np.pad(clip.numpy(), [(0, 0)] * 3 + [(0, bottom), (0, right)], mode=mode)
        expected = network(torch.from_numpy(padded))[..., : size[0], : size[1]]
    assert out.shape == clip.shape
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("variant", ["cosine", "official"])
def test_streaming_is_the_whole_clip(frames, variant):
    clip = torch.rand(1, frames, 3, 24, 20)
    network = small(mfi_variant=variant)
    with torch.no_grad():
        whole = network(clip)
    streamed = torch.stack(list(network.stream(clip.unbind(1))), dim=1)
    torch.testing.assert_close(streamed, whole, atol=1e-6, rtol=0)


def test_bands_equal_the_whole(monkeypatch):
    """Inference works in bands of rows; with gradients it does not: both give the same numbers."""
    clip = torch.rand(1, 3, 3, 128, 24)
    network = small()
    monkeypatch.setattr("vitm.papers.kpn_mfi.bands.BAND_ROWS", 16)
    whole = network(clip)
    with torch.no_grad():
        banded = network(clip)
    torch.testing.assert_close(banded, whole.detach(), atol=1e-6, rtol=0)


def test_black_stays_black_unless_there_is_a_bias_map():
    """Kernels multiply the frame (equation 3), so they cannot lift zeros."""
    clip = torch.zeros(1, 3, 3, 16, 16)
    with torch.no_grad():
        assert small()(clip).abs().max() == 0
        assert small(bias_map=True, kernel_act="none")(clip).abs().max() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"use_sa": False},
        {"use_mfi": False},
        {"mfi_variant": "official"},
        {"fc": "linear"},
        {"upsample": "bicubic"},
        {"kernel_size": 3},
        {"bias_map": True},
        {"width": 24},
        {"trunk": (2, 1, 1, 1, 1)},
    ],
    ids=str,
)
def test_switches_change_the_graph(changes):
    assert count_parameters(small(**changes)) != count_parameters(small())
    with torch.no_grad():
        assert small(**changes)(torch.rand(1, 3, 3, 16, 24)).shape == (1, 3, 3, 16, 24)


@pytest.mark.parametrize("changes", [{"corr_norm": "sum"}, {"corr_norm": "softmax"}, {"anchor": "current"}], ids=str)
def test_switches_change_the_numbers(changes):
    clip = torch.rand(1, 3, 3, 16, 24)
    with torch.no_grad():
        assert not torch.allclose(small(**changes)(clip), small()(clip), atol=1e-7)


def test_figure_1_has_one_skip():
    """Without those at 1/2 and 1/4: what the encoder has there reaches the decoder through the deepest features."""
    network = small(skips="full")
    features = network.encoder(torch.rand(1, 3, 32, 40))
    nothing = features._replace(half=torch.zeros_like(features.half), quarter=torch.zeros_like(features.quarter))
    with torch.no_grad():
        decoder = network.decoder
        assert torch.equal(decoder.coarse(features.deep, features), decoder.coarse(features.deep, nothing))
        decoder.skips = "all"
        assert torch.equal(decoder.coarse(features.deep, nothing), small().decoder.coarse(features.deep, nothing))
        assert not torch.allclose(decoder.coarse(features.deep, features), decoder.coarse(features.deep, nothing))
        assert not torch.allclose(decoder.fine(features.half, features.full), decoder.fine(features.half, 0))


@pytest.mark.parametrize("options", [{}, {"corr_norm": "softmax"}, {"mfi_variant": "official"}], ids=str)
def test_in_double_gradients_are_those_of_differences(options):
    network = KPNMFI(width=8, trunk=(0, 0, 1, 0, 0), kernel_size=3, **options).double()
    clip = torch.rand(1, 3, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert network(clip).dtype == torch.float64
    assert torch.autograd.gradcheck(network, clip, fast_mode=True)


def test_all_parameters_are_used():
    """Every parameter gets a gradient."""
    network = small(kernel_act="none").train()
    network(torch.rand(1, 3, 3, 16, 16)).square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.slow
def test_compiled_equals_eager():
    clip = torch.rand(1, 3, 3, 16, 16)
    network = small()
    expected = network(clip).detach()
    network.compile(backend="aot_eager")
    torch.testing.assert_close(network(clip).detach(), expected, atol=1e-6, rtol=0)


def test_errors():
    with pytest.raises(ValueError, match="odd"):
        KPNMFI(kernel_size=4)
    with pytest.raises(ValueError, match="multiple of 8"):
        KPNMFI(width=12)
    with pytest.raises(ValueError, match="official"):
        KPNMFI(sequential_update=True)
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\)"):
        small()(torch.rand(1, 3, 16, 16))
