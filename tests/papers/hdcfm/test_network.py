from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.reference import hdcfm as reference
from vitm.nets.complexity import count_macs, count_parameters
from vitm.papers.hdcfm import HDCFM
from vitm.papers.hdcfm.layers import DDF, DYCT, ContextBlock
from vitm.zoo import load_network

VARIANTS = [
    {},
    {"dyct_order": "paper"},
    {"modulation": "paper"},
    {"kernels": "paper"},
    {"pooling": "attention"},
    {"dyct_order": "paper", "modulation": "paper", "kernels": "paper", "pooling": "attention"},
]
ROWS = [
    {"dyct": False, "context": False, "local_mod": False},
    {"context": False, "local_mod": False},
    {"local_mod": False},
    {"global_mod": False},
    {"dyct": False},
    {"dyct": False, "pooling": "attention"},
    {"global_mod": False, "local_mod": False},
    {"global_mod": False, "local_mod": False, "dyct": False, "context": False},
]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_equal(out: Tensor, expected: Tensor, tolerance: float) -> None:
    """Up to a share of the largest value."""
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= tolerance * expected.abs().max()


def lively(**changes) -> HDCFM:
    """A network all of whose parts matter: in an untrained one gates are 1/2 and filters all but erase features."""
    torch.manual_seed(0)
    network = HDCFM(**changes).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ContextBlock):
                module.transform[-1].weight.normal_(0, 0.5)
            elif isinstance(module, DDF):
                module.spatial[-1].bias.add_(1)
                module.channel[-1].bias.add_(2 / 9)
    return network


@pytest.mark.parametrize("size", ["96x128", "135x240"])
def test_reproduces_the_released_network(shared, size):
    golden = {k: torch.from_numpy(v) for k, v in np.load(shared / f"goldens/HDCFM_{size}.npz").items()}
    network = load_network("hdcfm", shared / "weights/hdcfm_official.pth.tar")
    with torch.no_grad():
        strips = network(golden["input"])
        vector, local = network.estimator(golden["input"])
    for out in (strips, network(golden["input"]).detach()):
        torch.testing.assert_close(out, golden["output"], atol=1e-6, rtol=0)
    torch.testing.assert_close(vector.flatten(1), golden["global_vec"], atol=1e-6, rtol=0)
    torch.testing.assert_close(local, golden["local_map"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_is_the_description(changes):
    network = lively(**changes).double()
    sdr = torch.rand(1, 3, 35, 41, dtype=torch.float64)
    expected = reference.Network({k: v.numpy() for k, v in network.state_dict().items()}, **changes)(sdr[0].numpy())
    assert_equal(network(sdr)[0].detach(), torch.from_numpy(expected), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [7, 20])
@pytest.mark.parametrize("changes", VARIANTS + ROWS, ids=str)
def test_bands_equal_whole_maps(changes, rows, monkeypatch):
    """Without gradients the network works in bands, with gradients it does not."""
    network = lively(**changes).double()
    sdr = torch.rand(2, 3, 41, 47, dtype=torch.float64)
    before = sdr.clone()
    expected = network(sdr).detach()
    monkeypatch.setattr("vitm.papers.hdcfm.bands.pixels_at_once", lambda device: 47 * rows)
    with torch.inference_mode():
        assert_equal(network(sdr), expected, 1e-10)
    assert torch.equal(sdr, before)


def test_threads_change_nothing():
    network, sdr = lively(), torch.rand(1, 3, 301, 310)
    with torch.no_grad():
        expected = network(sdr)
        torch.set_num_threads(3)
        assert_equal(network(sdr), expected, 1e-6)


@pytest.mark.slow
def test_frozen_networks_work_in_bands_too(extra_peak):
    network = lively().requires_grad_(False)
    sdr = torch.rand(1, 3, 256, 320)
    feature_map = 64 * sdr[0, 0].nbytes / 2**20
    assert extra_peak(lambda: network(sdr)) < 2 * feature_map
    assert extra_peak(lambda: network(sdr.clone().requires_grad_())) > 8 * feature_map


@pytest.mark.slow
def test_memory(extra_peak):
    """One feature map of 64 channels, the gap and the bands beside it, 12 maps of conditions."""
    network = lively()
    sdr = torch.rand(1, 3, 512, 640)
    feature_map = 64 * sdr[0, 0].nbytes / 2**20
    with torch.no_grad():
        assert extra_peak(lambda: network(sdr)) < 1.5 * feature_map


PARTS = {  # the specification's table of parameters
    "estimator": 28_032,
    "head": 774,
    "global": 1_792 + 42,
    "local": 1_792,
    "dyct": 44_265,
    "context": 18_600,
    "convolutions": 256 + 4_160 + 195,
}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"dyct": False, "context": False, "local_mod": False}, "estimator head global convolutions"),
        ({"context": False, "local_mod": False}, "estimator head global convolutions dyct"),
        ({"local_mod": False}, "estimator head global convolutions dyct context"),
        ({"global_mod": False}, "estimator head local convolutions dyct context"),
        ({}, "estimator head head global local convolutions dyct context"),
    ],
    ids=["M0", "M1", "M2", "M1+M2+M3", "M4"],
)
def test_parameters_of_table_2(changes, parts):
    assert count_parameters(HDCFM(**changes)) == sum(PARTS[part] for part in parts.split())


