from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.papers.vitm_tc.conftest import WIDTHS, assert_equal
from tests.reference import vitm_tc as reference
from vitm.nets.complexity import count_parameters
from vitm.papers.vitm_tc import ICAM, bands
from vitm.papers.vitm_tc.alignment import FlowCorrection, Fusion, GuidedDeformation

PARTS = {
    "encoder": 1_036_848,
    "correction": 104_690,
    "offset": 198_216,
    "deformable convolution": 20_784,
    "mask and fusion": 41_568 + 415_248,
    "global": 415_200 + 73_920 + 1_195_296,
    "decoder": 911_088 + 1_299,
}


@pytest.fixture
def sample(clip, rng):
    """Key (B, 3, H, W), references (B, R, 3, H, W), flows (B, R, 2, H, W)."""

    def sample(references, height=32, width=48, batch=1):
        frames = clip(references + 1, height, width, batch)
        flows = 4 * torch.randn(batch, references, 2, height, width, generator=rng)
        return frames[:, 0], frames[:, 1:], flows

    return sample


def test_parameters():
    network = ICAM()
    assert count_parameters(network.first) + count_parameters(network.encoder) == PARTS["encoder"]
    assert count_parameters(network.correction) == PARTS["correction"]
    assert count_parameters(network.deformation.offset) == PARTS["offset"]
    assert count_parameters(network.deformation.deform) == PARTS["deformable convolution"]
    assert count_parameters(network.fusion) == PARTS["mask and fusion"]
    assert count_parameters(network.aggregation) == PARTS["global"]
    assert count_parameters(network) == sum(PARTS.values()) == 4_414_157


def test_rows_of_table_2_by_parameters():
    total, parts = 4_414_157, PARTS
    without_global = total - parts["global"]
    without_dcn = without_global - parts["offset"] - parts["deformable convolution"]
    assert count_parameters(ICAM(use_global=False)) == without_global
    assert count_parameters(ICAM(align="corrected", use_global=False)) == without_dcn
    for align in ("flow", "none"):
        assert count_parameters(ICAM(align=align, use_global=False)) == without_dcn - parts["correction"]
    assert count_parameters(ICAM(widths=(32, 64, 128, 192, 256))) == pytest.approx(7.05e6, rel=2e-3)
    assert count_parameters(ICAM(widths=(64, 96, 128, 192, 256))) == pytest.approx(8.10e6, rel=2e-3)


@pytest.mark.parametrize("references", [0, 1, 3])
@torch.no_grad()
def test_icam_is_the_equations(references, make, sample):
    """Equations 1 to 7 from the weights alone, references one after another."""
    network = make(ICAM, widths=WIDTHS)
    key, frames, flows = sample(references)
    out = network.reconstruct(key, frames, flows)
    state = dict(network.state_dict())
    expected = reference.icam(state, key, frames.unbind(1), flows.unbind(1), network.aggregation.swin)
    assert_equal(out.x_linear, expected)
    assert_equal(out.hdr_linear, reference.composite(key, expected))
    assert torch.equal(network(key, frames, flows), out.hdr_linear)
    assert out.flows.shape == flows.shape
    if references:
        first = [reference.stack(x, reference.layers(state, "first")) for x in (key, frames[:, 0])]
        first[1] = first[1] * reference.code_gain(key, frames[:, 0], flows[:, 0])
        corrected = reference.correction(state, *first, flows[:, 0])
        assert_equal(out.flows[:, 0], corrected)


@torch.no_grad()
def test_a_longer_exposure_of_a_reference_changes_nothing(rng):
    """Codes of a reference that is lit half as long are matched, so that the features are the same (no biases)."""
    network = ICAM(WIDTHS)
    for p in network.first.parameters():
        if p.ndim == 1:
            p.zero_()
    key = 0.2 + 0.7 * torch.rand(1, 3, 32, 32, generator=rng)
    flow = torch.zeros(1, 2, 32, 32)
    same, darker = (network.reference(key, scale * key, flow).features for scale in (1, 0.5))
    torch.testing.assert_close(darker, same)
    literal = ICAM(WIDTHS, exposure_match=False)
    torch.testing.assert_close(literal.reference(key, 0.5 * key, flow).features, literal.encode(0.5 * key))


