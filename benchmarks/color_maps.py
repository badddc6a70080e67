"""Networks that map each pixel by itself, beside FFmpeg's `lut3d` with a trilinear table of 33 x 33 x 33 in fp32.

python -m benchmarks.color_maps [--size 1080 1920] [--rounds 7]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import torch
from torch import Tensor

from vitm.baselines.ada_3dlut import Ada3DLUT
from vitm.baselines.hdrnet import HDRNet
from vitm.conversion.speed import PeakMemory, processor
from vitm.ops.color_table import apply_color_table, color_grid

FORMAT = "gbrpf32le"


class FFmpeg:
    """FFmpeg's `lut3d` on one picture, on one thread."""

    def __init__(self, table: Tensor, rgb: Tensor) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cube = Path(folder) / "table.cube"
            colours = (" ".join(f"{value:.9g}" for value in colour) for colour in table.flatten(1).T.tolist())
            cube.write_text("\n".join([f"LUT_3D_SIZE {table.shape[-1]}", *colours]))
            self.graph = av.filter.Graph()
            self.graph.threads = 1
            height, width = rgb.shape[-2:]
            source = self.graph.add(
                "buffer", f"video_size={width}x{height}:pix_fmt={FORMAT}:time_base=1/25:pixel_aspect=1/1"
            )
            lookup, sink = self.graph.add("lut3d", f"file={cube}:interp=trilinear"), self.graph.add("buffersink")
            source.link_to(lookup)
            lookup.link_to(sink)
            self.graph.configure()
        self.frame = av.VideoFrame.from_ndarray(rgb[0].permute(1, 2, 0).contiguous().numpy(), format=FORMAT)
        self.frame.pts = 0

    def __call__(self) -> av.VideoFrame:
        self.frame.pts += 1
        self.graph.push(self.frame)
        result = self.graph.pull()
        assert isinstance(result, av.VideoFrame)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1080, 1920))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rgb, table = torch.rand(1, 3, *options.size), color_grid(33).square()
    ada_3dlut, hdrnet = Ada3DLUT().eval(), HDRNet().eval()
    ffmpeg = FFmpeg(table, rgb)
    forms: dict[str, Callable[[], object]] = {
        "FFmpeg lut3d": ffmpeg,
        "vitm.ops.color_table": lambda: apply_color_table(rgb, table[None]),
        "ada_3dlut": lambda: ada_3dlut(rgb),
        "hdrnet": lambda: hdrnet(rgb),
    }
    cpu, peak = dict.fromkeys(forms, math.inf), {}
    with torch.inference_mode():
        reference = torch.from_numpy(ffmpeg().to_ndarray()).permute(2, 0, 1)
        difference = float((apply_color_table(rgb, table[None])[0] - reference).abs().max())
        for name, form in forms.items():
            form()
            with PeakMemory("cpu") as memory:
                form()
            peak[name] = memory.mib
        for _ in range(options.rounds):
            for name, form in forms.items():
                started = time.process_time()
                form()
                cpu[name] = min(cpu[name], time.process_time() - started)
    size = "x".join(map(str, reversed(options.size)))
    print(f"{processor('cpu')}, 1 thread, torch {torch.__version__}, FFmpeg by PyAV {av.__version__}, fp32, {size}\n")
    print("| form | CPU ms | time / lut3d | extra peak MiB |")
    print("| --- | ---: | ---: | ---: |")
    for name in forms:
        print(f"| {name} | {1000 * cpu[name]:.0f} | {cpu[name] / cpu['FFmpeg lut3d']:.2f} | {peak[name]:.0f} |")
    print(f"\nLargest difference between `lut3d` and `vitm.ops.color_table`: {difference:.0e}.")


if __name__ == "__main__":
    main()
