"""VGG19 with random weights stands in for the trained one; torchvision's network is the reference."""

from __future__ import annotations

import socket
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import vgg16, vgg19
from torchvision.transforms.functional import normalize

from vitm.nets.perceptual import PerceptualLoss

INDEX = {"conv1_2": 2, "conv2_1": 5, "conv3_4": 16, "conv5_4": 34}  # in torchvision's `features`


def stand_in(layer: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Torchvision's features up to a layer, with random weights, and their state dict under torchvision's names."""
    with torch.device("meta"):
        network = vgg19().features[: INDEX[layer] + 1]
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for name, p in network.state_dict().items():
        p.normal_(0, 0.05 if name.endswith("bias") else (2 / p[0].numel()) ** 0.5, generator=generator)
    return network, {f"features.{k}": v for k, v in network.state_dict().items()}


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Empty caches of torch hub and Hugging Face, and no network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("network access")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "torch", tmp_path / "hf"


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1_2", "conv3_4", "conv5_4"])
def test_equals_torchvision(layer: str, tmp_path: Path) -> None:
    network, state = stand_in(layer)
    torch.save(state, tmp_path / "vgg.pth")
    loss = PerceptualLoss(tmp_path / "vgg.pth", **({} if layer == "conv5_4" else {"layer": layer}))  # the default
    pred, target = torch.rand(2, 2, 3, 24, 32).unbind()
    pred.requires_grad_()
    x, y = (network(normalize(t, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])) for t in (pred, target))
    expected = (x - y).abs().mean()
    torch.testing.assert_close(loss(pred, target), expected)
    (ours,), (theirs,) = torch.autograd.grad(loss(pred, target), pred), torch.autograd.grad(expected, pred)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)
    assert loss(pred, pred.detach()) == 0


def test_weights_of_the_caches(caches: tuple[Path, Path]) -> None:
    torch_hub, hf = caches
    _, state = stand_in("conv2_1")
    revision = hf / "models--timm--vgg19.tv_in1k" / "snapshots" / "abc"
    revision.mkdir(parents=True)
    save_file(state, revision / "model.safetensors")
    (hf / "models--timm--vgg19.tv_in1k" / "refs").mkdir()
    (hf / "models--timm--vgg19.tv_in1k" / "refs" / "main").write_text("abc")
    x, y = torch.rand(2, 1, 3, 16, 16).unbind()
    from_hf = PerceptualLoss(layer="conv2_1")(x, y)
    (torch_hub / "checkpoints").mkdir(parents=True)
    torch.save({k: 0 * v for k, v in state.items()}, torch_hub / "checkpoints" / "vgg19-dcbb9e9d.pth")
    assert from_hf > 0
    assert PerceptualLoss(layer="conv2_1")(x, y) == 0


def test_without_weights_it_says_how_to_get_them(caches: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"timm\.create_model\('vgg19', pretrained=True\)"):
        PerceptualLoss()
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        PerceptualLoss(tmp_path / "missing.pth")


def test_wrong_weights_and_layers(tmp_path: Path) -> None:
    _, state = stand_in("conv1_2")
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match=r"no layer 'conv1_3': use one of conv1_1, conv1_2, conv2_1"):
        PerceptualLoss(tmp_path / "vgg.pth", "conv1_3")
    with pytest.raises(ValueError, match=r"lacks features\.5\.weight"):
        PerceptualLoss(tmp_path / "vgg.pth", "conv2_1")
    torch.save({k: v[:, :1] if v.ndim == 4 else v for k, v in state.items()}, tmp_path / "grey.pth")
    with pytest.raises(ValueError, match="another network than VGG19"):
        PerceptualLoss(tmp_path / "grey.pth", "conv1_2")


@pytest.mark.slow
def test_several_layers_of_vgg16(tmp_path: Path) -> None:
    """The sum of the differences after the ReLU of three layers, and before it of one in between."""
    with torch.device("meta"):
        network = vgg16().features[:16]
    network.to_empty(device="cpu")
    for p in network.parameters():
        nn.init.normal_(p, 0, 0.05)
    torch.save({f"features.{k}": v for k, v in network.state_dict().items()}, tmp_path / "vgg16.pth")
    loss = PerceptualLoss(tmp_path / "vgg16.pth", ("relu1_2", "relu2_2", "conv2_2", "relu3_3"), "vgg16")
    pred, target = torch.rand(2, 1, 3, 24, 32).unbind()
    expected = torch.zeros(())
    for end in (4, 9, 8, 16):  # torchvision's features up to and with these layers
        part = nn.Sequential(*(type(m)() if isinstance(m, nn.ReLU) else m for m in network[:end]))  # none in place
        x, y = (part(normalize(t, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])) for t in (pred, target))
        expected = expected + (x - y).abs().mean()
    torch.testing.assert_close(loss(pred, target), expected)


def test_missing_weights_of_vgg16(caches: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)VGG16.*vgg16-397923af\.pth.*create_model\('vgg16'"):
        PerceptualLoss(layer="relu1_2", network="vgg16")
