"""Frozen optical-flow estimators behind one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FlowName = Literal["dis", "raft", "raft_small", "liteflownet3", "gma", "zero"]


class FlowEstimator(ABC):
    """An estimator of where the pixels of one frame lie in another. Frozen: no gradient, fp32, any size.

    It is no module on purpose: a task that holds one neither trains nor saves its parameters. They follow the frames
    to their device at the first call.

    Convention:
        `vitm.ops.warp.warp(target, flow)` resembles `source`: flow(p) leads from pixel p of the source to the same
        thing in the target, in pixels, x first.
    """

    multiple = 1  # height and width that `_estimate` sees are multiples of this
    smallest = 1  # and at least this, itself such a multiple

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """Estimate the flow from `source` to `target`.

        Args:
            source: frames `(B, 3, H, W)`, RGB, gamma code in [0, 1] (clamped to it).
            target: frames that will be warped, of the same shape and range.

        Returns:
            `(B, 2, H, W)` in pixels, fp32, without gradient.

        Raises:
            ValueError: The frames are not `(B, 3, H, W)` of one size.
        """
        if source.ndim != 4 or source.shape[1] != 3 or source.shape != target.shape:
            raise ValueError(
                f"optical flow needs two batches of frames (B, 3, H, W) of one size, got {tuple(source.shape)} and "
                f"{tuple(target.shape)}"
            )
        height, width = source.shape[2:]
        right, bottom = (max(self.smallest - side, -side % self.multiple) for side in (width, height))
        with torch.no_grad(), torch.autocast(source.device.type, enabled=False):
            frames = (F.pad(t.float().clamp(0, 1), (0, right, 0, bottom), mode="replicate") for t in (source, target))
            return self._estimate(*frames)[:, :, :height, :width].contiguous()

    @abstractmethod
    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow between padded fp32 frames."""


def flow_estimator(name: FlowName = "dis", weights: str | Path | None = None) -> FlowEstimator:
    """Make a frozen flow estimator. Never downloads anything.

    Args:
        name: `dis` (OpenCV, on the CPU, needs no weights), `raft` or `raft_small` (torchvision), `liteflownet3`
            (KPN-MFI's choice; its weights are for academic research only) or `gma` (both through ptlflow), `zero`
            (nothing moves).
        weights: file of the network's weights; by default the one in torch hub's cache.

    Raises:
        ValueError: Unknown name, weights for an estimator that has none, or weights of another network.
        FileNotFoundError: There are no weights; the message says where they are looked for and how to get them.
        ImportError: ptlflow is not installed; the message says how to install it.

    Example:
        >>> still = flow_estimator("zero")
        >>> still(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)).abs().sum()
        tensor(0.)
    """
    if name not in get_args(FlowName):
        raise ValueError(f"unknown flow estimator {name!r}: use one of {', '.join(get_args(FlowName))}")
    if name in ("dis", "zero"):
        if weights is not None:
            raise ValueError(f"the flow estimator {name!r} takes no weights, got {weights}")
        return DISFlow() if name == "dis" else ZeroFlow()
    path = None if weights is None else Path(weights).expanduser()
    return RAFTFlow(name, path) if name in ("raft", "raft_small") else PTLFlow(name, path)


class ZeroFlow(FlowEstimator):
    """No motion."""

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.zeros_like(source[:, :2])


class DISFlow(FlowEstimator):
    """Dense inverse search (Kroeger et al., 2016), OpenCV's medium preset, on luma in 8 bits."""

    smallest = 16  # below 12 pixels OpenCV finds no scale to start from

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        luma = source.new_tensor([0.299, 0.587, 0.114])[:, None, None] * 255
        grey = [(t * luma).sum(1).round().to("cpu", torch.uint8).numpy() for t in (source, target)]

        def one(pair: tuple[Any, Any]) -> Tensor:
            search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            return torch.from_numpy(search.calc(*pair, None))

        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            flows = list(pool.map(one, zip(*grey, strict=True)))
        return torch.stack(flows).permute(0, 3, 1, 2).to(source.device)


class RAFTFlow(FlowEstimator):
    """RAFT (Teed and Deng, 2020) of torchvision, its newest weights (`raft`: the large network)."""

    multiple = 8
    smallest = 128  # the correlation pyramid halves 1/8 of it three times

    def __init__(self, name: str, weights: Path | None) -> None:
        from torchvision.models import optical_flow as zoo

        maker, default = {
            "raft": (zoo.raft_large, zoo.Raft_Large_Weights.DEFAULT),
            "raft_small": (zoo.raft_small, zoo.Raft_Small_Weights.DEFAULT),
        }[name]
        command = (
            f'python -c "from torchvision.models.optical_flow import {type(default).__name__} as W; '
            'W.DEFAULT.get_state_dict(progress=True)"'
        )
        path = _existing(weights, default.url, name, command)
        self._network = _frozen(maker(), path)

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        flows: list[Tensor] = self._network.to(source.device)(source * 2 - 1, target * 2 - 1)
        return flows[-1]


class PTLFlow(FlowEstimator):
    """A network of ptlflow, by default with the weights trained on Sintel."""

    smallest = 128  # the correlation pyramid of GMA is RAFT's, and so is its smallest frame

    def __init__(self, name: str, weights: Path | None) -> None:
        try:
            import ptlflow
        except ImportError as error:
            raise ImportError(
                f'the flow estimator {name!r} needs ptlflow: run `pip install "vitm[flow]"`, then '
                "`pip install --no-deps ptlflow` (with its dependencies it would put opencv-python over "
                "opencv-python-headless, and both break)"
            ) from error
        url = ptlflow.get_model_reference(name).pretrained_checkpoints["sintel"]
        command = f"python -c \"import ptlflow; ptlflow.get_model('{name}', ckpt_path='sintel')\""
        path = _existing(weights, url, name, command)
        network = ptlflow.get_model(name)
        self.multiple = network.output_stride
        self._network = _frozen(network, path)

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        images = torch.stack([source, target], 1).flip(2)  # ptlflow reads BGR
        flow: Tensor = self._network.to(source.device)({"images": images})["flows"][:, 0]
        return flow


def _existing(weights: Path | None, url: str, name: str, command: str) -> Path:
    path = weights or Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights of the flow estimator {name!r} at {path}: give the file's path as `weights`, or fetch it into "
            f"torch hub's cache once with\n  {command}"
        )
    return path


def _frozen(network: nn.Module, path: Path) -> nn.Module:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(state.get("state_dict", state))
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold weights of {type(network).__name__}: {error}") from error
    return network.eval().requires_grad_(False)
