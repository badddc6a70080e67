"""A frame through DSLNet: ours in bands of rows, ours whole, and the network written down layer by layer.

python -m benchmarks.dslnet [--size 270 480] [--forms plain whole vitm] [--threads 2]

The plain network has the layout that PyTorch starts with (NCHW), torchvision's deformable convolution and whole maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.forms import compare
from tests.reference.dslnet import dslnet
from vitm.papers.dslnet import DSLNet


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dslnet", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(270, 480), metavar=("H", "W"))
    parser.add_argument("--forms", nargs="+", default=["plain", "whole", "vitm"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = DSLNet().eval()
    torch.nn.init.normal_(network.align.offsets.bias, std=2.0)  # frames that move
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.to(memory_format=torch.channels_last)

    def whole(sdr: Tensor) -> Tensor:
        frames = list(sdr.unbind(1))
        x = sdr.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        rows = torch.arange(x.shape[2], device=x.device)[:, None]
        return network.convert(x, rows, network.modulation.coefficients(network._codes(frames)))

    known: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": lambda sdr: dslnet(sdr, state),
        "whole": whole,
        "vitm": network,
    }
    frames = F.interpolate(torch.rand(5, 3, 12, 20), size=tuple(args.size), mode="bicubic").clamp(0, 1)
    compare(known, args.forms, frames[None], args.rounds)


if __name__ == "__main__":
    main()
