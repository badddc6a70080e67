"""The plain path of `vitm convert` (reading, an operator, light levels, ten-bit planes) beside FFmpeg's zscale.

python -m benchmarks.plain_path [--size 1080 1920] [--frames 8] [--rounds 3]

The forms take turns, each in a process of its own with one thread; each row has the best of the rounds. Decoding of an
H.264 clip is in all of them, encoding in none. By default zscale takes powers and PQ from tables; with `agamma=0` it
computes them, as we do.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg

from vitm.cli import keep_memory
from vitm.conversion.convert import converted
from vitm.conversion.level import Level, LevelControl
from vitm.nets.analytic import Analytic
from vitm.video import FrameReader, Writer
from vitm.video.planes import Float, rgb_to_planes

TAGS = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
TO_PQ = "zscale=primaries=2020:transfer=smpte2084:matrix=2020_ncl:range=tv:npl=203"
FILTERS = {
    "decoding alone": "null",
    "zscale": f"{TO_PQ},format=yuv420p10le",
    "zscale, exact": f"{TO_PQ}:agamma=0,format=yuv420p10le",
}
OPERATORS = ("clip", "bt2446a")


class Planes(Writer):
    """A writer that makes the planes of each frame and forgets them."""

    def _put(self, image: Float, ticks: int) -> None:
        rgb_to_planes(image)

    def _finish(self) -> None:
        pass

    def _clean_up(self) -> None:
        pass


def ffmpeg(*arguments: str) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def make_clip(path: Path, height: int, width: int, frames: int) -> Path:
    """Write a clip with structure of all sizes and a little noise."""
    source = f"mandelbrot=size={width}x{height}:rate=24,noise=alls=3:allf=t,format=yuv420p,{TAGS}"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", str(frames), "-c:v", "libx264", "-preset", "veryfast", str(path))
    return path


def filter_seconds(clip: Path, frames: int, filters: str) -> float:
    """CPU seconds a frame of FFmpeg in one thread."""
    one_thread = ("-threads", "1", "-filter_threads", "1")
    report = ffmpeg("-benchmark", *one_thread, "-i", str(clip), "-vf", filters, "-f", "null", "-")
    return sum(float(seconds) for seconds in re.findall(r"[us]time=([\d.]+)s", report)) / frames


def our_seconds(clip: Path, operator: str) -> float:
    """CPU seconds a frame of ours, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plain_path", "--measure", operator, str(clip)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure(operator: str, clip: Path) -> float:
    keep_memory()
    level = Level(LevelControl(), finds_graphics=True)
    with FrameReader(clip, expect="sdr") as reader:
        writer = Planes(clip, reader.info.width, reader.info.height)
        for _ in range(2):  # the first time, tables are made and memory is asked for
            start = time.process_time()
            for hdr_pq, _, _ in converted(Analytic(operator), level, reader, 0):
                writer.write(hdr_pq)
    return (time.process_time() - start) / len(reader)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_path", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(1080, 1920), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--measure", nargs=2, metavar=("OPERATOR", "CLIP"), help="print the CPU seconds a frame of one form"
    )
    args = parser.parse_args()
    if args.measure:
        print(measure(args.measure[0], Path(args.measure[1])))
        return
    with TemporaryDirectory() as folder:
        clip = make_clip(Path(folder, "clip.mp4"), *args.size, args.frames)
        forms: dict[str, Callable[[], float]] = {
            **{name: partial(filter_seconds, clip, args.frames, filters) for name, filters in FILTERS.items()},
            **{f"vitm {name}": partial(our_seconds, clip, name) for name in OPERATORS},
        }
        best: dict[str, float] = {}
        for _ in range(args.rounds):
            for name, seconds in forms.items():
                best[name] = min(best.get(name, float("inf")), seconds())
    print("| form | CPU ms a frame | time / zscale | time / exact zscale |\n| --- | ---: | ---: | ---: |")
    for name, seconds in best.items():
        ratios = (seconds / best[form] for form in ("zscale", "zscale, exact"))
        print(f"| {name} | {1000 * seconds:.0f} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
