"""A triplet through KPN-MFI: our operators against the plain ones, each in a process of its own.

python -m benchmarks.kpn_mfi [--size 544 960] [--form ours|plain]

The plain form is the network as it is usually written: explicit attention and correlation maps, copied windows for
the pixel-wise convolution, whole frames at once, with the same weights. Prints CPU seconds a frame, wall seconds a
frame, the peak of the whole process, and the largest difference of the outputs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.ops import correlation_matrix, softmax_matrix, windows
from vitm.papers.kpn_mfi import KPNMFI, mfi, network


def use_plain_operators() -> None:
    def whole(fn, inputs: tuple[Tensor, ...], **_: int) -> Tensor:
        return fn(*inputs)

    network.pixel_conv, network.map_rows = windows, whole  # type: ignore[assignment]
    mfi.softmax_attention, mfi.correlate = softmax_matrix, correlation_matrix


def measure(form: str, size: tuple[int, int], output: Path) -> None:
    torch.manual_seed(0)
    net, clip = KPNMFI().eval(), torch.rand(1, 3, 3, *size)
    if form == "plain":
        use_plain_operators()
    else:
        net = net.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        cpu, wall = time.process_time(), time.perf_counter()
        out = net(clip)
        cpu, wall = (time.process_time() - cpu) / 3, (time.perf_counter() - wall) / 3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{form:6} {size[0]}x{size[1]}  {cpu:8.2f} CPU s/frame  {wall:8.2f} s/frame  peak {peak:6.2f} GiB", flush=True
    )
    torch.save(out, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(544, 960), metavar=("H", "W"))
    parser.add_argument("--form", choices=("ours", "plain"), help="only this one")
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.output:
        return measure(args.form, tuple(args.size), args.output)
    forms = [args.form] if args.form else ["plain", "ours"]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{form}.pt" for form in forms]
        for form, path in zip(forms, paths, strict=True):
            command = [sys.executable, "-m", "benchmarks.kpn_mfi", "--form", form, "--output", str(path)]
            subprocess.run([*command, "--size", *map(str, args.size)], check=True)
        if len(paths) == 2:
            plain, ours = (torch.load(path, weights_only=True) for path in paths)
            print(f"largest difference {(plain - ours).abs().max():.1e}")


if __name__ == "__main__":
    main()
