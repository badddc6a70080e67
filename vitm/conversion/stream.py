"""A clip through a network: streaming in time, so memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class StreamingNetwork(Protocol):
    """A network that looks at several frames of a clip."""

    @property
    def context(self) -> int:
        """How many frames before a frame its result depends on."""
        ...

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip: (B, 3, H, W) frames in order to as many results."""
        ...


@runtime_checkable
class LinearNetwork(Protocol):
    """A network whose results are relative light instead of PQ codes."""

    def to_hdr_pq(self, x_linear: Tensor) -> Tensor:
        """Show light with 1, where SDR clips, at diffuse white: BT.2020 PQ code."""
        ...


@runtime_checkable
class SpillingNetwork(Protocol):
    """A network that keeps what it knows of a scene on disk.

    Attributes:
        folder: where; None for the system's temporary files.
    """

    folder: Path | str | None


@torch.inference_mode()
def convert_clip(
    network: nn.Module, frames: Iterable[Tensor], is_cut: Callable[[Tensor], bool] | None = None
) -> Iterator[Tensor]:
    """Convert the frames of a clip one after another, on the device of the network.

    A `StreamingNetwork` is given one scene after another; other networks convert each frame by itself. The light of a
    `LinearNetwork` is shown with 1, where SDR clips, at diffuse white (203 cd/m2, BT.2408).

    Args:
        network: network in eval mode, for example from `vitm.zoo.load_network`.
        frames: sdr frames (3, H, W), BT.709 gamma code in [0, 1], in order and of one size.
        is_cut: function that is called with each frame in turn and returns whether a new scene begins with it, where
            the network's memory ends; None for one scene.

    Yields:
        hdr_pq (3, H, W), BT.2020 PQ code in [0, 1], on the CPU, one for each frame.
    """
    device = network_device(network)
    for scene in _scenes(frames, is_cut):
        inputs = (frame[None].to(device) for frame in scene)
        outputs = network.stream(inputs) if isinstance(network, StreamingNetwork) else map(network, inputs)
        for output in outputs:
            hdr_pq = network.to_hdr_pq(output) if isinstance(network, LinearNetwork) else output
            yield hdr_pq[0].float().clamp(0, 1).cpu()


def context(network: nn.Module) -> int:
    """Return how many frames before a frame its result depends on.

    A conversion that goes on at a frame must begin to read so many frames earlier.
    """
    return network.context if isinstance(network, StreamingNetwork) else 0


def network_device(network: nn.Module) -> torch.device:
    """Return the device of a network's first parameter; the CPU for a network without parameters."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def _scenes(frames: Iterable[Tensor], is_cut: Callable[[Tensor], bool] | None) -> Iterator[Iterator[Tensor]]:
    if is_cut is None:
        yield iter(frames)
        return

    def numbered() -> Iterator[tuple[int, Tensor]]:
        scene = 0
        for frame in frames:
            scene += is_cut(frame)
            yield scene, frame

    for _, scene in groupby(numbered(), key=itemgetter(0)):
        yield map(itemgetter(1), scene)
