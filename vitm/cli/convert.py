"""`vitm convert`: any SDR video to HDR video."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vitm.cli.options import device, frame_rate, in_words_of_the_command, luminance_or_word, positive
from vitm.cli.pipes import PIPE, files_for_pipes
from vitm.zoo import NETWORKS, OPERATORS, SHIPPED

if TYPE_CHECKING:
    from vitm.conversion import ConversionReport

_MODELS = f"""\
models: {", ".join(SHIPPED)} (a network with its weights);
{", ".join(OPERATORS)} (analytic operators);
{", ".join(name for name, listed in NETWORKS.items() if not listed.learned)} (no weights either);
{", ".join(name for name, listed in NETWORKS.items() if listed.learned)} (networks, need --checkpoint);
or the import path of a network of your own (package.module.Class)."""


_FLAGS = {"peak_nits": "--peak", "frames_folder": "--frames"}  # of parameters with other names


def main(arguments: list[str], console: Console) -> int:
    """Convert and print; return the exit status."""
    return run(_parser().parse_args(arguments), console)


def _parser() -> argparse.ArgumentParser:
    """Return the parser; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        "vitm convert",
        description="Convert an SDR video, photograph, or folder of frames to HDR. OUT appears when it is whole; "
        "interrupted, the same command goes on where it stopped. OUT.json says how it was made.",
        epilog=_MODELS,
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=Path,
        help="SDR video, photograph, or folder of frames; - for a video from standard input (Y4M, Matroska, ...); or a "
        "CSV list with the columns source,output, which several processes may share",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        nargs="?",
        type=Path,
        help="*.mp4, *.mkv, *.mov, *.y4m, the name of a folder of frames, or one picture: *.png, *.avif, *.jxl, *.jpg, "
        "*.tif, *.exr; - for standard output: Matroska, or raw frames with --codec y4m",
    )
    parser.add_argument(
        "--model", help="what converts, see below (default: the network that --checkpoint names, or else 'default')"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="weights: a checkpoint of a run here, or the authors' file; a folder of several"
    )
    parser.add_argument(
        "--flow",
        metavar="NAME",
        help="what estimates optical flow, of models that do (temporal, clues, vitm_tc, basicvsr_pp): dis (usual), "
        "aligned (by features, all frames before; in twice the time), raft, raft_small, gma, liteflownet3, zero",
    )
    parser.add_argument("--flow-weights", type=Path, help="weights of --flow, where it needs some")
    parser.add_argument("--device", type=device, help="cpu, cuda, cuda:1, ... (default: the first GPU, or the CPU)")
    parser.add_argument(
        "--devices",
        type=positive,
        metavar="N",
        help="share the segments of a video among N processes: GPUs, or --device cpu; the same command on other "
        "machines with the same file system takes part",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace OUT; begin anew if another conversion was interrupted"
    )

    level = parser.add_argument_group("level", "SDR does not say how bright the scene was. Constant over the clip.")
    level.add_argument(
        "--diffuse-white",
        metavar="NITS",
        default="auto",
        type=luminance_or_word,
        help="luminance of diffuse white: mid-tones come out where plain SDR with it has them. 'auto' (default): "
        "203 for analytic operators; for networks, where they put it, but 203 to 406. 'keep': the model's own picture",
    )
    level.add_argument(
        "--graphics",
        choices=("auto", "keep"),
        default="auto",
        help="titles, slides, screens and burned-in white letters: 'auto' (default) finds them and keeps their white "
        "at diffuse white, 'keep' leaves them to the model",
    )
    level.add_argument(
        "--peak", metavar="NITS", dest="peak_nits", type=float, help="roll highlights off below this many cd/m2"
    )
    level.add_argument(
        "--mastering-peak",
        metavar="NITS",
        type=float,
        help="peak of the mastering display in the HDR metadata, below which highlights are rolled off (default: "
        "--peak, or the lowest of 1000, 2000, 4000 and 10000 that the picture stays below)",
    )
    level.add_argument("--strength", type=float, default=1.0, help="0: plain SDR in HDR; 1: the model (default)")
    level.add_argument("--saturation", type=float, default=1.0, help="factor on chroma (1)")

    files = parser.add_argument_group("files")
    files.add_argument(
        "--codec",
        help="hevc (HDR10), hlg, prores, av1, y4m (raw); png, tiff, exr for frames in a folder or one picture; avif, "
        "jxl, ultrahdr (a JPEG with a gain map) for one picture; or the import path of your own codec (default: hevc "
        "for videos, png for folders, for a picture what its suffix says)",
    )
    files.add_argument(
        "--encoder",
        help="what encodes hevc: libx265 (default), or a graphics card: hevc_nvenc, hevc_qsv, hevc_vaapi, "
        "hevc_videotoolbox; tried on a small frame before any work",
    )
    files.add_argument(
        "--decoder",
        choices=("cuda", "qsv", "vaapi", "videotoolbox", "d3d11va"),
        help="what decodes a video instead of the CPU: a graphics card of NVIDIA (cuda) or Intel (qsv), or what Linux, "
        "Apple or Windows have; tried on the first frame before any work",
    )
    files.add_argument("--crf", type=float, help="quality of hevc, hlg and av1, lower is better")
    files.add_argument("--preset", type=_number_or_word, help="speed of the encoder")
    files.add_argument("--lossless", action="store_true", default=None, help="keep 10-bit codes exactly")
    files.add_argument(
        "--frames", metavar="FOLDER", dest="frames_folder", type=Path, help="also write the frames as 16-bit PNG"
    )
    files.add_argument(
        "--audio",
        metavar="WORDS",
        default="copy",
        help="sound: 'copy' what OUT's container holds and name the rest (default), 'transcode' the rest to AAC, or "
        "'drop' it; or such a word for each sound track, as copy,drop",
    )
    files.add_argument(
        "--preview", action="store_true", help="also write IN and OUT side by side for an SDR screen: PNG, MP4 and WebP"
    )
    files.add_argument(
        "--assume",
        metavar="TAGS",
        help="what the input's missing colour tags are: bt709, bt601-625, bt601-525, srgb, gamma22, display-p3, "
        "bt2020-sdr, or auto (BT.601 for pictures of standard definition, else BT.709)",
    )
    files.add_argument(
        "--override", metavar="TAGS", help="what they are, where the input's are wrong: such a name, full or narrow"
    )
    files.add_argument(
        "--deinterlace",
        choices=("auto", "bwdif", "off"),
        help="frames that are marked as interlaced, all, or none (default: interlaced frames are an error)",
    )
    files.add_argument("--fps", type=frame_rate, help="frame rate of a folder (24)")
    files.add_argument("--on-error", choices=("stop", "repeat"), default="stop", help="at a damaged frame")
    files.add_argument(
        "--on-change",
        choices=("error", "scale", "split"),
        default="error",
        help="where size, format or colour change in the middle: stop, naming the time (default); scale to the size of "
        "the first frame; or write OUT_1.mp4, OUT_2.mp4, ...",
    )
    files.add_argument("--segment-frames", type=int, default=120, help="frames that are finished together (120)")
    return parser


