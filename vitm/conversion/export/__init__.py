"""Models as files that players and inference engines take: ONNX graphs, and tables of colours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from vitm.checkpoints import checkpoint_digest
from vitm.conversion.export.graph import TOLERANCE, Converter, check_packages, graph_differences, write_graph
from vitm.conversion.export.table import ColorMap, TableErrors, make_table, table_errors, write_cube
from vitm.conversion.level import Level, LevelControl, choose_level, sample_frames, surveyed, with_gain
from vitm.conversion.model import choose_model
from vitm.conversion.options import Grading, Reading
from vitm.files import check_writable, replace_when_whole
from vitm.nets.analytic import Analytic
from vitm.nets.interface import ColorMapNetwork, SpillingNetwork
from vitm.video import FrameReader
from vitm.video.cuts import CutDetector
from vitm.video.read.stretch import StretchReader
from vitm.zoo import SHIPPED, shipped_weights

KINDS = (".onnx", ".cube")
_DOMAINS = (
    "input: RGB of BT.709, gamma code in [0, 1], full range",
    "output: RGB of BT.2020, PQ code (SMPTE ST 2084) in [0, 1], 1 = 10000 cd/m2, full range",
)


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how near it is to the model.

    Attributes:
        output: the file.
        model: name of the network or operator.
        level: the level that is part of the file.
        facts: what the file says of itself.
        differences: largest difference between ONNX Runtime's codes and PyTorch's, by size; empty for a table.
        errors: how far a table is from its map; None for a graph.
    """

    output: Path
    model: str
    level: Level
    facts: Mapping[str, str]
    differences: Mapping[tuple[int, int], float] = field(default_factory=dict)
    errors: TableErrors | None = None


def export(
    model: str | nn.Module | None,
    output: str | PathLike[str],
    *,
    checkpoint: str | PathLike[str] | None = None,
    flow_weights: str | PathLike[str] | None = None,
    half: bool = False,
    size: int = 33,
    clip: str | PathLike[str] | None = None,
    reading: Reading = Reading(),
    grading: Grading = Grading(),
    overwrite: bool = False,
) -> ExportReport:
    """Write a model as an ONNX graph or as a table of colours, and check the file against the model.

    A graph takes frames of any height and width, or the windows of frames of a clip network; ONNX Runtime's result on
    the CPU is compared with PyTorch's. A table (`.cube`) holds a model that maps colours: an analytic operator, or a
    network by the statistics of a clip.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     report = export("bt2446c", Path(folder, "bt2446c.cube"), size=17)
        >>> report.errors.tetrahedral < 50  # codes of 10 bits
        True

    Args:
        model: as for `vitm.convert`; a network that is given as an object is brought to the CPU.
        output: path of the file, `.onnx` or `.cube`.
        checkpoint: as for `vitm.convert`.
        flow_weights: as for `vitm.convert`.
        half: whether a graph's convolutions and matrix products are in fp16.
        size: number of a table's vertices along each axis; players take 33 and 65.
        clip: SDR video or folder of frames, by which the model's map of colours and its level are chosen: on twelve
            frames spread over it.
        reading: how the clip is read.
        grading: the level, which becomes part of the file. With "auto" and without a clip, a network's own picture.
            Graphics are not found.
        overwrite: whether a file that is there is replaced.

    Raises:
        FileNotFoundError: the clip or a file of weights does not exist.
        ImportError: packages of the extra `export` are not installed.
        ValueError: the output is there already, the model cannot be exported so, or an argument is out of range.
        RuntimeError: the file's result differs from the model's; there is no output then.
    """
    return _export(model, output, checkpoint, flow_weights, half, size, clip, reading, grading, overwrite)


