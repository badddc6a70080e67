"""A frame through HDCFM: ours against the plain network with DDF by F.unfold and by nine shifts, with the same weights.

python -m benchmarks.hdcfm [--size 540 960] [--forms unfold shifts vitm compiled] [--checkpoint FILE] [--threads 2]

The plain network is written as it usually is: whole maps, the condition network as in its figure (convolutions before
averages, 128 channels at full resolution). The forms take turns in one process; each row has the best of the rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.forms import compare
from vitm.papers.hdcfm import HDCFM
from vitm.papers.hdcfm.layers import DDF, ContextBlock
from vitm.zoo import load_network

Filter = Callable[[Tensor, Tensor, Tensor], Tensor]


def unfold(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    B, C, H, W = x.shape
    patches = F.unfold(x, 3, padding=1).view(B, C, 9, H, W)
    return (patches * spatial[:, None] * channel[..., None, None]).sum(2)


def shifts(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    H, W = x.shape[2:]
    padded, out = F.pad(x, [1] * 4), torch.zeros_like(x)
    for tap in range(9):
        view = padded[:, :, tap // 3 : tap // 3 + H, tap % 3 : tap % 3 + W]
        out += view * (spatial[:, tap : tap + 1] * channel[:, :, tap, None, None])
    return out


def plain_estimate(network: HDCFM, sdr: Tensor) -> tuple[Tensor, Tensor]:
    estimator = network.estimator
    x = sdr
    for block in estimator.blocks:
        x = block.norm(block.act(F.avg_pool2d(block.conv(x), 3, 2, 1)))
    vector = estimator.global_head(x).mean((2, 3), keepdim=True)
    local = estimator.local_head(F.interpolate(x, size=sdr.shape[2:]))
    return vector, F.leaky_relu(F.avg_pool2d(local, 3, 1, 1), 0.2)


def plain(network: HDCFM, sdr: Tensor, filter_: Filter) -> Tensor:
    def dynamic(layer: DDF, x: Tensor) -> Tensor:
        return filter_(x, layer.spatial(x), layer.channel_filters(layer.pool(x)))

    x = sdr
    for layer, conditions in network._layers(*plain_estimate(network, sdr)):
        if isinstance(layer, DDF):
            x = dynamic(layer, x)
        elif isinstance(layer, ContextBlock):
            v = layer.pool(x)
            for part in layer.transform:
                v = dynamic(part, v) if isinstance(part, DDF) else part(v)
            x = x * torch.sigmoid(v)
        elif conditions is not None:
            x = x * layer.scale(conditions) + layer.shift(conditions) + x
        else:
            x = layer(x)
    return x


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hdcfm", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(540, 960), metavar=("H", "W"))
    parser.add_argument("--forms", nargs="+", default=["unfold", "shifts", "vitm"], help="also: compiled")
    parser.add_argument("--checkpoint", type=Path, help="released weights; without it random ones")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = load_network("hdcfm", args.checkpoint)
    assert isinstance(network, HDCFM)
    compiled = torch.compile(network, dynamic=False)
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "unfold": lambda sdr: plain(network, sdr, unfold),
        "shifts": lambda sdr: plain(network, sdr, shifts),
        "vitm": network,
        "compiled": compiled,
    }
    sdr = F.interpolate(torch.rand(1, 3, 12, 20), size=tuple(args.size), mode="bicubic").clamp(
        0, 1
    )  # as smooth as images
    compare(known, args.forms, sdr, args.rounds)


if __name__ == "__main__":
    main()
