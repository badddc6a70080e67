"""A conversion by several processes, one a device: each takes one segment of the clip after another."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_longlong
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from vitm.checkpoints import checkpoint_digest
from vitm.console import ProgressCallback
from vitm.conversion.convert import (
    ConversionReport,
    check_output,
    check_places,
    convert,
    converted,
    identity_of,
    shown,
    weights_file,
    work_folder,
    writer_of,
)
from vitm.conversion.level import choose_level, surveyed
from vitm.conversion.model import check_model, choose_model
from vitm.conversion.options import Encoding, Grading, Reading
from vitm.conversion.resume import UnfinishedConversion
from vitm.files import is_locked, one_at_a_time, write_json
from vitm.nets.flow import FlowName
from vitm.nets.interface import context
from vitm.video import StreamWarning
from vitm.video.codecs import check_encoder
from vitm.video.write.segments import SharedWriter

_GLANCE = 0.5  # seconds between two looks at what is finished


@dataclass(frozen=True)
class _Task:
    """What the processes of a conversion must know."""

    source: Path
    output: Path
    model: str | None
    checkpoint: Path | None
    flow: dict[str, Any]
    reading: Reading
    grading: Grading
    encoding: Encoding

    def unfinished(self, name: str, anew: bool = False) -> UnfinishedConversion:
        """Return the unfinished work, which other processes may share."""
        file = weights_file(name, self.checkpoint)
        digest = None if file is None else checkpoint_digest(file)
        identity = identity_of(name, digest, self.flow["flow"], self.source, self.reading, self.grading, self.encoding)
        return UnfinishedConversion(work_folder(self.output), identity, anew, shared=True)

    def writer(self, reader: Any) -> SharedWriter:
        """Return a writer of segments."""
        kind, mastering = check_output(self.output, self.grading, self.encoding)
        work = work_folder(self.output)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StreamWarning)  # the report names what was dropped
            writer = writer_of(self.output, work, kind, reader, self.encoding, mastering, shared=True)
        assert isinstance(writer, SharedWriter)
        return writer


@dataclass
class _Worker:
    """A process of a conversion: what it says of an error, and how many frames of its segment are written."""

    process: SpawnProcess
    error: Connection
    frames: c_longlong


def convert_shared(
    source: str | PathLike[str],
    output: str | PathLike[str],
    model: str | None = None,
    *,
    devices: int,
    checkpoint: str | PathLike[str] | None = None,
    flow: FlowName | None = None,
    flow_weights: str | PathLike[str] | None = None,
    device: str | None = None,
    reading: Reading = Reading(),
    grading: Grading = Grading(),
    encoding: Encoding = Encoding(),
    preview: bool = False,
    overwrite: bool = False,
    progress: bool | ProgressCallback = True,
) -> ConversionReport | None:
    """Convert a video by several processes, which share its segments; the output is that of `convert`, byte for byte.

    The same call on other machines with the same file system, at the same time or later, shares the segments too. The
    segment of a process that was killed is taken by another one. One of the calls finishes the output.

    Processes are started as `multiprocessing` spawns them: a script calls this under `if __name__ == "__main__"`.

    Args:
        source: SDR video, or folder of frames.
        output: path of the video.
        model: name of a network or operator, as for `convert`; its network must not look at whole scenes.
        devices: number of processes: GPUs, one process each; on the CPU any number, with the threads of one process
            each (`OMP_NUM_THREADS`).
        checkpoint: as for `convert`, and so are the others.
        flow: estimator of the network's optical flow.
        flow_weights: weights of the estimator.
        device: "cuda" or "cpu"; None for the GPUs, or the CPU if there is none.
        reading: how the source is read.
        grading: how bright, strong and colourful the picture is.
        encoding: kind of output, quality, sound, and number of frames of a segment.
        preview: whether to write previews too.
        overwrite: whether an output that is there is replaced, and the work of another conversion thrown away.
        progress: whether to show a progress bar; or a function, as for `convert`.

    Returns:
        How the output was made; None where the call on another machine finishes it.

    Raises:
        ValueError: as `convert`; or the output is no video, or the network looks at whole scenes.
        RuntimeError: all processes of this call were ended from outside.
    """
    places = _places(devices, device)
    source, output = Path(source), Path(output)
    encoding = encoding.settled(output)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    of_flow = {"flow": flow, "flow_weights": flow_weights}
    task = _Task(source, output, model, checkpoint, of_flow, reading, grading, encoding)
    kind, _ = check_output(output, grading, encoding)
    if kind.name != "a video":
        raise ValueError(f"{output} is {kind.name}: devices share the segments of a video; leave devices out")
    check_model(model, checkpoint, of_flow)
    started = time.monotonic()
    with one_at_a_time(_claim(output)):  # one chooses the level, the others find it
        check_places(source, [output], overwrite)
        name, level, total, writer = _begin(task, places[0], overwrite)
    try:
        before = _finished_frames(task, total)
        with shown(progress, f"{source.name}: {total} frames, {level}", name, before, total) as advance:
            _run(task, places, lambda written: advance(min(total, _finished_frames(task, total) + written)))
            advance(total)
    except KeyboardInterrupt:
        work = work_folder(output)
        raise KeyboardInterrupt(f"; finished segments are kept in {work}: the same command goes on") from None
    finally:
        writer.close()
    with one_at_a_time(_claim(output)):
        if not work_folder(output).exists():
            return None
        while is_locked(work_folder(output) / "settings.json"):
            time.sleep(_GLANCE)  # others look whether segments are missing
        options: dict[str, Any] = {"reading": reading, "grading": grading, "encoding": encoding}
        weights: dict[str, Any] = {"checkpoint": checkpoint, **of_flow, "device": places[0]}
        shown_options: dict[str, Any] = {"preview": preview, "overwrite": overwrite, "progress": False}
        report = convert(source, output, model, **weights, **options, **shown_options)  # all is there but the output
        seconds = time.monotonic() - started
        report = replace(report, resumed_after=before, seconds=seconds, device=", ".join(places))
        write_json(output.with_name(f"{output.name}.json"), report.to_dict())
    return report


def _places(devices: int, device: str | None) -> list[str]:
    """Return the device of each process.

    Raises:
        ValueError: there are not so many, or one of several GPUs is named.
    """
    if devices < 1:
        raise ValueError(f"devices={devices}: expected 1 or more")
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cpu":
        return ["cpu"] * devices
    if kind != "cuda":
        raise ValueError(f"device={device!r} with devices={devices}: name 'cuda' or 'cpu', which are numbered here")
    if (count := torch.cuda.device_count()) < devices:
        raise ValueError(f"devices={devices}: this machine has {count} GPUs")
    return [f"cuda:{number}" for number in range(devices)]


def _claim(output: Path) -> Path:
    return output.with_name(f".{output.name}.claim")


def _begin(task: _Task, device: str, overwrite: bool) -> tuple[str, Any, int, SharedWriter]:
    """Return the model's name, the level, the number of frames, and a writer that keeps the folder of the work."""
    with task.reading.open(task.source) as reader:
        check_encoder(str(task.encoding.codec))
        name, network = choose_model(task.model, task.checkpoint, task.flow, device)
        if context(network) == sys.maxsize:
            raise ValueError(f"{name} looks at whole scenes, so devices cannot share segments: leave devices out")
        unfinished = task.unfinished(name, overwrite)
        chosen = task.grading.control, task.grading.diffuse_white, task.grading.graphics
        with surveyed(network, reader) as samples:
            level = unfinished.level or choose_level(network, samples, *chosen)
        writer = task.writer(reader)
        if unfinished.level is None:
            unfinished.begin(level)
        return name, level, len(reader), writer


