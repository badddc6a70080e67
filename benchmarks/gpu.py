"""All that is measured on a GPU, in one call of ten minutes: operators, networks and conversions.

python -m benchmarks.gpu FOLDER [--dry-run]

Each step is a process of its own, with a limit of time: one that fails, or is not through by then, does not stop the
others, and what it wrote by then stays. `--dry-run` goes through the same steps on the CPU, at small sizes, and through
the cases of the operators with tensors that have shapes and a GPU's device, but no numbers.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from vitm.video import write_image

SIZES = ("540x960", "1080x1920", "2160x3840")


def steps(folder: Path, dry_run: bool) -> list[tuple[str, int, list[str]]]:
    """Return name, limit in seconds and command of each step, the most wanted first."""
    python = [sys.executable, "-m"]
    device = "cpu" if dry_run else "cuda"
    operators = [*python, "benchmarks.ops", "--device", "cuda", "--output", str(folder / "operators.md")]
    bench = [*python, "vitm", "bench", *(["csrnet"] if dry_run else ["all"]), "--devices", device, "--rounds", "1"]
    bench += ["--sizes", *(["64x96"] if dry_run else SIZES), "--precisions", *([] if dry_run else ["fp32"]), "bf16"]
    convert = [*python, "vitm", "convert", str(folder / "clip")]
    ours = ["--model", "default", "--overwrite", "--device", device]
    cards = [] if dry_run else [("nvenc", ["--encoder", "hevc_nvenc"])]
    return [
        ("operators", 180, [*operators, *(["--dry-run"] if dry_run else [])]),
        ("networks", 300, [*bench, "--json", str(folder / "networks.json")]),
        ("converted", 60, [*convert, str(folder / "converted.mp4"), *ours]),
        *((name, 30, [*convert, str(folder / f"{name}.mp4"), *ours, *flags]) for name, flags in cards),
    ]


def write_clip(folder: Path, frames: int, height: int, width: int) -> None:
    """Write a clip of frames for the conversions."""
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width, 1)
    for i in range(frames):
        write_image(folder / f"{i:03d}.png", np.roll(ramp.repeat(3, axis=2), 7 * i, axis=1), bits=8)


def run(name: str, limit: float, command: Sequence[str], folder: Path) -> str:
    """Run a step, with what it prints in a file; return what became of it."""
    started = time.monotonic()
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(limit)
            became = "done" if status == 0 else f"failed with status {status}, see {name}.log"
        except subprocess.TimeoutExpired:
            became = f"not through in {limit} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it has started
            process.wait()
    return f"{name}: {became} ({time.monotonic() - started:.0f} s)"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what is made for the results")
    parser.add_argument("--dry-run", action="store_true", help="go through all steps on the CPU, at small sizes")
    options = parser.parse_args(arguments)
    write_clip(options.folder / "clip", *((2, 64, 96) if options.dry_run else (12, 2160, 3840)))
    results = []
    for name, limit, command in steps(options.folder, options.dry_run):
        results.append(run(name, limit, command, options.folder))
        print(results[-1], flush=True)
        (options.folder / "steps.txt").write_text("\n".join(results) + "\n")
    return int(any(": done" not in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
