"""Deep VITM: its 3D convolutions, bands, streaming, its two losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.baselines.test_frames import randomised
from vitm.baselines import deep_vitm
from vitm.baselines.deep_vitm import DeepVITM, luminance_and_color_loss
from vitm.baselines.sequence_task import DeepVITMTask


def from_state(state: dict[str, Tensor], ldr: Tensor) -> Tensor:
    """Two sizes, with PyTorch's 3D convolution."""

    def pair(name: str, x: Tensor, repeats: int) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, repeats, repeats), mode="replicate")
        for layer in ("0", "2"):
            w, b = state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"]
            kernel = w.unflatten(1, (3, x.shape[1])).transpose(1, 2)  # (outputs, time, inputs, ...)
            x = F.leaky_relu(F.conv3d(x, kernel, b, padding=(0, 1, 1)), 0.1)
        return x

    code = ldr.transpose(1, 2)
    full = pair("encoder.0", torch.cat([code, code**2.2], 1), 2)
    half = pair("encoder.1", F.avg_pool3d(full, (1, 2, 2)), 2)
    x = pair("decoder.0", torch.cat([F.interpolate(half, scale_factor=(1, 2, 2)), full], 1), 0)[:, :, 0]
    middle = ldr[:, 2]
    x = (F.conv2d(x, state["last.weight"], state["last.bias"], padding=1) + middle).relu() ** 2.2
    alpha = ((middle.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
    return (1 - alpha) * middle**2.2 + alpha * x


def bright(rng: torch.Generator, *shape: int) -> Tensor:
    return (1.6 * torch.rand(shape, generator=rng)).clamp(0, 1)


def test_layers(rng: torch.Generator) -> None:
    network = randomised(DeepVITM((4, 6)), rng)
    ldr = bright(rng, 2, 5, 3, 12, 16)
    with torch.no_grad():
        expected = from_state(network.state_dict(), ldr)
        torch.testing.assert_close(network(ldr), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_bands_and_streams(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised(DeepVITM((2, 3, 4)), rng)
    ldr = bright(rng, 1, 5, 3, 203, 9)
    whole = network(ldr).detach()
    bands = []
    real = deep_vitm.map_rows
    monkeypatch.setattr(deep_vitm, "map_rows", lambda *args, **k: bands.append(k) or real(*args, **k | {"band": 44}))
    with torch.no_grad():
        torch.testing.assert_close(network(ldr), whole, rtol=1e-4, atol=1e-5 * float(whole.max()))
        frames = [*network.stream(ldr.unbind(1))]
        torch.testing.assert_close(frames[2], network(ldr))
        start = ldr[:, [0, 0, 0, 1, 2]]
        torch.testing.assert_close(frames[0], network(start))
    assert len(bands) == 8
    assert len(frames) == 5


def test_bands_without_over_exposure_are_not_computed(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of what would be computed counts there, by equation 1: the result is that of the whole."""
    network = randomised(DeepVITM((2, 3)), rng)
    ldr = 0.9 * torch.rand(1, 5, 3, 200, 8, generator=rng)
    ldr[:, 2, :, 150:160] = 1
    whole = network(ldr).detach()
    heights = []
    real = network._residual
    monkeypatch.setattr(network, "_residual", lambda x: heights.append(x.shape[-2]) or real(x))
    with torch.no_grad():
        torch.testing.assert_close(network(ldr), whole, rtol=1e-4, atol=1e-5 * float(whole.max()))
    assert 0 < sum(heights) < 120
    monkeypatch.setattr(network, "_residual", real)
    with torch.no_grad():
        assert not torch.equal(network(ldr)[..., 150:160, :], ldr[:, 2, :, 150:160] ** 2.2)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_other_radii_and_sizes(radius: int, rng: torch.Generator) -> None:
    network = randomised(DeepVITM((2, 3, 4), radius=radius), rng)
    ldr = torch.rand(1, 2 * radius + 1, 3, 5, 7, generator=rng) * 0.95
    with torch.no_grad():
        torch.testing.assert_close(network(ldr), ldr[:, radius] ** 2.2)
    with pytest.raises(ValueError, match=rf"\(B, {2 * radius + 1}, 3, H, W\), got \(1, 3, 8, 8\)"):
        network(torch.zeros(1, 3, 8, 8))


def test_size() -> None:
    assert sum(p.numel() for p in DeepVITM().parameters()) == 798_171
    with pytest.raises(ValueError, match="two sizes or more"):
        DeepVITM((8,))


def test_losses(rng: torch.Generator) -> None:
    """Luminance in mu-law; colour as an angle, which brightness does not change."""
    x, y = torch.rand(2, 3, 4, 4, generator=rng), torch.rand(2, 3, 4, 4, generator=rng)
    luma = [(torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1) * t).sum(1) for t in (x, y)]
    codes = [(1 + 5000 * t).log() / torch.tensor(5001.0).log() for t in luma]
    cosine = (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))
    expected = (codes[0] - codes[1]).abs().mean() + 0.5 * (1 - cosine).mean()
    torch.testing.assert_close(luminance_and_color_loss(x, y, 0.5), expected)
    colors = luminance_and_color_loss(2 * y, y, 1.0) - luminance_and_color_loss(2 * y, y, 0.0)
    assert float(colors) == pytest.approx(0, abs=1e-6)
    task = DeepVITMTask(widths=(2, 3), radius=1)
    with pytest.raises(ValueError, match=r"windows of 3 frames, got 5: set data\.schedule\.window"):
        task.loss(torch.rand(1, 5, 3, 8, 8), torch.rand(1, 5, 3, 8, 8))


def test_a_window_counts_for_one_frame() -> None:
    """Against PyTorch's own counter, which leaves out biases and LeakyReLU."""
    task = DeepVITMTask(widths=(8, 16))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        task.network(torch.ones(1, 5, 3, 64, 64))
    assert task.macs_per_frame() == pytest.approx(counter.get_total_flops() / 2 * 16, rel=0.01)