def test_parameters_of_the_paper():
    """Table 1: 100.63 K; the released network has 52 more."""
    assert count_parameters(HDCFM()) == 100_682
    assert count_parameters(DYCT(64)) == 12_573
    assert count_parameters(DDF(16)) == 780


@pytest.mark.parametrize("changes", [v for v in VARIANTS + ROWS if v], ids=str)
def test_switches_change_the_numbers(changes):
    sdr = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        assert not torch.allclose(lively(**changes)(sdr), lively()(sdr), atol=1e-6)


def test_dyct_filters_then_gates():
    torch.manual_seed(0)
    dyct, x = DYCT(64), torch.rand(2, 64, 9, 7)
    assert isinstance(dyct[0], DDF)
    assert isinstance(dyct[1], ContextBlock)
    torch.testing.assert_close(dyct(x), dyct[0](x) / 2)  # an untrained gate is 1/2


def test_all_parameters_are_used():
    network = lively().train()
    network(torch.rand(2, 3, 33, 40)).square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_dropout_only_in_training():
    network, sdr = lively(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(sdr), network(sdr))
        network.train()
        assert not torch.equal(network(sdr), network(sdr))


def test_results_do_not_depend_on_the_batch():
    network, sdr = lively(), torch.rand(3, 3, 40, 36)
    with torch.no_grad():
        assert_equal(network(sdr), torch.cat([network(s[None]) for s in sdr]), 1e-6)


def test_memory_format_changes_nothing():
    network, sdr = lively(), torch.rand(2, 3, 40, 36)
    expected = network(sdr).detach()
    network, sdr = network.to(memory_format=torch.channels_last), sdr.contiguous(memory_format=torch.channels_last)
    assert_equal(network(sdr).detach(), expected, 1e-5)
    with torch.no_grad():
        assert_equal(network(sdr), expected, 1e-5)


def test_counts_on_the_meta_device():
    """Multiply-adds of a pixel of the trunk: five filters of 9, convolutions 3-64-64-3, four local heads 6-64."""
    network = HDCFM().to("meta")
    macs = count_macs(network, torch.empty(1, 3, 2160, 3840, device="meta")) / (2160 * 3840)
    trunk = 5 * 9 * 65 + 64 * 4 + 64 * 65 + 3 * 65 + 4 * 64 * 7
    assert trunk < macs < 1.1 * trunk


@pytest.mark.slow
def test_compiled_equals_eager():
    torch._dynamo.reset()
    sdr = torch.rand(1, 3, 40, 48)
    eager, compiled = lively(), lively()
    compiled.compile(backend="aot_eager", dynamic=False)
    with torch.no_grad():
        assert_equal(compiled(sdr), eager(sdr), 1e-5)
    eager(sdr).square().mean().backward()
    compiled(sdr).square().mean().backward()
    for ours, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        HDCFM()(torch.rand(3, 64, 64))
    with pytest.raises(ValueError, match=">= 32"):
        HDCFM()(torch.rand(1, 3, 31, 64))
    with pytest.raises(ValueError, match="'released' or 'paper', got 'official'"):
        HDCFM(kernels="official")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("gradients", [True, False])
def test_cuda(gradients):
    network, sdr = lively(), torch.rand(2, 3, 72, 100)
    expected = network(sdr).detach()
    with torch.set_grad_enabled(gradients):
        out = network.cuda()(sdr.cuda()).detach().cpu()
    assert_equal(out, expected, 1e-2)  # TF32 convolutions


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_step(dtype):
    network = HDCFM().cuda().train()
    sdr, hdr_pq = torch.rand(2, 2, 3, 64, 64, device="cuda")
    with torch.autocast("cuda", dtype=dtype):
        loss = nn.functional.l1_loss(network(sdr).float(), hdr_pq)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