def export_scenes(
    model: str | nn.Module | None,
    output: str | PathLike[str],
    *,
    clip: str | PathLike[str],
    checkpoint: str | PathLike[str] | None = None,
    size: int = 33,
    reading: Reading = Reading(),
    grading: Grading = Grading(),
    overwrite: bool = False,
) -> list[ExportReport]:
    """Write a table of colours for each scene of a clip: OUT_001.cube, OUT_002.cube, ..., all of one level.

    `OUT.csv` says which frames each is for: table, first and last frame (from 0), and seconds of the first.

    Args:
        model: as for `export`, and so are the others; one that maps colours.
        output: path, `.cube`, from which the names of the tables are made.
        clip: SDR video or folder of frames, which is decoded once more to find its scenes.
        checkpoint: weights of the model.
        size: number of a table's vertices along each axis.
        reading: how the clip is read.
        grading: the level.
        overwrite: whether files that are there are replaced.

    Returns:
        The report of each table.

    Raises:
        ValueError: as `export`, for any of the tables.
    """
    output = Path(output)
    if output.suffix.lower() != ".cube":
        raise ValueError(f"cannot export scenes to {output}: expected a file that ends in .cube")
    listed = output.with_suffix(".csv")
    if listed.exists() and not overwrite:
        raise ValueError(f"{listed} exists already: overwrite=True replaces it")
    with reading.open(Path(clip)) as reader:
        scenes, seconds = find_scenes(reader)
    reports: list[ExportReport] = []
    rows = ["table,first,last,seconds"]
    for number, (scene, start) in enumerate(zip(scenes, seconds, strict=True), start=1):
        table = output.with_name(f"{output.stem}_{number:03d}{output.suffix}")
        level = reports[0].level if reports else None
        options = checkpoint, None, False, size, clip, reading, grading, overwrite
        reports.append(_export(model, table, *options, scene=scene, level=level))
        rows.append(f"{table.name},{scene[0]},{scene[-1]},{float(start or 0):.6f}")
    with replace_when_whole(listed) as part:
        part.write_text("\n".join([*rows, ""]))
    return reports


def find_scenes(reader: FrameReader | StretchReader) -> tuple[list[range], list[Fraction | None]]:
    """Return the numbers of each scene's frames, and the time of its first one."""
    is_cut, starts, seconds, count = CutDetector(), list[int](), list[Fraction | None](), 0
    for frame in reader:
        if is_cut(frame.rgb) or not starts:
            starts.append(frame.index)
            seconds.append(frame.pts_seconds)
        count = frame.index + 1
    return [range(first, end) for first, end in itertools.pairwise([*starts, count])], seconds


def _export(
    model: str | nn.Module | None,
    output: str | PathLike[str],
    checkpoint: str | PathLike[str] | None,
    flow_weights: str | PathLike[str] | None,
    half: bool,
    size: int,
    clip: str | PathLike[str] | None,
    reading: Reading,
    grading: Grading,
    overwrite: bool,
    scene: range | None = None,
    level: Level | None = None,
) -> ExportReport:
    """Export as `export` does, for the frames of a scene, and with a level that is chosen already."""
    output = Path(output)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if (kind := output.suffix.lower()) not in KINDS:
        raise ValueError(f"cannot export to {output}: expected a file that ends in {' or '.join(KINDS)}")
    check_writable(output)
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already: overwrite=True replaces it")
    if not 2 <= size <= 129:
        raise ValueError(f"size={size}: expected 2 to 129 vertices")
    if half and kind != ".onnx":
        raise ValueError("half=True: a table has numbers in text; only ONNX graphs are in fp16")
    if kind == ".onnx":
        check_packages()
    name, network = choose_model(model, checkpoint, {"flow_weights": flow_weights}, "cpu")
    if kind == ".onnx":
        _check_graph(name, network)
    else:
        _check_table(name, network, clip is not None)
    frames: list[Tensor] = []
    color_map: ColorMap | None = None
    with ExitStack() as stack:
        reader: FrameReader | StretchReader | None = None
        samples: Iterable[Tensor] | None = None
        if clip is not None:
            stack.enter_context(reader := reading.open(Path(clip)))
            samples = stack.enter_context(surveyed(network, reader))
        level = level or _level(network, grading, samples)
        network, control = with_gain(network, level.control)
        if reader is not None and kind == ".cube":
            frames = [sdr[None] for sdr in sample_frames(reader, scene)]
        if kind == ".cube":
            assert isinstance(network, ColorMapNetwork)
            with torch.inference_mode():
                color_map = network.color_map_for(frames)
    file = shipped_weights(name) if name in SHIPPED else checkpoint
    facts = {
        "model": name,
        "weights": "none" if file is None else f"{file.name}, SHA-256 {checkpoint_digest(file)}",
        "level": "the model's own" if level.control == LevelControl() else str(level).removeprefix("level: "),
        **({} if scene is None else {"frames": f"{scene[0]} to {scene[-1]}, from 0"}),
        "vitm": version("vitm"),
    }
    with replace_when_whole(output) as part:
        if kind == ".onnx":
            converter = Converter(network, control)
            facts = write_graph(part, converter, half, facts)
            differences = graph_differences(part, converter)
            _check_differences(name, half, differences)
            return ExportReport(output, name, level, facts, differences)
        assert color_map is not None
        with torch.inference_mode():
            errors = _write_table(part, network, color_map, control, size, frames, facts)
        return ExportReport(output, name, level, facts, errors=errors)


