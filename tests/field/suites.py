"""Read the files of public suites, and print which of them differ from FFmpeg and why.

    python -m tests.field.suites ~/fate-suite ~/chromium/media/test/data

Compared are the number of frames, the time of each, and the frame in the middle by random access. A folder that does
not exist is skipped. Missing colour tags are taken by `assume="auto"`: colours are not compared.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

from vitm.video import FrameReader, VideoDecodeError, VideoTagError

SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".ivf", ".m2t", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(
        ".mxf",
        ".nut",
        ".ogg",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
        ".264",
        ".h264",
        ".h265",
        ".hevc",
        ".obu",
    ),
)


def main() -> int:
    """Read and print; the exit status is 1 if a file that FFmpeg reads is read otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="with videos, at any depth")
    parser.add_argument("--ffmpeg", default=imageio_ffmpeg.get_ffmpeg_exe(), help="the one of imageio-ffmpeg")
    parser.add_argument("--frames", type=int, default=2000, help="longer videos are left out (2000)")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for folder in options.folders:
        if not folder.is_dir():
            print(f"{folder}: skipped, there is no such folder")
            continue
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            verdict, why = compare(path, options.ffmpeg, options.frames)
            counts[verdict] += 1
            if verdict != "same":
                print(f"{verdict}: {path.relative_to(folder)}: {why}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "no file")
    return int(counts["different"] > 0)


def compare(path: Path, ffmpeg: str, longest: int) -> tuple[str, str]:
    """Return "same", "different", "refused", "damaged" or "left out", and why."""
    times, complaints = frames_of_ffmpeg(path, ffmpeg, longest)
    if len(times) > longest:
        return "left out", f"more than {longest} frames"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            differences = list(_differences(path, times))
    except (VideoDecodeError, VideoTagError) as error:
        words = str(error).replace(str(path), "").lstrip(": ")
        if not times:
            return "damaged", f"FFmpeg finds no frame either; {words}"
        return ("damaged" if complaints else "refused"), words
    if differences:
        return "different", "; ".join(differences) + (f" (FFmpeg: {complaints})" if complaints else "")
    return "same", ""


def _differences(path: Path, times: list[Fraction]) -> Iterator[str]:
    with FrameReader(path, assume="auto", deinterlace="off", on_change="scale") as reader:
        frames = [frame.pts_seconds or Fraction(0) for frame in reader]
        if len(frames) != len(times):
            yield f"{len(frames)} frames instead of {len(times)}"
            return
        begin = frames[0] - times[0]
        late = [a - b - begin for a, b in zip(frames, times, strict=True)]
        if wrong := [i for i, seconds in enumerate(late) if abs(seconds) > Fraction(1, 500)]:
            yield f"{len(wrong)} times differ, the first of frame {wrong[0]} by {float(late[wrong[0]]):.3f} s"
        middle = len(frames) // 2
        (frame,) = reader.read([middle])
        if frame.pts_seconds != frames[middle]:
            yield f"frame {middle} is found at {float(frame.pts_seconds or 0):.3f} s"


def frames_of_ffmpeg(path: Path, ffmpeg: str, longest: int) -> tuple[list[Fraction], str]:
    """Return the times of the frames that FFmpeg decodes, and its first complaint."""
    command = [ffmpeg, "-hide_banner", "-v", "error", "-noautorotate", "-i", f"file:{path}", "-map", "0:V:0"]
    command += ["-fps_mode", "passthrough", "-enc_time_base", "demux", "-frames:v", str(longest + 1)]
    done = subprocess.run(
        [*command, "-s", "16x16", "-f", "framemd5", "-"], capture_output=True, check=False, timeout=600
    )
    text = done.stdout.decode(errors="replace")
    tick = re.search(r"#tb 0: (\d+)/(\d+)", text)
    base = Fraction(int(tick[1]), int(tick[2])) if tick else Fraction(1)
    times = [int(line.split(",")[2]) * base for line in text.splitlines() if line and not line.startswith("#")]
    complaints = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return times, complaints[0] if complaints else ""


if __name__ == "__main__":
    sys.exit(main())
