"""A clip through a network: streaming in time, so memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import torch
from torch import Tensor, nn


@torch.inference_mode()
def convert_clip(
    network: nn.Module, frames: Iterable[Tensor], is_cut: Callable[[Tensor], bool] | None = None
) -> Iterator[Tensor]:
    """Convert the frames of a clip one after another, on the device of the network.

    Networks that look at several frames have a method `stream`; the others convert each frame by itself. Linear light
    (of networks with a `to_hdr_pq`) is shown with 1, where SDR clips, at diffuse white (203 cd/m2, BT.2408).

    Args:
        network: from `vitm.zoo.load_network`, in eval mode.
        frames: sdr (3, H, W), BT.709 gamma code in [0, 1], in order and of one size.
        is_cut: says of each frame in turn whether a new scene begins with it, where the network's memory ends; None:
            one scene.

    Yields:
        hdr_pq (3, H, W), BT.2020 PQ code in [0, 1], on the CPU, one for each frame.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    stream, to_hdr_pq = getattr(network, "stream", None), getattr(network, "to_hdr_pq", None)
    for scene in _scenes(frames, is_cut):
        inputs = (frame[None].to(device) for frame in scene)
        for hdr_pq in stream(inputs) if stream is not None else (network(x) for x in inputs):
            if to_hdr_pq is not None:
                hdr_pq = to_hdr_pq(hdr_pq)
            yield hdr_pq[0].float().clamp(0, 1).cpu()


def context(network: nn.Module) -> int:
    """How many frames before a frame its result depends on: a conversion that goes on there must begin so early."""
    frames: int = getattr(network, "context", 0)
    return frames


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
