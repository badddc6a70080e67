"""Distance between pictures in the features of an ImageNet classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import timm
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor, nn

from vitm.ops.copies import copied_to

Classifier = Literal["vgg16", "vgg19"]
TORCHVISION = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # of timm/<name>.tv_in1k: the same weights as torchvision's
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the weights expect


class PerceptualLoss:
    """Mean absolute difference of VGG features (Johnson et al., ECCV 2016). Frozen; never downloads anything.

    It is no module on purpose: a task that holds one neither trains nor saves its parameters. They follow the pictures
    to their device at the first call.

    Args:
        weights: file of the ImageNet weights, torchvision's or timm's; by default the one in the cache of torch hub or
            of the Hugging Face hub.
        layer: `conv<block>_<number>`, before its ReLU, or `relu<block>_<number>`, after it; of several layers the
            differences are added.
        network: classifier whose features are compared.

    Raises:
        ValueError: unknown layer, or a file with other weights.
        FileNotFoundError: there is no such file; the message says how to get it.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        layer: str | Sequence[str] = "conv5_4",
        network: Classifier = "vgg19",
    ) -> None:
        layers = [layer] if isinstance(layer, str) else list(layer)
        features, self._taps = _features(network, layers)
        self._network = _load(features, network, weights)

    def __call__(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare pictures.

        Args:
            pred: (B, 3, H, W), RGB code in [0, 1], H and W at least 16; gradients reach it.
            target: picture of the same shape.

        Returns:
            A scalar in fp32.
        """
        self._network.to(pred.device)
        with torch.no_grad():
            expected = self._features(target)
        pairs = zip(self._features(pred), expected, strict=True)
        return torch.stack([F.l1_loss(prediction.float(), target.float()) for prediction, target in pairs]).sum()

    def _features(self, x: Tensor) -> list[Tensor]:
        mean, std = (copied_to(x.device, torch.tensor(v, dtype=x.dtype)[:, None, None]) for v in (MEAN, STD))
        x, features = (x - mean) / std, []
        for i, module in enumerate(self._network.children()):
            x = module(x)
            if i in self._taps:
                features.append(x)
        return features


def _existing(weights: str | Path | None, network: Classifier) -> Path:
    if weights is not None:
        if not (path := Path(weights).expanduser()).is_file():
            raise FileNotFoundError(f"no {network.upper()} weights at {path}")
        return path
    torch_hub = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION[network]
    if torch_hub.is_file():
        return torch_hub
    for name in HUB_FILES:
        if isinstance(cached := try_to_load_from_cache(f"timm/{network}.tv_in1k", name), str):
            return Path(cached)
    raise FileNotFoundError(
        f"{network.upper()}'s ImageNet weights are needed, and there are none at {torch_hub} or in the Hugging Face "
        "cache: give a file's path (torchvision's or timm's), or fetch them once with\n"
        f"  python -c \"import timm; timm.create_model('{network}', pretrained=True)\""
    )


def _features(network: Classifier, layers: Sequence[str]) -> tuple[nn.Sequential, set[int]]:
    """Return the convolutions up to the last of the layers, without weights, and the places of the layers."""
    with torch.device("meta"):  # nothing is allocated: the weights come from the file
        features = timm.create_model(network, pretrained=False).features
    names, block, number = {}, 1, 0
    for i, module in enumerate(features):
        if isinstance(module, nn.MaxPool2d):
            block, number = block + 1, 0
        elif isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = i
        elif isinstance(module, nn.ReLU):
            module.inplace = False  # a convolution before it may be one of the layers
            names[f"relu{block}_{number}"] = i
    for layer in layers:
        if layer not in names:
            known = ", ".join(name for name in names if name.startswith("conv"))
            raise ValueError(f"{network.upper()} has no layer {layer!r}: use one of {known}, or relu for conv")
    taps = {names[layer] for layer in layers}
    return nn.Sequential(*features[: max(taps) + 1]), taps


def classifier_state(network: Classifier, weights: str | Path | None = None) -> tuple[Path, dict[str, Tensor]]:
    """Return the ImageNet weights of a classifier, with torchvision's names, and the file that they are from.

    Args:
        network: the classifier.
        weights: file of the weights, see `PerceptualLoss`.

    Raises:
        FileNotFoundError: there is no such file; the message says how to get it.
    """
    path = _existing(weights, network)
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    return path, state if isinstance(state, dict) else {}


def _load(features: nn.Sequential, network: Classifier, weights: str | Path | None) -> nn.Sequential:
    path, state = classifier_state(network, weights)
    expected = {name: f"features.{name}" for name in features.state_dict()}
    known = network.upper()
    if lacking := [key for key in expected.values() if key not in state]:
        first = ", ".join([*state][:3])
        raise ValueError(f"{path} holds no {known}: it lacks {lacking[0]}; its first keys are: {first}")
    try:
        features.load_state_dict({name: state[key].float() for name, key in expected.items()}, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} holds weights of another network than {known}: {error}") from error
    return features.eval().requires_grad_(False)
