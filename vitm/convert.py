"""A clip through a network: streaming in time, so memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


@torch.inference_mode()
def convert_clip(network: nn.Module, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Convert the frames of a clip one after another, on the device of the network.

    Networks that look at several frames have a method `stream`; the others convert each frame by itself.

    Args:
        network: from `vitm.zoo.load_network`, in eval mode.
        frames: sdr (3, H, W), BT.709 gamma code in [0, 1], in order and of one size.

    Yields:
        hdr_pq (3, H, W), BT.2020 PQ code in [0, 1], on the CPU, one for each frame.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    inputs = (frame[None].to(device) for frame in frames)
    stream = getattr(network, "stream", None)
    outputs = stream(inputs) if stream is not None else (network(x) for x in inputs)
    for hdr_pq in outputs:
        yield hdr_pq[0].float().clamp(0, 1).cpu()
