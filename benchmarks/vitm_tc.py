"""VITM-TC's pipeline against ICAM on every frame of the same clip, each in a process of its own.

python -m benchmarks.vitm_tc [--size 128 128] [--frames 300] [--every 6] [--form pipeline|icam] [--model temporal]

Both stream the clip. Prints CPU seconds a frame, the peak of the process, bytes on disk at the most, and the ratio; the
paper's is 521 / 1236 ms = 0.42. ICAM may run on every n-th frame only, and stand for the others: its cost depends
on the number of clues alone. A short clip has few of them, so it says little about the ratio. Making the clip is not
counted, and what is done once for all frames is shared by all of them, whether ICAM runs on them or not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from skimage import data
from torch import Tensor

from vitm.nets.flow import FlowName
from vitm.ops.key_frames import clues
from vitm.ops.tiling import row_bands
from vitm.papers.vitm_tc import VITMTC
from vitm.papers.vitm_tc.spill import Spill
from vitm.zoo import load_network


def clip(n: int, size: tuple[int, int]) -> Iterator[Tensor]:
    """A camera that pans to and fro over a photograph while its exposure drifts; 8-bit codes."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    height, width = size
    photo = torch.nn.functional.interpolate(photo, (height + 32, width + 64), mode="bilinear", antialias=True)
    for t in range(n):
        left, top = round(32 + 32 * np.sin(t / 25)), round(16 + 16 * np.sin(t / 40))
        gain = 2 ** (1.25 - 1.25 * np.cos(t / 30))
        frame = (photo[..., top : top + height, left : left + width] * gain ** (1 / 2.2)).clamp(0, 1)
        yield (frame * 255).round() / 255


class Clock:
    """CPU seconds of this process, but for those in which the frames that feed it are made."""

    def __init__(self) -> None:
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        return time.process_time() - self._start

    def feed(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the frames; the clock stands still while each is made."""
        while True:
            before = time.process_time()
            frame = next(frames, None)
            self._start += time.process_time() - before
            if frame is None:
                return
            yield frame


class DiskPeak:
    """Watches how large a folder grows."""

    def __init__(self, folder: Path) -> None:
        self.bytes, self._folder, self._done = 0, folder, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._done.wait(1.0):
            self.bytes = max(self.bytes, sum(p.stat().st_size for p in self._folder.rglob("*.npy") if p.exists()))

    def stop(self) -> int:
        self._done.set()
        return self.bytes


def measure(form: str, size: tuple[int, int], n: int, every: int, flow: FlowName, model: str) -> dict[str, float]:
    torch.manual_seed(0)
    network = VITMTC(flow=flow).eval() if model == "paper" else load_network(model)
    network = network.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        watch, clock = DiskPeak(Path(folder)), Clock()
        frames = clock.feed(clip(n, size))
        if form == "pipeline":
            for _ in network.stream(frames, folder=folder):
                pass
            seconds = clock.seconds / n
        else:
            times = range(every // 2, n, every)
            with Spill(folder=folder) as spill:
                for t, frame in enumerate(frames):
                    spill["ldr", t] = frame
                stored = clock.seconds
                network._reconstruct_keys(spill, {t: clues(t, n) for t in times})
            seconds = stored / n + (clock.seconds - stored) / len(times)
        disk = watch.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "peak": peak, "disk": disk / 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="multiples of 16")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=6, help="ICAM on every n-th frame; 1: on all")
    parser.add_argument("--flow", default="dis")
    parser.add_argument("--model", choices=("paper", "temporal"), default="paper", help="the paper's, or what ships")
    parser.add_argument("--form", choices=("pipeline", "icam"), help="only this one")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for side in args.size:
        row_bands(side, side, 16)  # refuses other sizes
    if args.here:
        print(json.dumps(measure(args.form, tuple(args.size), args.frames, args.every, args.flow, args.model)))
        return
    seconds = []
    for form in [args.form] if args.form else ["pipeline", "icam"]:
        command = [sys.executable, "-m", "benchmarks.vitm_tc", "--here", "--form", form, "--size", *map(str, args.size)]
        command += ["--frames", str(args.frames), "--every", str(args.every)]
        command += ["--flow", args.flow, "--model", args.model]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        seconds.append(result["seconds"])
        print(
            f"{form:8} {args.frames} frames of {args.size[0]}x{args.size[1]}  {result['seconds']:8.3f} CPU s/frame  "
            f"peak {result['peak']:6.2f} GiB  disk {result['disk']:6.2f} GiB",
            flush=True,
        )
    if len(seconds) == 2:
        print(f"pipeline / ICAM on every frame: {seconds[0] / seconds[1]:.3f}")


if __name__ == "__main__":
    main()