def _check_graph(name: str, network: nn.Module) -> None:
    """Raise if a network can be no graph."""
    if isinstance(network, SpillingNetwork):
        raise ValueError(
            f"{name} cannot be an ONNX graph: it looks at whole scenes, whose length a graph would fix, and estimates "
            "motion on the host; convert with it instead"
        )


def _check_table(name: str, network: nn.Module, clip: bool) -> None:
    """Raise if a network can be no table, or lacks a clip."""
    if not isinstance(network, ColorMapNetwork):
        raise ValueError(
            f"{name} cannot be a table of colours: what becomes of a pixel depends on its surroundings; write an ONNX "
            "graph instead (OUT.onnx)"
        )
    if network.colors_by_scene and not clip:
        raise ValueError(
            f"{name} makes its map of colours from frames: give the clip that the table is for (clip=FILE)"
        )


def _level(network: nn.Module, grading: Grading, samples: Iterable[Tensor] | None) -> Level:
    """Choose the level as a conversion does; without a clip, a network's own picture where nothing else is asked."""
    own = samples is None and not isinstance(network, Analytic) and grading.diffuse_white == "auto"
    return choose_level(network, samples, grading.control, "keep" if own else grading.diffuse_white, "keep")


def _check_differences(name: str, half: bool, differences: Mapping[tuple[int, int], float]) -> None:
    """Raise if a graph does not give the model's codes. In fp16 nothing but finite numbers can be asked for."""
    for (height, width), difference in differences.items():
        if not difference <= (1 if half else TOLERANCE):
            raise RuntimeError(
                f"{name} cannot be an ONNX graph: at {height}x{width} ONNX Runtime's codes differ from PyTorch's by "
                f"{difference:.1e}, more than {TOLERANCE:.0e}"
            )


def _write_table(
    path: Path,
    network: nn.Module,
    color_map: ColorMap,
    control: LevelControl,
    size: int,
    frames: Sequence[Tensor],
    facts: Mapping[str, str],
) -> TableErrors:
    """Write the table of a network's map with its level, and measure it."""

    def leveled(convert: ColorMap) -> ColorMap:
        return lambda sdr: control(convert(sdr).float().clamp(0, 1), sdr)

    color_map, own = leveled(color_map), leveled(network)
    table = make_table(color_map, size)
    errors = table_errors(table, color_map, [(sdr, own(sdr)) for sdr in frames])
    write_cube(
        path, table, f"vitm {facts['model']}, SDR to HDR10", [*_DOMAINS, *map(": ".join, facts.items()), str(errors)]
    )
    return errors
