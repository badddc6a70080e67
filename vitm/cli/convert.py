"""`vitm convert`: any SDR video to HDR video."""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from vitm.baselines.analytic import DIFFUSE_WHITE_NITS
from vitm.cli.options import frame_rate
from vitm.color import METHODS
from vitm.conversion.level import LevelControl, midtone_white, usual_white
from vitm.conversion.preview import write_previews
from vitm.conversion.resume import Job
from vitm.conversion.stream import context, convert_clip
from vitm.files import digest, replace_when_whole
from vitm.video import BT2020_1000_NITS, FrameReader, StreamWarning, Writer, open_writer
from vitm.video.cuts import CutDetector
from vitm.video.read.ahead import read_ahead
from vitm.video.read.frames import list_frames
from vitm.video.tags import Assume
from vitm.video.write.outputs import list_outputs, output_grid, output_role
from vitm.zoo import NETWORKS, load_network

_SAMPLES = 12  # frames that the automatic level is measured on


def add_parser(commands: Any) -> None:
    """Add the command to the parsers of `vitm`."""
    parser = commands.add_parser(
        "convert",
        help="convert SDR video to HDR",
        description="Convert an SDR video, or a folder of SDR frames, to HDR. OUT appears when it is whole; "
        "interrupted, the same command goes on where it stopped. OUT.json says how it was made.",
        epilog=f"models: {', '.join(NETWORKS)} (need --checkpoint); {', '.join(METHODS)} (analytic, need nothing).",
    )
    parser.add_argument("input", metavar="IN", type=Path, help="SDR video, or folder of 8- or 16-bit frames")
    parser.add_argument(
        "output", metavar="OUT", type=Path, help="*.mp4, *.mkv, *.mov, or the name of a folder of frames"
    )
    parser.add_argument("--model", required=True, help="what converts: see below")
    parser.add_argument("--flow-weights", type=Path, help="weights of the model's optical flow, where it needs some")
    parser.add_argument("--checkpoint", type=Path, help="weights: a checkpoint of a run here, or the authors' file")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace OUT; begin anew if another job was interrupted"
    )

    level = parser.add_argument_group("level", "SDR does not say how bright the scene was. Constant over the clip.")
    level.add_argument(
        "--diffuse-white",
        metavar="NITS",
        default="auto",
        help="put the mid-tones where SDR with its white at this many cd/m2 has them; 'keep': where the model puts "
        f"them; 'auto' (default): where the model puts them, but {DIFFUSE_WHITE_NITS:g} to {2 * DIFFUSE_WHITE_NITS:g}",
    )
    level.add_argument("--peak", metavar="NITS", type=float, help="roll highlights off below this")
    level.add_argument("--strength", type=float, default=1.0, help="0: plain SDR in HDR; 1: the model (default)")
    level.add_argument("--saturation", type=float, default=1.0, help="factor on chroma (1)")

    files = parser.add_argument_group("files")
    files.add_argument("--codec", choices=list_outputs(), help="default: hevc (HDR10) for videos, png for folders")
    files.add_argument("--crf", type=float, help="quality of hevc, hlg and av1, lower is better")
    files.add_argument("--preset", help="speed of the encoder")
    files.add_argument("--lossless", action="store_true", default=None, help="of 10-bit codes")
    files.add_argument("--preview", action="store_true", help="also write OUT's tone-mapped side-by-side, PNG and MP4")
    files.add_argument("--assume", choices=get_args(Assume), help="what the input's missing colour tags are (bt709)")
    files.add_argument("--fps", type=frame_rate, help="frame rate of a folder (24)")
    files.add_argument("--on-error", choices=("stop", "repeat"), default="stop", help="at a damaged frame")
    files.add_argument("--segment-frames", type=int, default=120, help="frames that are finished together (120)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Convert, write the report and print; returns the exit status."""
    codec: str = options.codec or ("hevc" if options.output.suffix else "png")
    work = options.output.with_name(f".{options.output.name}.vitm")
    _check_places(options)
    LevelControl(peak_nits=options.peak, strength=options.strength, saturation=options.saturation)  # before any work
    network = load_network(options.model, options.checkpoint, options.flow_weights).to(options.device)
    if options.model not in METHODS and options.checkpoint is None:
        raise ValueError(
            f"{options.model} needs weights: --checkpoint PATH (analytic models need none: {', '.join(METHODS)})"
        )
    folder = options.input.is_dir()
    if options.fps is not None and not folder:
        raise ValueError(f"--fps is for folders of frames; {options.input} has its own times")
    rate: dict[str, Any] = {"fps": options.fps or Fraction(24)} if folder else {}
    reader = FrameReader(options.input, expect="sdr", assume=options.assume, on_error=options.on_error, **rate)

    job = Job(work, _identity(options, reader), options.overwrite)
    level, found = job.level or _level(options, network, reader)
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StreamWarning)  # the report names what was dropped
        with reader, _open(options, codec, work, reader, level) as writer:
            job.begin(level, found)
            if hasattr(network, "folder"):  # what a whole scene leaves on disk lies beside the work
                for left_over in work.glob("vitm-*"):
                    shutil.rmtree(left_over)
                network.folder = work
            done = writer.finished_frames
            console.print(
                f"{options.input.name}: {len(reader)} frames, {_words(level, found)}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
            if done:
                console.print(f"Going on after {done} frames of an interrupted run.")
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            with Progress(*columns, console=console) as progress:
                task = progress.add_task(options.model, total=len(reader), completed=done)
                try:
                    for hdr_pq, pts in _converted(network, level, reader, done):
                        job.note(reader.damaged)
                        writer.write(_even(hdr_pq) if output_grid(codec) != (1, 1) else hdr_pq, pts)
                        progress.advance(task)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(f"; finished frames are kept in {work}: the same command goes on") from None
    job.end()
    seconds = time.monotonic() - started
    report = _report(options, codec, (level, found), job.damaged, writer, seconds)
    with replace_when_whole(options.output.with_name(f"{options.output.name}.json")) as part:
        part.write_text(json.dumps(report, indent=2, default=str))
    for index, at in job.damaged:
        console.print(f"frame {index} ({at:.3f} s) is damaged: the one before it was repeated")
    for words in writer.dropped:
        console.print(f"not in the output: {words}", soft_wrap=True, markup=False)
    console.print(
        f"{options.output}: {writer.n_frames} frames, MaxCLL {writer.max_cll:.0f}, MaxFALL {writer.max_fall:.0f} "
        f"cd/m2, {seconds:.1f} s",
        soft_wrap=True,
        markup=False,
    )
    if options.preview:
        _preview(options, codec, rate, console)
    return 0


def _open(options: argparse.Namespace, codec: str, work: Path, reader: FrameReader, level: LevelControl) -> Writer:
    info = reader.info
    chosen: dict[str, Any] = {
        key: value for key in ("crf", "preset", "lossless") if (value := getattr(options, key)) is not None
    }
    if level.peak_nits is not None and codec in ("hevc", "prores", "av1"):
        chosen["mastering"] = replace(BT2020_1000_NITS, max_nits=level.peak_nits)
    if output_grid(codec) == (1, 1):
        return open_writer(options.output, info.width, info.height, info.fps or 24, codec, work_dir=work, **chosen)
    return open_writer(
        options.output,
        info.width + info.width % 2,
        info.height + info.height % 2,
        info.fps or 24,
        codec,
        work_dir=work,
        segment_frames=options.segment_frames,
        sample_aspect_ratio=info.sample_aspect_ratio,
        streams_from=options.input if info.kind == "video" else None,
        **chosen,
    )


def _converted(
    network: nn.Module, level: LevelControl, reader: FrameReader, done: int
) -> Iterator[tuple[Tensor, Fraction | None]]:
    """Each frame from number `done` on, with its time. Reading, the network and the caller's writing overlap."""
    first = max(0, done - context(network))
    waiting: deque[tuple[Tensor | None, int, Fraction | None]] = deque()
    blends = level.strength != 1  # only then is the input needed beside the result, which may come a scene later
    detector = CutDetector()

    def sdr_frames() -> Iterator[Tensor]:
        for frame in read_ahead(reader.read(range(first, len(reader))), depth=1):
            sdr = torch.from_numpy(frame.rgb).permute(2, 0, 1).clamp(0, 1)
            waiting.append((sdr if blends else None, frame.index, frame.pts_seconds))
            yield sdr

    def outputs() -> Iterator[tuple[Tensor, Fraction | None]]:
        for hdr_pq in convert_clip(network, sdr_frames(), lambda sdr: detector(sdr.permute(1, 2, 0).numpy())):
            sdr, index, pts_seconds = waiting.popleft()
            if index >= done:
                with torch.inference_mode():
                    yield level(hdr_pq, hdr_pq if sdr is None else sdr), pts_seconds

    return read_ahead(outputs(), depth=1)


def _even(hdr_pq: Tensor) -> Tensor:
    """4:2:0 and 4:2:2 have even sizes: the last row and column are repeated."""
    right, bottom = hdr_pq.shape[-1] % 2, hdr_pq.shape[-2] % 2
    if not (right or bottom):
        return hdr_pq
    return nn.functional.pad(hdr_pq[None], (0, right, 0, bottom), mode="replicate")[0]


def _level(options: argparse.Namespace, network: nn.Module, reader: FrameReader) -> tuple[LevelControl, float | None]:
    """The controls, and the white that the model's own mid-tones tell (None: not measured, or none there)."""
    control = LevelControl(peak_nits=options.peak, strength=options.strength, saturation=options.saturation)
    white = options.diffuse_white
    if white == "keep" or (white == "auto" and options.model in METHODS):  # analytic operators state their level
        return control, None
    if white != "auto":
        try:
            control = replace(control, white_nits=float(white))
        except ValueError:
            raise ValueError(f"--diffuse-white {white}: expected cd/m2, 'auto' or 'keep'") from None
    found = midtone_white(_sampled(network, reader))
    if found is None:
        return control, None
    wanted = usual_white(found) if white == "auto" else control.white_nits
    return replace(control, gain=wanted / found), found


def _sampled(network: nn.Module, reader: FrameReader) -> Iterator[tuple[Tensor, Tensor]]:
    """(hdr_pq, sdr) of frames spread over the clip, and small: the level is in the large."""
    indices = {(2 * i + 1) * len(reader) // (2 * _SAMPLES) for i in range(_SAMPLES)}
    for frame in reader.read(sorted(indices)):
        sdr = torch.from_numpy(frame.rgb).permute(2, 0, 1).clamp(0, 1)
        factor = min(1.0, 540 / min(sdr.shape[1:]))
        if factor < 1:
            sdr = nn.functional.interpolate(sdr[None], scale_factor=factor, mode="area")[0]
        for hdr_pq in convert_clip(network, [sdr]):
            yield hdr_pq, sdr


def _words(level: LevelControl, found: float | None) -> str:
    """The level controls, as the console says them."""
    words = [f"gain {level.gain:.3f}"]
    if found is not None:
        words.append(f"the model's mid-tones tell of white at {found:.0f} cd/m2")
    if level.strength != 1:
        words.append(f"strength {level.strength:g}")
    if level.saturation != 1:
        words.append(f"saturation {level.saturation:g}")
    if level.peak_nits is not None:
        words.append(f"peak {level.peak_nits:g} cd/m2")
    return "level: " + ", ".join(words)


def _check_places(options: argparse.Namespace) -> None:
    """OUT may replace an older OUT where that is asked for, and never IN."""
    source, output = options.input.resolve(), options.output.resolve()
    if source == output or output in source.parents:
        raise ValueError(f"{options.output} would replace {options.input}: choose another name")
    if output.exists() and not options.overwrite:
        raise ValueError(f"{options.output} is there already: --overwrite replaces it")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent}: create it first")


def _identity(options: argparse.Namespace, reader: FrameReader) -> dict[str, Any]:
    names = ["model", "diffuse_white", "peak", "strength", "saturation", "codec", "crf", "preset", "lossless"]
    names += ["assume", "fps", "on_error"]
    path = options.input
    stats = [file.stat() for file in (list_frames(path) if path.is_dir() else [path])]
    return {
        "version": version("vitm"),
        "input": f"{path.resolve()} {sum(s.st_size for s in stats)} {max(s.st_mtime_ns for s in stats)}",
        "checkpoint": _digest(options.checkpoint),
        **{name: getattr(options, name) for name in names},
    }


def _digest(path: Path | None) -> str | None:
    return None if path is None else digest(path)


def _report(
    options: argparse.Namespace,
    codec: str,
    level: tuple[LevelControl, float | None],
    damaged: list[tuple[int, float]],
    writer: Writer,
    seconds: float,
) -> dict[str, Any]:
    """How the output was made."""
    control, found = level
    return {
        "input": str(options.input),
        "output": str(options.output),
        "codec": codec,
        "model": options.model,
        "checkpoint": None if options.checkpoint is None else str(options.checkpoint),
        "checkpoint_sha256": _digest(options.checkpoint),
        "level": {
            **asdict(control),
            "diffuse_white": options.diffuse_white,
            "midtone_white_of_the_model": found,
        },
        "frames": writer.n_frames,
        "max_cll": round(writer.max_cll, 1),
        "max_fall": round(writer.max_fall, 1),
        "damaged_frames": [{"frame": index, "seconds": at} for index, at in damaged],
        "dropped": writer.dropped,
        "seconds": round(seconds, 1),
        "device": options.device,
        "vitm": version("vitm"),
        "torch": torch.__version__,
    }


def _preview(options: argparse.Namespace, codec: str, rate: dict[str, Any], console: Console) -> None:
    picture, video = (options.output.with_name(f"{options.output.stem}_preview{end}") for end in (".png", ".mp4"))
    folder_rate = rate if output_grid(codec) == (1, 1) else {}
    with (
        FrameReader(options.input, expect="sdr", assume=options.assume, on_error=options.on_error, **rate) as sdr,
        FrameReader(options.output, expect=output_role(codec), **folder_rate) as hdr,
    ):
        write_previews(sdr, hdr, picture, video, sdr.info.fps or Fraction(24))
    console.print(f"Previews: {picture}, {video}", soft_wrap=True, markup=False)
