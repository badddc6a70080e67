"""Frozen optical-flow estimators behind one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vitm.ops.warp import plane_flow, warp

FlowName = Literal["dis", "aligned", "raft", "raft_small", "liteflownet3", "gma", "zero"]


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
        name: `dis`, or `aligned` for frames far apart (OpenCV, on the CPU, without weights), `raft` or `raft_small`
            (torchvision), `liteflownet3` (KPN-MFI's choice; its weights are for academic research only) or `gma` (both
            through ptlflow), `zero` (nothing moves).
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
    check_flow_name(name)
    if estimator := {"dis": DISFlow, "aligned": AlignedFlow, "zero": ZeroFlow}.get(name):
        if weights is not None:
            raise ValueError(f"the flow estimator {name!r} takes no weights, got {weights}")
        return estimator()
    path = None if weights is None else Path(weights).expanduser()
    return RAFTFlow(name, path) if name in ("raft", "raft_small") else PTLFlow(name, path)


def check_flow_name(name: str) -> None:
    """Raise a ValueError if there is no flow estimator of a name."""
    if name not in get_args(FlowName):
        raise ValueError(f"unknown flow estimator {name!r}: use one of {', '.join(get_args(FlowName))}")


class ZeroFlow(FlowEstimator):
    """No motion."""

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.zeros_like(source[:, :2])


class DISFlow(FlowEstimator):
    """Dense inverse search (Kroeger et al., 2016), OpenCV's medium preset, on luma in 8 bits."""

    smallest = 16  # below 12 pixels OpenCV finds no scale to start from

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        grey = [_grey(t) for t in (source, target)]

        def one(pair: tuple[Any, Any]) -> Tensor:
            search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            return torch.from_numpy(search.calc(*pair, None))

        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            flows = list(pool.map(one, zip(*grey, strict=True)))
        return torch.stack(flows).permute(0, 3, 1, 2).to(source.device)


class AlignedFlow(DISFlow):
    """DIS between frames that a homography has aligned, as SIFT features match (Lowe, 2004); DIS where too few do.

    DIS starts from no motion and loses what moves by a large part of the frame, or turns; features are found again.
    """

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        return torch.cat([self._one(*pair) for pair in zip(source[:, None], target[:, None], strict=True)])

    def _one(self, source: Tensor, target: Tensor) -> Tensor:
        matrix = feature_homography(source, target)
        if matrix is None:
            return super()._estimate(source, target)
        camera = plane_flow(matrix.to(source), source.shape[2:])[None]
        detail = super()._estimate(source, warp(target, camera))
        return detail + warp(camera, detail)


def feature_homography(source: Tensor, target: Tensor, least: int = 12) -> Tensor | None:
    """Return the homography on which SIFT features of two frames agree (Lowe, 2004), on the host.

    Args:
        source: frame (1, 3, H, W), RGB, gamma code in [0, 1].
        target: frame of the same size.
        least: number of matches that have to agree.

    Returns:
        The matrix (3, 3), fp64, from pixel positions in the source to those in the target; None where too few agree.
    """
    height, width = source.shape[2:]
    (places, features), (others, other_features) = (
        _features(_grey(t)[0].tobytes(), height, width) for t in (source, target)
    )
    if min(len(places), len(others)) < least:
        return None
    nearest = cv2.BFMatcher().knnMatch(features, other_features, k=2)
    unique = [best for best, second in nearest if best.distance < 0.8 * second.distance]  # Lowe, section 7.1
    if len(unique) < least:
        return None
    start, end = places[[m.queryIdx for m in unique]], others[[m.trainIdx for m in unique]]
    matrix, agree = cv2.findHomography(start, end, cv2.RANSAC, 3.0, maxIters=1000)
    return None if matrix is None or agree.sum() < least else torch.from_numpy(matrix)


def _grey(frames: Tensor) -> NDArray[np.uint8]:
    luma = frames.new_tensor([0.299, 0.587, 0.114])[:, None, None] * 255
    return (frames * luma).sum(1).round().to("cpu", torch.uint8).numpy()


@lru_cache(maxsize=8)
def _features(codes: bytes, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return places (N, 2), x first, and descriptors (N, 128) of SIFT features of a grey picture; the last are kept.

    Large pictures are halved until their shorter side is 300 at most: DIS finds the rest, and SIFT would be slow.
    """
    picture: NDArray[Any] = np.frombuffer(codes, np.uint8).reshape(height, width)
    while min(picture.shape) > 300:
        picture = cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT.create(nfeatures=800, contrastThreshold=0.01)
    features, descriptors = sift.detectAndCompute(picture, None)
    places = np.array([feature.pt for feature in features], np.float32).reshape(-1, 2)
    scale = np.array((width / picture.shape[1], height / picture.shape[0]), np.float32)
    return (places + 0.5) * scale - 0.5, np.zeros((0, 128), np.float32) if descriptors is None else descriptors


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