def run(options: argparse.Namespace, console: Console) -> int:
    """Convert and print; returns the exit status."""
    from dataclasses import replace

    from vitm.conversion import convert, convert_parts

    listed = options.source.suffix.lower() == ".csv"
    if listed == (options.output is not None):
        what = "is a list, and says what the outputs are" if listed else "needs an output: give OUT"
        raise ValueError(f"{options.source} {what}")
    if listed:
        return _run_list(options, console)
    if options.devices is not None:
        return _run_shared(options, console)
    to_pipe = options.output == PIPE
    with files_for_pipes(options), in_words_of_the_command(options, _FLAGS):
        arguments = _arguments(options)
        reports = convert_parts(**arguments) if options.on_change == "split" else [convert(**arguments)]
    for report in reports:
        print_report(replace(report, output=PIPE) if to_pipe else report, console)
    return 0


def _run_shared(options: argparse.Namespace, console: Console) -> int:
    """Convert by several processes and print; return the exit status."""
    from vitm.conversion import convert_shared

    if PIPE in (options.source, options.output) or options.frames_folder is not None or options.on_change == "split":
        raise ValueError(
            "--devices shares the segments of one file: it takes no -, no --frames and no --on-change split"
        )
    with in_words_of_the_command(options, _FLAGS):
        arguments = _arguments(options)
        del arguments["frames_folder"]
        report = convert_shared(**arguments, devices=options.devices)
    if report is None:
        console.print(f"{options.output}: another process finishes it", soft_wrap=True, markup=False, highlight=False)
    else:
        print_report(report, console)
    return 0


