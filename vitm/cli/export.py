"""`vitm export`: a model as a file for players and inference engines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vitm.cli.options import in_words_of_the_command, luminance_or_word

if TYPE_CHECKING:
    from vitm.conversion.export import ExportReport


def main(arguments: list[str], console: Console) -> int:
    """Export and print; return the exit status."""
    return run(_parser().parse_args(arguments), console)


def _parser() -> argparse.ArgumentParser:
    """Return the parser; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        "vitm export",
        description="Write a model as an ONNX graph, for TensorRT, ONNX Runtime and filters of players; or a model "
        "that maps colours as a table (.cube), for FFmpeg, mpv and editors. The file is checked against the model.",
    )
    parser.add_argument("model", metavar="MODEL", help="what converts, as `vitm convert --model` takes it")
    parser.add_argument("output", metavar="OUT", type=Path, help="*.onnx or *.cube")
    parser.add_argument("--checkpoint", type=Path, help="weights: a checkpoint of a run here, or the authors' file")
    parser.add_argument("--flow-weights", type=Path, help="weights of the model's optical flow, where it needs some")
    parser.add_argument("--half", action="store_true", help="ONNX: convolutions and matrix products in fp16")
    parser.add_argument("--size", type=int, default=33, help="table: vertices along each axis (33; 65 is usual too)")
    parser.add_argument(
        "--clip",
        type=Path,
        metavar="IN",
        help="SDR video or folder of frames that the table is made for, and that a network's level is measured on",
    )
    parser.add_argument(
        "--scenes",
        action="store_true",
        help="a table for each scene of the clip: OUT_001.cube, ...; OUT.csv lists them",
    )
    parser.add_argument("--assume", metavar="TAGS", help="what the clip's missing colour tags are")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")

    level = parser.add_argument_group("level", "Part of the file. Titles and slides are not found.")
    level.add_argument(
        "--diffuse-white",
        metavar="NITS",
        default="auto",
        type=luminance_or_word,
        help="luminance of diffuse white; 'auto' (default) as in `vitm convert`, 'keep' the model's own picture, as "
        "'auto' has it for networks without --clip",
    )
    level.add_argument(
        "--peak", metavar="NITS", dest="peak_nits", type=float, help="roll highlights off below this many cd/m2"
    )
    level.add_argument("--strength", type=float, default=1.0, help="0: plain SDR in HDR; 1: the model (default)")
    level.add_argument("--saturation", type=float, default=1.0, help="factor on chroma (1)")
    return parser


def run(options: argparse.Namespace, console: Console) -> int:
    """Export and print; return the exit status."""
    from vitm.conversion.export import export, export_scenes
    from vitm.conversion.options import Grading, Reading

    grading = Grading(
        diffuse_white=options.diffuse_white,
        peak_nits=options.peak_nits,
        strength=options.strength,
        saturation=options.saturation,
    )
    chosen: dict[str, Any] = {
        "checkpoint": options.checkpoint,
        "size": options.size,
        "clip": options.clip,
        "reading": Reading(assume=options.assume),
        "grading": grading,
        "overwrite": options.overwrite,
    }
    if options.scenes and (options.clip is None or options.half or options.flow_weights is not None):
        raise ValueError(
            "--scenes makes tables of colours for a clip: give --clip, and neither --half nor --flow-weights"
        )
    with (
        in_words_of_the_command(options, {"peak_nits": "--peak"}),
        console.status(f"{options.model} to {options.output}"),
    ):
        if options.scenes:
            reports = export_scenes(options.model, options.output, **chosen)
        else:
            weights = {"flow_weights": options.flow_weights, "half": options.half}
            reports = [export(options.model, options.output, **weights, **chosen)]
    for report in reports:
        print_report(report, console)
    return 0


def print_report(report: ExportReport, console: Console) -> None:
    """Print what the file holds, and how near it is to the model."""
    for name, words in report.facts.items():
        console.print(f"{name}: {words}", soft_wrap=True, markup=False, highlight=False)
    for (height, width), difference in report.differences.items():
        console.print(
            f"{height}x{width}: ONNX Runtime differs from PyTorch by {difference:.1e} at most, {1023 * difference:.2g} "
            "codes of 10 bits",
            highlight=False,
        )
    if report.errors is not None:
        console.print(f"the table beside the model: {report.errors}", soft_wrap=True, highlight=False)
    console.print(f"{report.output}: {report.output.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
