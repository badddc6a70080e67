"""Conversion of a clip by a network, frame after frame: memory does not grow with the length of the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

import torch
from torch import Tensor, nn

from vitm.conversion.pipeline import Upload, through_device
from vitm.nets.interface import as_hdr_pq, stream


@torch.inference_mode()
def convert_clip(
    network: nn.Module,
    frames: Iterable[Tensor],
    is_cut: Callable[[Tensor], bool] | None = None,
    finish: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Convert the frames of a clip one after another, on the device of the network.

    A `StreamingNetwork` (see `vitm.nets.interface`) is given one scene after another; other networks convert each frame
    by itself. The light of a `LinearNetwork` is shown with 1, where SDR clips, at diffuse white (203 cd/m2, BT.2408).

    Args:
        network: network in eval mode, for example from `vitm.zoo.load_network`.
        frames: sdr frames (3, H, W), BT.709 gamma code in [0, 1], in order and of one size.
        is_cut: function that is called with each frame in turn and returns whether a new scene begins with it; the
            network's memory ends there. None for one scene.
        finish: function of each hdr_pq in turn, on the device of the network, that returns what becomes of it; None to
            leave them.

    Yields:
        hdr_pq (3, H, W), BT.2020 PQ code in [0, 1], on the CPU, one for each frame.
    """

    def converted(upload: Upload) -> Iterator[Tensor]:
        for scene in _scenes(frames, is_cut):
            for output in stream(network, (upload(frame)[None] for frame in scene)):
                hdr_pq = as_hdr_pq(network, output)[0].float().clamp(0, 1)
                yield hdr_pq if finish is None else finish(hdr_pq)

    yield from through_device(network_device(network), converted)


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
