"""A list of conversions, one after another, which several processes may share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import nn

from vitm.conversion.convert import ConversionReport, check_output, check_places, convert, work_folder
from vitm.conversion.model import choose_model
from vitm.conversion.options import Encoding, Grading
from vitm.files import LockedError, check_writable, is_locked, lock, read_rows
from vitm.nets.flow import FlowName


@dataclass(frozen=True)
class ListedConversion:
    """What became of one line of a list.

    Attributes:
        source: the SDR video or folder of frames.
        output: the HDR video or folder of frames.
        state: "converted"; "there" where the output was whole already; "elsewhere" where another process converts it;
            "failed".
        report: how the output was made; None unless it was converted now.
        error: why it failed; None otherwise.
    """

    source: Path
    output: Path
    state: Literal["converted", "there", "elsewhere", "failed"]
    report: ConversionReport | None = None
    error: Exception | None = None


def convert_list(
    path: str | PathLike[str], model: str | nn.Module | None = None, *, overwrite: bool = False, **options: Any
) -> Iterator[ListedConversion]:
    """Convert the files of a list one after another; one that fails does not stop the others.

    The same call goes on after an interruption: outputs that are whole are left, and the one that was interrupted goes
    on where it stopped. Processes that are given the same list, on machines that share a file system, share the work.

    Args:
        path: CSV file with the columns source and output; its paths are relative to the list.
        model: as for `convert`.
        overwrite: whether outputs that are there are replaced; by each process that is given the list.
        **options: the other options of `convert`, but `frames_folder`.

    Yields:
        What became of each line, in their order.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a column or a path is missing, or two lines have one output.
        WriteError: an output cannot be written where the list says.
    """
    pairs = read_list(Path(path))
    for _, output in pairs:
        if not output.is_dir():
            check_writable(output)
    for source, output in pairs:
        try:
            with _claimed(output):
                result = _converted(source, output, model, overwrite, options)
        except LockedError:
            result = ListedConversion(source, output, "elsewhere")
        yield result


def check_list(
    path: str | PathLike[str],
    model: str | nn.Module | None = None,
    *,
    checkpoint: str | PathLike[str] | None = None,
    flow: FlowName | None = None,
    flow_weights: str | PathLike[str] | None = None,
    grading: Grading = Grading(),
    encoding: Encoding = Encoding(),
    overwrite: bool = False,
    **options: Any,
) -> int:
    """Check what can be known of a list before any work, as on a cluster before it waits in the queue.

    Args:
        path: as for `convert_list`, and so are the others.
        model: the model.
        checkpoint: its weights.
        flow: estimator of its optical flow.
        flow_weights: weights of the estimator.
        grading: how the pictures are graded.
        encoding: how the outputs are encoded.
        overwrite: whether outputs that are there are replaced.
        **options: other options, which are not checked.

    Returns:
        Number of lines whose outputs are not there yet.

    Raises:
        FileNotFoundError: there is no such list, source, file of weights, or folder of an output.
        ValueError: `convert_list` or `convert` would refuse a line.
        CheckpointError: the weights are damaged, or another network's.
    """
    missing = 0
    for source, output in read_list(Path(path)):
        if not overwrite and _is_whole(output):
            continue
        if not source.exists():
            raise FileNotFoundError(f"{path}: there is no {source}")
        check_places(source, [output], overwrite)
        check_output(output, grading, encoding)
        missing += 1
    of_flow = {"flow": flow, "flow_weights": flow_weights}
    choose_model(model, None if checkpoint is None else Path(checkpoint), of_flow, "cpu")
    return missing


def _is_whole(output: Path) -> bool:
    return output.exists() and output.with_name(f"{output.name}.json").exists()


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Keep other processes from an output, from before its level is measured until it is whole.

    Raises:
        LockedError: another process makes it, with this list or with `convert` alone.
    """
    if is_locked(work_folder(output) / "settings.json"):
        raise LockedError
    claim = output.with_name(f".{output.name}.claim")
    with lock(claim):
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)


def _converted(
    source: Path, output: Path, model: str | nn.Module | None, overwrite: bool, options: dict[str, Any]
) -> ListedConversion:
    if not overwrite and _is_whole(output):
        return ListedConversion(source, output, "there")
    try:
        report = convert(source, output, model, overwrite=overwrite, **options)
    except (ValueError, OSError, RuntimeError) as error:
        return ListedConversion(source, output, "failed", error=error)
    return ListedConversion(source, output, "converted", report)


def read_list(path: Path) -> list[tuple[Path, Path]]:
    """Return source and output of each line of a CSV file; its paths are relative to the list.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a column or a path is missing, or two lines have one output.
    """
    pairs: list[tuple[Path, Path]] = []
    for number, row in read_rows(path, "source", "output"):
        pair = path.parent / row["source"], path.parent / row["output"]
        if pair[1] in (output for _, output in pairs):
            raise ValueError(f"{path}, line {number}: {row['output']} is the output of an earlier line too")
        pairs.append(pair)
    return pairs