def _run_list(options: argparse.Namespace, console: Console) -> int:
    """Convert a list and print; return the exit status: 1 where something failed."""
    from vitm.conversion import convert_list

    words = {"there": "there already", "elsewhere": "another process converts it"}
    counts: Counter[str] = Counter()
    with in_words_of_the_command(options, _FLAGS):
        for item in convert_list(options.source, **_list_arguments(options)):
            counts[item.state] += 1
            if item.report is not None:
                print_report(item.report, console)
            else:
                what = words.get(item.state) or f"error: {item.error}"
                console.print(f"{item.output}: {what}", soft_wrap=True, markup=False, highlight=False)
    console.print(", ".join(f"{count} {state}" for state, count in counts.items()), highlight=False)
    return 1 if counts["failed"] else 0


def arguments_of_list(words: list[str]) -> dict[str, Any]:
    """Return the arguments of `convert_list` for a command line without the list, which many processes will be given.

    Raises:
        ValueError: an option is one that lists or such processes do not take.
    """
    options = _parser().parse_args(["LIST.csv", *words])
    if options.output is not None:
        raise ValueError(f"{options.output}: the list says what the outputs are; behind -- are options of vitm convert")
    if options.device is not None:
        raise ValueError("--device does not go behind --: --gpus and --tasks say what converts")
    if options.overwrite:
        raise ValueError("--overwrite does not go behind --: each process would replace what others made; remove it")
    return _list_arguments(options)


def _list_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `convert_list`, without the list."""
    if options.devices is not None:
        raise ValueError("--devices shares one video: a list is shared by the processes that are given it")
    if options.frames_folder is not None or options.on_change == "split":
        raise ValueError("--frames and --on-change split write more than a list says: convert such files one by one")
    arguments = _arguments(options)
    return {name: value for name, value in arguments.items() if name not in ("source", "output", "frames_folder")}


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `convert`."""
    from inspect import signature

    from vitm.conversion import Encoding, Grading, Reading, convert

    arguments = {name: getattr(options, name) for name in signature(convert).parameters if name in options}
    for group in (Reading, Grading, Encoding):
        values = {name: getattr(options, name) for name in signature(group).parameters if name in options}
        arguments[group.__name__.lower()] = group(**values)
    return arguments


def print_report(report: ConversionReport, console: Console) -> None:
    """Print what became of a conversion: the output and its light levels, and what is not in it."""
    for damaged in report.damaged:
        console.print(f"frame {damaged.frame} ({damaged.seconds:.3f} s) is damaged: the one before it was repeated")
    for first, last in report.graphics:
        frames, them = (f"frame {first} is", "it") if first == last else (f"frames {first} to {last} are", "them")
        console.print(
            f"{frames} graphics: white at {report.level.control.white_nits:g} cd/m2 "
            f"(--graphics keep leaves {them} to the model)",
            soft_wrap=True,
            highlight=False,
        )
    for words in report.notes:
        console.print(f"note: {words}", soft_wrap=True, markup=False)
    for words in report.dropped:
        console.print(f"not in the output as it was: {words}", soft_wrap=True, markup=False)
    display = "" if report.mastering_peak is None else f", mastering display {report.mastering_peak:g} cd/m2"
    console.print(
        f"{report.output}: {report.frames} frames, MaxCLL {report.max_cll:.0f}, MaxFALL {report.max_fall:.0f} cd/m2"
        f"{display}, {report.seconds:.1f} s",
        soft_wrap=True,
        markup=False,
    )
    if report.previews:
        console.print(f"Previews: {', '.join(map(str, report.previews))}", soft_wrap=True, markup=False)


def _number_or_word(text: str) -> int | str:
    return int(text) if text.isdigit() else text
