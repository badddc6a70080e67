"""Single HDR: curves and histogram maps in NumPy, the stages one after another, its losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.baselines.test_frames import randomised
from vitm.baselines.sequence_task import SingleHDRTask
from vitm.baselines.single_hdr import (
    Hallucination,
    Linearization,
    SingleHDR,
    UNet,
    histogram_maps,
    look_up,
    read_emor,
    rising,
)

SMALL = {"widths": (4, 6), "vgg_widths": (4, 4, 4, 4, 4)}


def test_curves_never_fall_and_are_looked_up(rng: torch.Generator) -> None:
    raw = torch.randn(2, 50, generator=rng).cumsum(1)
    raw[1] = torch.linspace(0, 3, 50) ** 2  # rises already: only its ends change
    curve = rising(raw)
    for given, got in zip(raw.double().numpy(), curve.double().numpy(), strict=True):
        steps = np.diff(given)
        steps = steps + max(0.0, -steps.min())
        np.testing.assert_allclose(got, np.r_[0, np.cumsum(steps) / steps.sum()], atol=1e-5)
    assert bool((curve.diff(dim=1) >= -1e-6).all())
    code = torch.rand(2, 3, 6, 7, generator=rng)
    code[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    expected = [np.interp(c.numpy(), np.linspace(0, 1, 50), g.numpy()) for c, g in zip(code, curve, strict=True)]
    np.testing.assert_allclose(look_up(curve, code), np.stack(expected), atol=1e-5)
    code.requires_grad_()
    look_up(curve, code).sum().backward()
    assert code.grad is not None
    assert float(code.grad.abs().max()) > 0


def test_histogram_maps() -> None:
    code = torch.tensor([0.0, 0.125, 0.6, 1.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    maps = histogram_maps(code, 4)
    assert maps.shape == (1, 15, 1, 4)
    torch.testing.assert_close(maps[0, ::3, 0].T, torch.tensor([
        [1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 0.6, 0.4, 0], [0, 0, 0, 0, 1],
    ]))  # fmt: skip


def test_a_new_linearization_is_the_mean_curve_and_a_file_replaces_it(rng: torch.Generator, tmp_path: Path) -> None:
    code = torch.rand(1, 3, 40, 48, generator=rng)
    fresh = Linearization().eval()
    with torch.no_grad():
        torch.testing.assert_close(fresh(code)[0], torch.linspace(0, 1, 1024) ** 2.2, rtol=0, atol=1e-4)
    x = np.linspace(0, 1, 1024)
    rows = {"B": x, "g0": x**1.8} | {f"hinv({i + 1})": np.sin((i + 1) * np.pi * x) for i in range(11)}
    text = "".join(
        f"{name} =\n" + "\n".join(" ".join(f"{v:.6e}" for v in four) for four in values.reshape(-1, 4)) + "\n"
        for name, values in rows.items()
    )
    (tmp_path / "invemor.txt").write_text(text)
    mean, basis = read_emor(tmp_path / "invemor.txt")
    np.testing.assert_allclose(mean, x**1.8, atol=1e-5)
    np.testing.assert_allclose(basis[10], np.sin(11 * np.pi * x), atol=1e-5)
    task = SingleHDRTask(**SMALL, pretrained=False, perceptual_weight=0, emor=str(tmp_path / "invemor.txt"))
    assert task.arguments["emor"] is None
    again = SingleHDR(**task.arguments)
    again.load_state_dict(task.network.state_dict())
    np.testing.assert_allclose(again.linearization.mean, x**1.8, atol=1e-5)
    (tmp_path / "invemor.txt").write_text("g0 =\n0 1\n")
    with pytest.raises(ValueError, match=r"is no invemor\.txt: expected 1024 values each"):
        read_emor(tmp_path / "invemor.txt")


def test_stages(rng: torch.Generator) -> None:
    network = SingleHDR(**SMALL).eval()
    network.dequantization = randomised(UNet(3, (4, 6)), rng)
    network.refinement = randomised(UNet(9, (4, 6)), rng)
    ldr = (1.4 * torch.rand(2, 3, 32, 64, generator=rng)).clamp(0, 1)
    with torch.no_grad():
        stages = network.stages(ldr)
        deq = ldr + network.dequantization(ldr).tanh()
        torch.testing.assert_close(stages.dequantized, deq)
        linear = deq.clamp(0, 1) ** 2.2
        torch.testing.assert_close(stages.linear, linear, rtol=0, atol=1e-3)
        alpha = ((stages.linear.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
        filled = stages.linear + alpha * network.hallucination(stages.linear)
        torch.testing.assert_close(stages.filled, filled)
        refined = F.relu(filled + network.refinement(torch.cat([deq, stages.linear, filled], 1)))
        torch.testing.assert_close(network(ldr), refined)
        odd = network(ldr[..., :17, :33])
    assert odd.shape == (2, 3, 17, 33)
    assert float(odd.min()) >= 0
    with pytest.raises(ValueError, match=r"expected ldr .*got \(1, 1, 8, 8\)"):
        network(torch.zeros(1, 1, 8, 8))


def test_the_last_size_in_bands_is_the_whole(rng: torch.Generator) -> None:
    """Three bands of half the height, of 64 rows at most, so that large frames are never enlarged whole."""
    network = randomised(Hallucination((3, 4, 4, 4, 4)), rng)
    linear = torch.rand(1, 3, 320, 32, generator=rng)
    whole = network(linear).detach()
    with torch.no_grad():
        torch.testing.assert_close(network(linear), whole, rtol=1e-5, atol=1e-6)


def test_unet(rng: torch.Generator) -> None:
    """Two sizes, layer by layer."""
    network = randomised(UNet(3, (4, 6)), rng)
    state = network.state_dict()
    x = torch.rand(1, 3, 12, 16, generator=rng)

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        w = state[f"{name}.weight"]
        return F.conv2d(x, w, state[f"{name}.bias"], padding=w.shape[2] // 2)

    def act(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(conv(name, x), 0.1)

    full = act("down.0.1.0", act("down.0.0.0", x))
    half = act("down.1.1.0", act("down.1.0.0", F.avg_pool2d(full, 2)))
    up = act("up.0.0", F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False))
    with torch.no_grad():
        expected = conv("last", act("merge.0.0", torch.cat([up, full], 1)))
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    assert [m.kernel_size[0] for m in UNet(3, (4, 4, 4)).down.modules() if hasattr(m, "kernel_size")] == [
        7,
        7,
        5,
        5,
        3,
        3,
    ]


def test_size() -> None:
    with torch.device("meta"):
        network = SingleHDR()
        assert sum(p.numel() for p in network.parameters()) == 37_702_196
        # ResNet-18 has 11,689,512 with 3 channels in and 1,000 classes out
        resnet = sum(p.numel() for p in network.linearization.parameters())
    assert resnet == 11_689_512 - 513 * 1000 + 513 * 11 + (102 - 3) * 64 * 49


def test_losses(rng: torch.Generator) -> None:
    task = SingleHDRTask(**SMALL, pretrained=False, perceptual_weight=0)
    task.prepare_fit()
    task.eval()
    light = torch.rand(2, 3, 32, 32, generator=rng) * 2
    ldr = ((light.clamp(0, 1) ** (1 / 2.2)) * 255).round() / 255
    loss = task.loss(ldr, light)
    s = task.network.stages(ldr)
    log = {k: (v + 1 / 255).log() for k, v in {"fill": s.filled, "out": s.refined, "true": light}.items()}
    expected = (s.dequantized - light.clamp(0, 1) ** (1 / 2.2)).square().mean()
    expected = expected + 10 * (s.linear - light.clamp(0, 1)).square().mean()
    expected = expected + (s.curve - torch.linspace(0, 1, 1024) ** 2.2).square().mean()
    expected = expected + sum((log[k] - log["true"]).abs().mean() for k in ("fill", "out"))
    f = log["fill"]
    expected = expected + 0.1 * ((f[:, :, 1:] - f[:, :, :-1]).abs().mean() + (f[..., 1:] - f[..., :-1]).abs().mean())
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
