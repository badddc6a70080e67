"""HDRCNN against its layers written out, VGG16 of torchvision, and its loss in SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchvision.models.vgg import make_layers

from tests.baselines.test_frames import randomised
from vitm.baselines.hdrcnn import HDRCNN, Up, illumination_reflectance_loss
from vitm.baselines.sequence_task import HDRCNNTask
from vitm.ops import tiling

WIDTHS = (4, 6, 8, 8, 8)
VGG16 = (4, 4, "M", 6, 6, "M", 8, 8, 8, "M", 8, 8, 8, "M", 8, 8, 8, "M")  # of these widths


def from_state(state: dict[str, Tensor], ldr: Tensor) -> Tensor:
    """The log light, layer by layer, of a frame whose sides are multiples of 32."""

    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def normed(name: str, x: Tensor) -> Tensor:
        mean, var, a, b = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, mean, var, a, b))

    x = (ldr - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    features = []
    for level, depth in enumerate((2, 2, 3, 3, 3)):
        for i in range(depth):
            x = F.relu(conv(f"encoder.levels.{level}.{2 * i}", x, 1))
        features.append(x)
        x = F.max_pool2d(x, 2)
    x = normed("bottom.1", conv("bottom.0", x, 1))
    for i, skip in enumerate(reversed(features)):
        name = f"up.{i}"
        x = F.conv_transpose2d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride=2, padding=1)
        x = conv(f"skips.{i}.conv", torch.cat([normed(f"{name}.norm", x), (skip**2 + 1 / 255).log()], 1))
    x = normed("last.1", conv("last.0", x))
    return conv("last_skip.conv", torch.cat([x, (ldr**2.2 + 1 / 255).log()], 1))


def test_layers(rng: torch.Generator) -> None:
    network = randomised(HDRCNN(WIDTHS), rng)
    ldr = torch.rand(2, 3, 32, 64, generator=rng)
    ldr[:, :, :8] = 1
    with torch.no_grad():
        y = from_state(network.state_dict(), ldr)
        torch.testing.assert_close(network.log_light(ldr), y, rtol=1e-4, atol=1e-4)
        alpha = ((ldr.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
        expected = (1 - alpha) * ldr**2.2 + alpha * (y.exp() - 1 / 255)
        torch.testing.assert_close(network(ldr), expected, rtol=1e-3, atol=1e-4)


def test_bands_are_the_whole(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised(HDRCNN(WIDTHS), rng)
    ldr = torch.rand(1, 3, 300, 33, generator=rng)
    whole = network.log_light(ldr).detach()
    bands = []
    monkeypatch.setattr(
        tiling, "row_bands", lambda *args: bands.append(args) or [(0, args[0] // 2), (args[0] // 2, args[0])]
    )
    with torch.no_grad():
        torch.testing.assert_close(network.log_light(ldr), whole, rtol=1e-4, atol=1e-4)
    assert len(bands) == 6


def test_size_and_what_is_well_exposed(rng: torch.Generator) -> None:
    assert sum(p.numel() for p in HDRCNN().parameters()) == 29_443_358
    network = randomised(HDRCNN(WIDTHS), rng)
    for size in ((1, 1), (33, 45)):
        ldr = torch.rand(1, 3, *size, generator=rng) * 0.95
        with torch.no_grad():
            torch.testing.assert_close(network(ldr), ldr**2.2, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"expected ldr .*got \(3, 8, 8\)"):
        network(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="expected 5 numbers of channels"):
        HDRCNN((8, 8))


def test_a_new_decoder_passes_light_on(rng: torch.Generator) -> None:
    """Up-sampling starts bilinear, skips as sums; with an empty decoder the prediction is the frame's light."""
    up = Up(2, 2).eval()
    x = torch.rand(1, 2, 5, 6, generator=rng)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        up.conv.bias.zero_()
        torch.testing.assert_close(up(x)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=1e-3)
        network = HDRCNN(WIDTHS).eval()
        network.last[1].bias.fill_(-100)  # ReLU gives 0
        ldr = torch.rand(1, 3, 32, 32, generator=rng)
        torch.testing.assert_close(network.log_light(ldr).exp() - 1 / 255, ldr**2.2, rtol=1e-4, atol=1e-5)


def test_the_encoder_takes_the_weights_of_vgg16(rng: torch.Generator, tmp_path: Path) -> None:
    vgg = randomised(make_layers(VGG16), rng)
    state = {f"features.{k}": v for k, v in vgg.state_dict().items()} | {"classifier.0.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "vgg16.pth")
    task = HDRCNNTask(widths=WIDTHS, vgg_weights=str(tmp_path / "vgg16.pth"))
    task.prepare_fit()
    x = torch.rand(1, 3, 32, 32, generator=rng)
    normalised = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        torch.testing.assert_close(task.network.encoder(x)[-1], vgg(normalised), rtol=1e-4, atol=1e-5)
    assert "vgg_weights" not in task.arguments
    wide = HDRCNNTask(widths=(4, 6, 8, 8, 9), vgg_weights=str(tmp_path / "vgg16.pth"))
    with pytest.raises(ValueError, match=r"vgg16\.pth does not fit the encoder"):
        wide.prepare_fit()
    with pytest.raises(FileNotFoundError, match="no VGG16 weights at"):
        HDRCNNTask(widths=WIDTHS, vgg_weights=str(tmp_path / "none.pth")).prepare_fit()
    HDRCNNTask(widths=WIDTHS, pretrained=False).prepare_fit()


def test_loss(rng: torch.Generator) -> None:
    """Written out, with SciPy's Gaussian of 2 pixels."""
    y, light = torch.randn(2, 3, 20, 24, generator=rng), torch.rand(2, 3, 20, 24, generator=rng) * 5
    alpha = torch.rand(2, 1, 20, 24, generator=rng)
    total = 0.0
    for b in range(2):
        a = alpha[b].double().numpy()
        logs = [y[b].double().numpy(), np.log(light[b].double().numpy() + 1 / 255)]
        lumas = [np.log(np.einsum("c,chw->hw", [0.213, 0.715, 0.072], np.exp(x))) for x in logs]
        i1, i2 = (gaussian_filter(x, 2.0, mode="mirror", truncate=3.0) for x in lumas)
        r1, r2 = (x - i for x, i in zip(logs, (i1, i2), strict=True))
        total += (0.3 * ((a * (i1 - i2)) ** 2).mean() + 0.7 * ((a * (r1 - r2)) ** 2).mean()) / 2
    assert float(illumination_reflectance_loss(y, light, alpha, 0.3)) == pytest.approx(total, rel=1e-4)
    assert float(illumination_reflectance_loss(y, light, torch.zeros_like(alpha))) == 0