def _finished_frames(task: _Task, total: int) -> int:
    """Return the number of frames of finished segments."""
    with suppress(FileNotFoundError):
        return min(total, task.encoding.segment_frames * len([*work_folder(task.output).glob("part_*.json")]))
    return total  # another call finished the output


def _run(task: _Task, places: list[str], advance: Callable[[int], None]) -> None:
    """Start a process on each device, and wait until all segments are there.

    Raises:
        Exception: what stopped one of the processes.
        RuntimeError: all were killed.
    """
    spawn = multiprocessing.get_context("spawn")
    workers = []
    for place in places:
        receiving, sending = spawn.Pipe(duplex=False)
        frames = spawn.RawValue(c_longlong, 0)  # without a lock, which a killed process would keep
        process = spawn.Process(target=_work, args=(task, place, sending, frames), daemon=True)
        process.start()
        sending.close()
        workers.append(_Worker(process, receiving, frames))
    try:
        while running := [w for w in workers if w.process.is_alive()]:
            wait([w.process.sentinel for w in running], timeout=_GLANCE)
            _raise_error(workers)
            advance(sum(worker.frames.value for worker in running))
        _raise_error(workers)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()
    if all(worker.process.exitcode for worker in workers):
        codes = ", ".join(str(worker.process.exitcode) for worker in workers)
        raise RuntimeError(
            f"all processes were ended from outside (exit status {codes}), as where memory is used up; "
            f"finished segments are kept in {work_folder(task.output)}: the same command goes on"
        )


def _raise_error(workers: list[_Worker]) -> None:
    for worker in workers:
        with suppress(EOFError):
            if worker.error.poll():
                raise worker.error.recv()


def _work(task: _Task, device: str, errors: Connection, frames: c_longlong) -> None:
    """Write segments until all are there, and tell what goes wrong."""
    try:
        _write_segments(task, device, frames)
    except KeyboardInterrupt:
        sys.exit(1)  # the process that started this one says so
    except Exception as error:
        try:
            errors.send(error)
        except Exception:  # it cannot be pickled
            errors.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _write_segments(task: _Task, device: str, frames: c_longlong) -> None:
    parent = multiprocessing.parent_process()
    name, network = choose_model(task.model, task.checkpoint, task.flow, device)
    length = task.encoding.segment_frames
    with task.reading.open(task.source) as reader, task.writer(reader) as writer, surveyed(network, reader):
        unfinished = task.unfinished(name)
        assert unfinished.level is not None
        level, coming, following = unfinished.level, None, -1
        while (number := writer.claim_segment(len(reader))) is not None:
            if coming is None or number != following:
                coming = converted(network, level, reader, number * length, [writer])
            graphics = []
            for index, ((frame,), pts, share) in enumerate(islice(coming, length), start=number * length):
                if parent is not None and not parent.is_alive():
                    os._exit(1)  # killed: nobody would ever end this process
                writer.write(frame, pts)
                frames.value += 1
                if share > 0.5:
                    graphics.append(index)
            unfinished.note_segment(reader.damaged, graphics, reader.notes)
            writer.end_segment()
            frames.value, following = 0, number + 1
