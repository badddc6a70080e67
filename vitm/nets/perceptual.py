"""Distance between pictures in the features of an ImageNet classifier."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor, nn

HUB = "timm/vgg19.tv_in1k"  # the same weights as torchvision's
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
TORCHVISION = "vgg19-dcbb9e9d.pth"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the weights expect


class PerceptualLoss:
    """Mean absolute difference of VGG19 features (Johnson et al., ECCV 2016). Frozen; never downloads anything.

    Not a module on purpose: a task that holds one neither trains nor saves its parameters. They follow the pictures to
    their device at the first call.

    Args:
        weights: file of VGG19's ImageNet weights, torchvision's or timm's; by default the one in the cache of
            torch hub or of the Hugging Face hub.
        layer: `conv<block>_<number>`, before its ReLU.

    Raises:
        ValueError: unknown layer, or a file with other weights.
        FileNotFoundError: there is no such file; says how to get it.
    """

    def __init__(self, weights: str | Path | None = None, layer: str = "conv5_4") -> None:
        self._network = _vgg19(layer, _existing(weights))

    def __call__(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare pictures.

        Args:
            pred: (B, 3, H, W), RGB code in [0, 1], H and W at least 16; gradients reach it.
            target: the same shape.

        Returns:
            A scalar in fp32.
        """
        self._network.to(pred.device)
        with torch.no_grad():
            expected = self._features(target)
        return F.l1_loss(self._features(pred).float(), expected.float())

    def _features(self, x: Tensor) -> Tensor:
        mean, std = (x.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        features: Tensor = self._network((x - mean) / std)
        return features


def _existing(weights: str | Path | None) -> Path:
    if weights is not None:
        if not (path := Path(weights).expanduser()).is_file():
            raise FileNotFoundError(f"no VGG19 weights at {path}")
        return path
    torch_hub = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION
    if torch_hub.is_file():
        return torch_hub
    for name in HUB_FILES:
        if isinstance(cached := try_to_load_from_cache(HUB, name), str):
            return Path(cached)
    raise FileNotFoundError(
        f"the perceptual loss needs VGG19's ImageNet weights, and there are none at {torch_hub} or in the Hugging Face "
        "cache: give a file's path (torchvision's or timm's), or fetch them once with\n"
        "  python -c \"import timm; timm.create_model('vgg19', pretrained=True)\""
    )


def _vgg19(layer: str, path: Path) -> nn.Module:
    with torch.device("meta"):  # nothing is allocated: the weights come from the file
        features = timm.create_model("vgg19", pretrained=False).features
    names, block, number = {}, 1, 0
    for i, module in enumerate(features):
        if isinstance(module, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = i
    if layer not in names:
        raise ValueError(f"VGG19 has no layer {layer!r}: use one of {', '.join(names)}")
    network = nn.Sequential(*features[: names[layer] + 1])
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    expected = {name: f"features.{name}" for name in network.state_dict()}
    state = state if isinstance(state, dict) else {}
    if lacking := [key for key in expected.values() if key not in state]:
        raise ValueError(f"{path} holds no VGG19: it lacks {lacking[0]}; its first keys are: {', '.join([*state][:3])}")
    try:
        network.load_state_dict({name: state[key].float() for name, key in expected.items()}, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} holds weights of another network than VGG19: {error}") from error
    return network.eval().requires_grad_(False)
