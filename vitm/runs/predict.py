"""Convert a clip with a trained network: an HDR10 video and its frames as 16-bit PNG."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from vitm.console import console as new_console
from vitm.conversion.stream import convert_clip
from vitm.runs.entries import Entry
from vitm.runs.folders import best_checkpoint, newest_run
from vitm.video import FrameReader, HDR10Writer, verify, write_png16
from vitm.video.tags import Assume
from vitm.zoo import load_network


def predict(
    entry: Entry,
    *,
    checkpoint: Path | None,
    runs: Path,
    input: Path | None,
    output: Path | None,
    assume: Assume | None,
    fps: Fraction,
    device: str | None,
) -> int:
    """Write `<output>/<clip>_hdr.mp4` and `<output>/<clip>_hdr/000000.png` from an SDR video or folder of frames."""
    console = new_console()
    place = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    checkpoint = checkpoint or best_checkpoint(newest_run(entry, runs, "checkpoints/*.ckpt"))
    network = load_network(entry.load("task").name, checkpoint).to(place)
    source = input
    if source is None:
        from vitm.data import HDR10Triplets

        source = HDR10Triplets.demo_root() / "test_clip" / "sdr"
        console.print("No --input: this converts the [bold]demo clip[/].")
    name = f"{source.stem}_hdr"
    output = output or Path(checkpoint).resolve().parents[1] / "predictions"

    info = verify(source, expect="sdr", assume=assume)  # before any work: the whole file decodes
    output.mkdir(parents=True, exist_ok=True)
    writer = HDR10Writer(
        output / f"{name}.mp4",
        info.width + info.width % 2,  # 4:2:0 has even sizes
        info.height + info.height % 2,
        info.fps or fps,
        sample_aspect_ratio=info.sample_aspect_ratio,
        streams_from=source if info.kind == "video" else None,
    )
    times: list[Fraction] = []
    reader = FrameReader(source, expect="sdr", assume=assume)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=output) as scratch, reader, writer:

        def sdr_frames() -> Iterator[Tensor]:
            for frame in reader:
                times.append(frame.index / fps if frame.pts_seconds is None else frame.pts_seconds)
                yield torch.from_numpy(frame.rgb).permute(2, 0, 1)

        frames = Path(scratch) / name
        frames.mkdir()
        outputs = convert_clip(network, sdr_frames())
        for i, hdr_pq in enumerate(track(outputs, description=source.name, total=info.n_frames, console=console)):
            rgb = hdr_pq.permute(1, 2, 0).numpy()
            writer.write(np.pad(rgb, [(0, info.height % 2), (0, info.width % 2), (0, 0)], mode="edge"), times[i])
            write_png16(frames / f"{i:06d}.png", rgb)
        if (output / name).exists():
            shutil.rmtree(output / name)  # frames of an earlier call
        frames.rename(output / name)
    console.print(f"{len(times)} frames, MaxCLL {writer.max_cll:.0f}, MaxFALL {writer.max_fall:.0f} cd/m2")
    console.print(f"HDR10 video: {output / name}.mp4", soft_wrap=True)
    console.print(f"16-bit PNG, PQ BT.2020: {output / name}", soft_wrap=True)
    return 0


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{text!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device
