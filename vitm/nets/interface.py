"""What a network may offer beyond `forward`, and what holds where it does not.

A network of single frames needs nothing but `forward`: sdr (B, 3, H, W) -> hdr_pq (B, 3, H, W). Whoever converts clips
asks here what more there is, so any `nn.Module` with these names will do; there is no base class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class StreamingNetwork(Protocol):
    """A network that looks at several frames, and converts clips of any length in bounded memory."""

    context: int
    """How many frames before a frame its result depends on."""

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield hdr_pq (B, 3, H, W) of each of the frames, which are sdr (B, 3, H, W) of one size, in their order."""


@runtime_checkable
class WindowNetwork(StreamingNetwork, Protocol):
    """A network whose `forward` converts the middle one of 2 radius + 1 frames: (B, N, 3, H, W) -> (B, 3, H, W)."""

    radius: int


@runtime_checkable
class JointNetwork(StreamingNetwork, Protocol):
    """A network whose `forward` converts all frames of a window: (B, N, 3, H, W) -> (B, N, 3, H, W)."""

    window_frames: int
    """How many frames a window has when it is converted for its middle one; 1 for (B, 3, H, W)."""


@runtime_checkable
class ColorMapNetwork(Protocol):
    """A network that maps colours: what becomes of a pixel does not depend on where it is."""

    colors_by_scene: bool
    """Whether the map depends on the frames; otherwise it is one for all."""

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the map for a scene, hdr_pq of sdr (1, 3, H, W), from some of its frames (1, 3, H, W)."""


@runtime_checkable
class SurveyingNetwork(Protocol):
    """A network that converts the scenes of a clip better when it has seen frames of all of it."""

    def survey(self, frames: Iterable[Tensor]) -> None:
        """Look at sdr (1, 3, H, W) of frames from all over the clip that `stream` is called for next; none: forget."""


@runtime_checkable
class LinearNetwork(Protocol):
    """A network whose output is relative linear light."""

    def to_hdr_pq(self, x_linear: Tensor) -> Tensor:
        """Return that light as HDR10 code."""


@runtime_checkable
class SpillingNetwork(Protocol):
    """A network whose `stream` keeps what waits for its turn in a temporary folder."""

    folder: Path | str | None
    """Where to make the temporary folder; None: in the system's place for them."""


def stream(network: nn.Module, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Convert the frames of a clip: by the network's own `stream`, or each by itself.

    Args:
        network: any network that takes single frames or has a `stream`.
        frames: sdr (B, 3, H, W), BT.709 gamma code in [0, 1], all of one size.

    Returns:
        An iterator of the network's outputs (B, 3, H, W), one for each frame.
    """
    _check(network)
    return network.stream(frames) if isinstance(network, StreamingNetwork) else map(network, frames)


def context(network: nn.Module) -> int:
    """Return how many frames before a frame its result depends on: work that resumes there must begin so early."""
    _check(network)
    return network.context if isinstance(network, StreamingNetwork) else 0


def forward_frames(network: nn.Module) -> tuple[int, int]:
    """Return how many frames `forward` takes, and how many it returns: 1 and 1 for (B, 3, H, W)."""
    if isinstance(network, WindowNetwork):
        return 2 * network.radius + 1, 1
    if isinstance(network, JointNetwork):
        return network.window_frames, network.window_frames
    return 1, 1


def as_hdr_pq(network: nn.Module, output: Tensor) -> Tensor:
    """Return an output of the network as HDR10 code: what it is already, unless the network gives linear light."""
    return network.to_hdr_pq(output) if isinstance(network, LinearNetwork) else output


@runtime_checkable
class _Streams(Protocol):
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]: ...


def _check(network: nn.Module) -> None:
    if isinstance(network, _Streams) and not isinstance(network, StreamingNetwork):
        raise TypeError(
            f"{type(network).__name__} has a method `stream` and must say how many frames before a frame it looks at: "
            "set the attribute `context`"
        )
