"""BasicVSR++: propagation and alignment written out, streaming, the layout of released files, odd sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

from tests.baselines.test_frames import randomised
from vitm.baselines.basicvsr_pp import BasicVSRPP
from vitm.baselines.sequence_task import BasicVSRPPTask
from vitm.zoo import load_network


def flow_between(source: Tensor, target: Tensor) -> Tensor:
    """A smooth stand-in for a flow of a pixel or two, which depends on both frames and on their order."""
    both = F.avg_pool2d(torch.cat([source[:, :1] - 2 * target[:, :1], source[:, 1:2] + target[:, 2:]], 1), 3, 1, 1)
    return 2 * both


def sample(x: Tensor, flow: Tensor) -> Tensor:
    """x at p + flow(p), the border repeated."""
    height, width = x.shape[2:]
    y, x_right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([(x_right + flow[:, 0]) / (width - 1), (y + flow[:, 1]) / (height - 1)], -1) * 2 - 1
    return F.grid_sample(x, grid, padding_mode="border", align_corners=True)


def reference(state: dict[str, Tensor], ldr: Tensor, blocks: int, groups: int = 16) -> Tensor:
    """The paper's Figure 2, frame by frame with lists; sizes are multiples of 4."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1)

    def trunk(name: str, x: Tensor, n: int) -> Tensor:
        x = F.leaky_relu(conv(f"{name}.0", x), 0.1)
        for i in range(n):
            x = x + conv(f"{name}.2.{i}.conv2", F.relu(conv(f"{name}.2.{i}.conv1", x)))
        return x

    frames = [*ldr.unbind(1)]
    n = len(frames)
    small = [F.avg_pool2d(x, 4) for x in frames]
    g = [
        trunk("extract.4", F.leaky_relu(conv("extract.2", F.leaky_relu(conv("extract.0", x, 2), 0.1), 2), 0.1), 5)
        for x in frames
    ]
    states: dict[str, list[Tensor]] = {}
    for name in ("backward_1", "forward_1", "backward_2", "forward_2"):
        step = 1 if name.startswith("backward") else -1
        f: dict[int, Tensor] = {}
        for i in range(n)[::-1] if step == 1 else range(n):
            a = torch.zeros_like(g[i])
            if i + step in f:
                flow1 = flow_between(small[i], small[i + step])
                flow2, far = torch.zeros_like(flow1), torch.zeros_like(a)
                if i + 2 * step in f:
                    flow2 = flow1 + sample(flow_between(small[i + step], small[i + 2 * step]), flow1)
                    far = f[i + 2 * step]
                x = torch.cat([sample(f[i + step], flow1), g[i], sample(far, flow2), flow1, flow2], 1)
                for layer in (0, 2, 4):
                    x = F.leaky_relu(conv(f"align.{name}.offset.{layer}", x), 0.1)
                x = conv(f"align.{name}.offset.6", x)
                o, m = 10 * x[:, : 18 * groups].tanh(), x[:, 18 * groups :].sigmoid()
                for pair in range(9 * groups):  # (dy, dx) of a tap; the first half of the groups sees the nearer frame
                    flow = flow1 if pair < 9 * groups // 2 else flow2
                    o[:, 2 * pair] += flow[:, 1]
                    o[:, 2 * pair + 1] += flow[:, 0]
                w, b = state[f"align.{name}.deform.weight"], state[f"align.{name}.deform.bias"]
                a = deform_conv2d(torch.cat([f[i + step], far], 1), o, w, b, padding=1, mask=m)
            inputs = torch.cat([g[i], *(s[i] for s in states.values()), a], 1)
            f[i] = a + trunk(f"backbone.{name}", inputs, blocks)
        states[name] = [f[i] for i in range(n)]
    out = []
    for i, frame in enumerate(frames):
        x = trunk("reconstruct", torch.cat([g[i], *(s[i] for s in states.values())], 1), 5)
        for up in (0, 1):
            x = F.leaky_relu(F.pixel_shuffle(conv(f"up.{up}", x), 2), 0.1)
        x = (conv("tail.2", F.leaky_relu(conv("tail.0", x), 0.1)) + frame).relu() ** 2.2
        alpha = ((frame.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
        out.append((1 - alpha) * frame**2.2 + alpha * x)
    return torch.stack(out, 1)


@pytest.fixture
def network(rng: torch.Generator) -> BasicVSRPP:
    made = randomised(BasicVSRPP(width=8, blocks=1, flow=flow_between), rng)
    assert isinstance(made, BasicVSRPP)
    return made


def bright(rng: torch.Generator, *shape: int) -> Tensor:
    return (1.6 * torch.rand(shape, generator=rng)).clamp(0, 1)


def test_second_order_propagation(network: BasicVSRPP, rng: torch.Generator) -> None:
    ldr = bright(rng, 1, 4, 3, 24, 32)
    with torch.no_grad():
        expected = reference(network.state_dict(), ldr, blocks=1)
        torch.testing.assert_close(network(ldr), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_a_stream_is_the_clip(network: BasicVSRPP, rng: torch.Generator, tmp_path: Path) -> None:
    ldr = (bright(rng, 1, 3, 3, 18, 21) * 255).round() / 255
    whole = network(ldr).detach()
    assert whole.shape == ldr.shape
    unclipped = (ldr.amax(2, keepdim=True) <= 0.95).expand_as(ldr)
    torch.testing.assert_close(whole[unclipped], ldr[unclipped] ** 2.2)
    for exact, tolerance in ((True, 1e-4), (False, 3e-2)):
        frames = torch.stack([*network.stream(ldr.unbind(1), exact=exact, folder=tmp_path)], 1)
        torch.testing.assert_close(frames, whole, rtol=tolerance, atol=tolerance * float(whole.max()))
    assert not [*tmp_path.iterdir()]
    assert [*network.stream([])] == []
    assert next(network.stream([ldr[:, 0]])).shape == (1, 3, 18, 21)
    with pytest.raises(ValueError, match=r"of one size, got \(1, 3, 9, 9\) as frame 2"):
        [*network.stream([ldr[:, 0], torch.zeros(1, 3, 9, 9)])]
    with pytest.raises(ValueError, match=r"T >= 1, got \(3, 18, 21\)"):
        network(ldr[0, 0])


def test_size_as_published() -> None:
    """The paper has 7.32 M for x4 with SPyNet's 1,440,060: there, one convolution reads frames instead of three."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in BasicVSRPP().parameters())
    assert parameters == 5_956_483
    assert (parameters - 2 * (9 * 64 * 64 + 64) + 1_440_060) / 1e6 == pytest.approx(7.32, abs=0.005)


def test_released_layout(tmp_path: Path) -> None:
    """Names as in mmagic's files, written from ours backwards."""
    torch.manual_seed(0)
    network = BasicVSRPP(width=8, blocks=2)
    released = {"step_counter": torch.zeros(1), "generator.spynet.mean": torch.zeros(3)}
    for key, value in network.state_dict().items():
        key = key.replace("align.", "deform_align.").replace(".offset.", ".conv_offset.").replace(".deform.", ".")
        for part in ("extract.4", "backbone.backward_1", "backbone.forward_1", "backbone.backward_2"):
            key = key.replace(f"{part}.", f"{part}.main.")
        key = key.replace("backbone.forward_2.", "backbone.forward_2.main.").replace(
            "reconstruct.", "reconstruction.main."
        )
        key = key.replace("extract.", "feat_extract.").replace("tail.0", "conv_hr").replace("tail.2", "conv_last")
        key = key.replace("up.0", "upsample1.upsample_conv").replace("up.1", "upsample2.upsample_conv")
        released[f"generator.{key}"] = value
    assert "generator.feat_extract.4.main.2.0.conv1.weight" in released
    assert "generator.deform_align.backward_1.weight" in released
    torch.save(released, tmp_path / "basicvsr.pth")
    loaded = load_network("basicvsr_pp", tmp_path / "basicvsr.pth")
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in network.state_dict().items())
    assert loaded.state_dict().keys() == network.state_dict().keys()


def test_loss_and_arguments(rng: torch.Generator) -> None:
    task = BasicVSRPPTask(width=8, blocks=1, flow="zero")
    assert task.arguments["flow_weights"] is None
    ldr = bright(rng, 1, 2, 3, 16, 16)
    linear = ldr**2.2 * (1 + torch.rand(ldr.shape, generator=rng))
    codes = [(1 + 5000 * x).log() / torch.tensor(5001.0).log() for x in (task.network(ldr), linear)]
    torch.testing.assert_close(task.loss(ldr, linear), (codes[0] - codes[1]).abs().mean(), rtol=1e-3, atol=1e-5)
    task.loss(ldr, linear).backward()
    silent = {n for n, p in task.network.named_parameters() if p.grad is None}
    assert all(n.startswith("align.") for n in silent) or not silent


def test_a_frame_counts_what_a_longer_clip_takes_more() -> None:
    """Against PyTorch's own counter, which leaves out biases and LeakyReLU, on longer clips."""
    task = BasicVSRPPTask(width=8, blocks=1, flow="zero")
    flops = []
    for frames in (4, 5):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            task.network(torch.rand(1, frames, 3, 64, 64))
        flops.append(counter.get_total_flops())
    assert task.macs_per_frame() == pytest.approx((flops[1] - flops[0]) / 2 * 16, rel=0.02)
