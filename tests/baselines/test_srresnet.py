from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.baselines.srresnet import SRResNet


def from_state(state: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The published network's layers by their names, for even heights and widths."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1)

    x = F.relu(conv("conv_first", x, 2))
    for i in range(blocks):
        x = x + conv(f"recon_trunk.{i}.conv2", F.relu(conv(f"recon_trunk.{i}.conv1", x)))
    B, C, H, W = (y := conv("upconv", x)).shape
    y = y.view(B, C // 4, 2, 2, H, W).permute(0, 1, 4, 2, 5, 3).reshape(B, C // 4, 2 * H, 2 * W)
    return conv("conv_last", F.relu(conv("HRconv", F.relu(y))))


@pytest.mark.parametrize(("frames", "parameters"), [(1, 1_369_859), (5, 1_376_771)])
def test_parameters(frames: int, parameters: int) -> None:
    """HDRTVNet's ResNet, and DSLNet's MResNet of five frames."""
    assert sum(p.numel() for p in SRResNet(frames).parameters()) == parameters


@pytest.mark.parametrize("frames", [1, 3])
def test_layers(frames: int, rng: torch.Generator) -> None:
    network = SRResNet(frames, width=8, blocks=2).eval()
    state = {name: 10 * torch.randn(p.shape, generator=rng) / p[0].numel() for name, p in network.state_dict().items()}
    network.load_state_dict(state)
    sdr = torch.rand(2, *([frames] if frames > 1 else []), 3, 10, 14, generator=rng)
    with torch.no_grad():
        out, expected = network(sdr), from_state(state, sdr.reshape(2, 3 * frames, 10, 14), 2)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (8, 5), (7, 9)], ids=str)
def test_any_size(size: tuple[int, int], rng: torch.Generator) -> None:
    sdr = torch.rand(1, 3, *size, generator=rng)
    network = SRResNet(width=8, blocks=1)
    assert network(sdr).shape == sdr.shape
    assert network(sdr).dtype == torch.float32


def test_frames_are_not_interchangeable(rng: torch.Generator) -> None:
    clip = torch.rand(1, 5, 3, 8, 8, generator=rng)
    network = SRResNet(5, width=8, blocks=1)
    with torch.no_grad():
        assert not torch.allclose(network(clip), network(clip.flip(1)), rtol=1e-3, atol=0)


def test_initialisation() -> None:
    """He's normal (fan in, ReLU) times 0.1; biases 0."""
    torch.manual_seed(0)
    network = SRResNet(blocks=2)
    for name, p in network.named_parameters():
        expected = 0.1 * (2 / p[0].numel()) ** 0.5 if name.endswith("weight") else 0.0
        assert float(p.detach().std()) == pytest.approx(expected, rel=0.1), name


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, 3, H, W\) for frames=1, got \(1, 5, 3, 8, 8\)"):
        SRResNet(width=8, blocks=1)(torch.zeros(1, 5, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(B, 5, 3, H, W\) for frames=5, got \(1, 3, 3, 8, 8\)"):
        SRResNet(5, width=8, blocks=1)(torch.zeros(1, 3, 3, 8, 8))


def test_one_frame_may_come_as_a_clip():
    made = SRResNet(width=8, blocks=1)
    sdr = torch.rand(2, 3, 12, 14)
    assert torch.equal(made(sdr), made(sdr[:, None]))