@torch.no_grad()
def test_well_exposed_pixels_are_the_linearised_input(sample):
    key, frames, flows = sample(2)
    out = ICAM(WIDTHS).reconstruct(key, frames, flows)
    well_exposed = (key.numpy().max(1, keepdims=True) <= 0.95).repeat(3, 1)
    assert 0.3 < well_exposed.mean() < 0.99
    expected = key.numpy().astype(np.float64)[well_exposed] ** 2.2
    np.testing.assert_allclose(out.hdr_linear.numpy()[well_exposed], expected, rtol=1e-5)
    assert out.x_linear.min() >= 0
    torch.testing.assert_close(out.flows, flows)  # the correction starts at zero


@torch.no_grad()
def test_an_untrained_network_is_the_linearised_key(sample):
    key, frames, flows = sample(3)
    torch.testing.assert_close(ICAM(WIDTHS).reconstruct(key, frames, flows).x_linear, key**2.2)


@pytest.mark.parametrize("layer", ["correction", "deformation"])
@torch.no_grad()
def test_flow_convention(layer, rng):
    """An integer flow (dx, dy) = (3, -2) takes what is 3 to the right and 2 up; the learned parts start neutral."""
    dx, dy = 3, -2
    x = torch.rand(1, 8, 12, 16, generator=rng)
    flow = torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 12, 16)
    shifted = np.zeros((8, 12, 16), np.float32)
    shifted[:, 2:, :13] = x[0, :, :10, 3:]
    if layer == "correction":
        torch.testing.assert_close(FlowCorrection(8)(x, x, flow), flow, rtol=0, atol=0)
        return
    np.testing.assert_allclose(GuidedDeformation(8)(x, x, flow)[0].numpy(), shifted, atol=1e-5)


@torch.no_grad()
def test_residue_of_the_offsets_is_bounded(rng):
    block = GuidedDeformation(8)
    block.offset[-1].bias[:] = 1e3
    x = torch.rand(1, 8, 5, 6, generator=rng)
    flow = torch.full((1, 2, 5, 6), 0.25)
    predicted = block._predict(x, x, x, flow)
    torch.testing.assert_close(predicted[:, :144], torch.full((1, 144, 5, 6), 10.25))
    torch.testing.assert_close(predicted[:, 144:], torch.ones(1, 72, 5, 6))


@pytest.mark.parametrize("size", [(16, 16), (37, 50), (5, 3), (1, 1), (17, 100)])
@torch.no_grad()
def test_any_size_is_the_frame_padded_by_hand(size, make, sample):
    network = make(ICAM, widths=WIDTHS)
    inputs = sample(1, *size)
    H, W = size
    bottom, right = -H % 16, -W % 16
    mode = "reflect" if bottom < H and right < W else "edge"
    padded = [
        torch.from_numpy(np.pad(x.numpy(), [(0, 0)] * (x.ndim - 2) + [(0, bottom), (0, right)], mode=m))
        for x, m in zip(inputs, (mode, mode, "edge"), strict=True)
    ]
    out = network.reconstruct(*inputs)
    assert out.hdr_linear.shape == inputs[0].shape
    assert out.flows.shape == inputs[2].shape
    for ours, theirs in zip(out, network.reconstruct(*padded), strict=True):
        torch.testing.assert_close(ours, theirs[..., :H, :W])


@torch.no_grad()
def test_any_number_of_references_and_their_order(make, sample):
    network = make(ICAM, widths=WIDTHS)
    key, frames, flows = sample(6)
    outs = [network.reconstruct(key, frames[:, :n], flows[:, :n]) for n in range(7)]
    for n, out in enumerate(outs):
        assert out.hdr_linear.isfinite().all()
        assert out.flows.shape[1] == n
        if n:
            assert not torch.allclose(out.x_linear, outs[n - 1].x_linear, atol=1e-5)
    swapped = network.reconstruct(key, frames.flip(1), flows.flip(1))
    assert not torch.allclose(swapped.x_linear, outs[-1].x_linear, atol=1e-5)


@torch.no_grad()
def test_a_batch_is_its_samples_and_absent_references_are_not_looked_at(make, sample):
    network = make(ICAM, widths=WIDTHS)
    key, frames, flows = sample(3, batch=2)
    frames[0, 1], flows[0, 1] = torch.nan, torch.nan
    present = torch.tensor([[True, False, True], [True, True, True]])
    out = network.reconstruct(key, frames, flows, present)
    for b in range(2):
        single = network.reconstruct(key[b : b + 1], *(t[b : b + 1, present[b]] for t in (frames, flows)))
        torch.testing.assert_close(out.x_linear[b : b + 1], single.x_linear, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out.flows[b : b + 1, present[b]], single.flows, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("align", ["dcn", "corrected", "flow", "none"])
@pytest.mark.parametrize("use_global", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradients_reach_every_parameter(align, use_global, checkpointing, make, sample):
    network = make(ICAM, widths=WIDTHS, align=align, use_global=use_global, checkpointing=checkpointing).train()
    key, frames, flows = sample(2, 16, 32, batch=2)
    out = network.reconstruct(key, frames, flows, torch.tensor([[True, True], [False, True]]))
    out.x_linear.square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().sum() > 0, name


def test_checkpointing_changes_nothing(make, sample):
    inputs = sample(2, 16, 32)
    gradients = []
    network = make(ICAM, widths=WIDTHS)
    for network.checkpointing in (True, False):
        network.zero_grad()
        network(*inputs).sum().backward()
        gradients.append(network.correction.first.weight.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("align", ["flow", "none"])
@torch.no_grad()
def test_what_aligns(align, make, rng):
    network = make(ICAM, widths=WIDTHS, align=align)
    current, other = torch.rand(2, 1, 8, 12, 16, generator=rng)
    flow = 3 * torch.randn(1, 2, 12, 16, generator=rng)
    expected = other if align == "none" else reference.warp(other, flow)
    aligned, out_flow = network.align(current, other, flow)
    torch.testing.assert_close(aligned, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(out_flow, flow)


@torch.no_grad()
def test_bands_change_nothing(make, rng, monkeypatch):
    blocks = (make(FlowCorrection, channels=8), make(GuidedDeformation, channels=8), make(Fusion, channels=8))
    x, y = torch.rand(2, 1, 8, 70, 24, generator=rng)
    flow = 2 * torch.randn(1, 2, 70, 24, generator=rng)
    outs = []
    for pixels in (1, 2**30):
        monkeypatch.setattr(bands, "CPU_BAND_PIXELS", pixels)
        for block, last in zip(blocks, ([flow], [flow], []), strict=True):
            outs.append(block(x, y, *last))
    for ours, whole in zip(outs[:3], outs[3:], strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_bfloat16(make, sample):
    network = make(ICAM, widths=WIDTHS)
    inputs = sample(2)
    with torch.autocast("cpu", torch.bfloat16):
        out = network.reconstruct(*inputs)
    exact = network.reconstruct(*inputs)
    assert all(t.dtype == torch.float32 for t in out)
    assert (out.x_linear - exact.x_linear).abs().mean() < 0.02 * exact.x_linear.mean()
    alpha = reference.alpha(inputs[0]) == 0
    assert torch.equal(out.hdr_linear.where(alpha, 0), exact.hdr_linear.where(alpha, 0))


@pytest.mark.parametrize("value", [0.0, 1.0])
@torch.no_grad()
def test_black_and_clipped_frames(value, sample):
    """Black stays black; what is clipped everywhere is predicted everywhere, and finite."""
    key, frames, flows = sample(2)
    out = ICAM(WIDTHS).reconstruct(torch.full_like(key, value), torch.full_like(frames, value), flows)
    assert out.hdr_linear.isfinite().all()
    torch.testing.assert_close(out.hdr_linear, out.x_linear if value else torch.zeros_like(key))


def test_errors():
    network = ICAM(WIDTHS)
    key, frames, flows = torch.zeros(1, 3, 16, 16), torch.zeros(1, 2, 3, 16, 16), torch.zeros(1, 2, 2, 16, 16)
    with pytest.raises(ValueError, match=r"\(1, 3, 16, 16\), \(1, 2, 3, 16, 16\) and \(1, 1, 2, 16, 16\)"):
        network(key, frames, flows[:, :1])
    with pytest.raises(ValueError, match=r"references \(B, R, 3, H, W\)"):
        network(key, frames[:, 0], flows)
    with pytest.raises(ValueError, match=r"references \(B, R, 3, H, W\)"):
        network(key, F.pad(frames, (0, 1)), flows)
    with pytest.raises(ValueError, match=r"present must be \(1, 2\), got \(2, 1\)"):
        network(key, frames, flows, torch.ones(2, 1))
    with pytest.raises(ValueError, match="align must be one of dcn, corrected, flow, none, fill, got 'both'"):
        ICAM(align="both")
    with pytest.raises(ValueError, match="five levels"):
        ICAM(widths=(8, 8, 8))
