"""Convert files: an SDR video, photograph or folder of frames to HDR. There is no other converter."""

from __future__ import annotations

import hashlib
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vitm.checkpoints import checkpoint_digest
from vitm.console import ProgressCallback, console
from vitm.console import progress as progress_display
from vitm.conversion.graphics import MEMORY, GraphicsDetector
from vitm.conversion.letters import HELD, LettersDetector
from vitm.conversion.level import DiffuseWhite, Level, choose_level, surveyed, with_gain
from vitm.conversion.model import check_model, choose_model
from vitm.conversion.options import Encoding, Grading, Reading
from vitm.conversion.preview import preview_paths, write_previews
from vitm.conversion.resume import UnfinishedConversion
from vitm.conversion.stream import convert_clip, network_device
from vitm.conversion.super_white import give_super_white, take_super_white
from vitm.files import write_json
from vitm.nets.flow import FlowName
from vitm.nets.interface import SpillingNetwork, context
from vitm.ops.copies import copied_to
from vitm.video import Frame, FrameReader, MasteringDisplay, StreamWarning, Writer, open_writer
from vitm.video.codecs import check_encoder
from vitm.video.cuts import CutDetector
from vitm.video.read.ahead import read_ahead
from vitm.video.read.frames import list_frames
from vitm.video.read.stretch import StretchReader
from vitm.video.write.companions import audio_choices
from vitm.video.write.outputs import OutputKind, check_options
from vitm.zoo import SHIPPED, shipped_weights

_FRAMES_IN_MEMORY = 16  # SDR frames that may wait for their result; where a network holds more, they are read once more


@dataclass(frozen=True)
class DamagedFrame:
    """A frame of the source that could not be decoded, in place of which the one before it was repeated.

    Attributes:
        frame: its number, from 0.
        seconds: its time.
    """

    frame: int
    seconds: float


@dataclass(frozen=True)
class ConversionReport:
    """How an output was made.

    Attributes:
        source: the SDR video or folder of frames.
        output: the HDR video or folder of frames.
        frames_folder: folder of the same frames as 16-bit PNG; None if there is none.
        previews: picture, picture without tone mapping, and of clips video and animation, to look at on an SDR screen;
            None if there are none.
        codec: kind of output, as "hevc".
        model: name of the network or operator.
        checkpoint: file of its weights; None for analytic operators and networks given as objects.
        checkpoint_sha256: SHA-256 of that file; of a folder, see `vitm.checkpoints.checkpoint_digest`.
        flow: estimator of the network's optical flow that was asked for; None for its own, if it has one.
        level: the level of the conversion.
        diffuse_white: the level that was asked for: cd/m2, "auto" or "keep".
        frames: number of frames of the output.
        resumed_after: number of frames that an interrupted conversion had finished.
        max_cll: MaxCLL in cd/m2 (CTA-861.3).
        max_fall: MaxFALL in cd/m2.
        mastering_peak: peak of the mastering display in the HDR metadata, cd/m2; None where there is none.
        graphics: first and last numbers of frames that are graphics, and became plain SDR in HDR.
        damaged: the frames that were repeated.
        notes: what is unusual about the source and was settled, in words.
        dropped: what of the source did not go along, in words.
        seconds: wall time.
        device: where the network ran.
    """

    source: Path
    output: Path
    frames_folder: Path | None
    previews: tuple[Path, ...] | None
    codec: str
    model: str
    checkpoint: Path | None
    checkpoint_sha256: str | None
    flow: str | None
    level: Level
    diffuse_white: DiffuseWhite
    frames: int
    resumed_after: int
    max_cll: float
    max_fall: float
    mastering_peak: float | None
    graphics: tuple[tuple[int, int], ...]
    damaged: tuple[DamagedFrame, ...]
    notes: tuple[str, ...]
    dropped: tuple[str, ...]
    seconds: float
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to OUT.json: numbers, words, lists and dictionaries."""
        return {
            "input": str(self.source),
            "output": str(self.output),
            "frames_folder": None if self.frames_folder is None else str(self.frames_folder),
            "previews": [str(path) for path in self.previews or ()],
            "codec": self.codec,
            "model": self.model,
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "checkpoint_sha256": self.checkpoint_sha256,
            "flow": self.flow,
            "level": {
                **asdict(self.level.control),
                "diffuse_white": self.diffuse_white,
                "midtone_white_of_the_model": self.level.midtone_white,
            },
            "frames": self.frames,
            "max_cll": round(self.max_cll, 1),
            "max_fall": round(self.max_fall, 1),
            "mastering_peak": self.mastering_peak,
            "graphics": [list(frames) for frames in self.graphics],
            "damaged_frames": [asdict(damaged) for damaged in self.damaged],
            "notes": list(self.notes),
            "dropped": list(self.dropped),
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "vitm": version("vitm"),
            "torch": torch.__version__,
        }


def convert(
    source: str | PathLike[str],
    output: str | PathLike[str],
    model: str | nn.Module | None = None,
    *,
    checkpoint: str | PathLike[str] | None = None,
    flow: FlowName | None = None,
    flow_weights: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    reading: Reading = Reading(),
    grading: Grading = Grading(),
    encoding: Encoding = Encoding(),
    frames_folder: str | PathLike[str] | None = None,
    preview: bool = False,
    overwrite: bool = False,
    progress: bool | ProgressCallback = True,
) -> ConversionReport:
    """Convert an SDR video, photograph, or folder of frames to HDR.

    The output appears when it is whole. After an interruption, the same call goes on where it stopped: finished frames
    are kept in a folder beside the output. `OUTPUT.json` says how the output was made.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from vitm.conversion import Reading, convert
        >>> from vitm.video import write_image
        >>> with TemporaryDirectory() as folder:
        ...     clip = Path(folder, "clip")
        ...     clip.mkdir()
        ...     for i in range(2):
        ...         write_image(clip / f"{i}.png", np.full((32, 64, 3), 0.5, np.float32), bits=8)
        ...     report = convert(clip, Path(folder, "hdr.mp4"), "bt2446c", reading=Reading(fps=24), progress=False)
        >>> report.frames, report.codec
        (2, 'hevc')

    Args:
        source: SDR video, photograph, animation, or folder of frames.
        output: path of the video (.mp4, .mkv, .mov, .y4m), of a folder of frames, or of one picture (.png, .tif, .exr,
            .avif, .jxl, or .jpg, which becomes a JPEG with a gain map).
        model: name of a network of `vitm.zoo` or of an analytic operator of `vitm.color.METHODS`; or a network of your
            own, sdr (1, 3, H, W) -> hdr_pq of the same shape, which is set to eval mode; None: the network that
            `checkpoint` names, or without one the network that comes with its weights, `"default"`.
        checkpoint: weights: a checkpoint of a run, a published file, or the folder of several published files. Analytic
            operators and networks that are given as objects take none.
        flow: estimator of the network's optical flow in place of its own, see `vitm.nets.flow.flow_estimator`.
        flow_weights: weights of the estimator, where it needs some.
        device: where the network runs; None for the first GPU, or the CPU if there is none. A network that is given as
            an object stays where it is.
        reading: how the source is read: colour tags that it lacks, frame rate, what to do at damage and changes.
        grading: how bright, strong and colourful the picture is.
        encoding: kind of output, quality, sound.
        frames_folder: folder that receives the same frames as 16-bit PNG of PQ codes, besides the output.
        preview: whether to write pictures and a video of source and output side by side too, for an SDR screen.
        overwrite: whether an output that is there is replaced, and the work of another conversion thrown away.
        progress: whether to show a progress bar; or a function that is called with the number of finished frames and
            the number of all.

    Raises:
        FileNotFoundError: the source, a file of weights or the output's folder does not exist.
        ValueError: an argument is out of range, or the output is there already.
        CheckpointError: the weights are damaged, or another network's.
        VideoTagError: a colour tag is missing, or the source is not SDR.
        VideoDecodeError: the source is damaged.
        WriteError: the output cannot be written.
    """
    # check: what can be known at once, before what takes time
    source, output = Path(source), Path(output)
    folder = None if frames_folder is None else Path(frames_folder)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    encoding = encoding.settled(output)
    check_places(source, [output] if folder is None else [output, folder], overwrite)
    kind, mastering = check_output(output, grading, encoding)
    codec, control = str(encoding.codec), grading.control
    options = {"flow": flow, "flow_weights": flow_weights}
    check_model(model, checkpoint, options)

    # open
    reader = reading.open(source)
    if kind.is_picture and len(reader) > 1:
        raise ValueError(f"{output} is one picture, but {source} has {len(reader)} frames: name a folder or a video")
    check_encoder(codec)
    name, network = choose_model(model, checkpoint, options, device)
    work = work_folder(output)
    file = weights_file(name, checkpoint)
    digest = None if file is None else checkpoint_digest(file)
    weights = {"network": _state_digest(model)} if isinstance(model, nn.Module) else {}
    identity = identity_of(name, digest, flow, source, reading, grading, encoding) | weights
    unfinished = UnfinishedConversion(work, identity, overwrite)

    # look at the clip, convert and write
    started = time.monotonic()
    with reader, surveyed(network, reader) as samples:
        level = unfinished.level or choose_level(network, samples, control, grading.diffuse_white, grading.graphics)
        with _writers(output, folder, work, kind, reader, encoding, mastering) as writers:
            unfinished.begin(level)
            _keep_scenes_in(work, network)
            done = min(writer.finished_frames for writer in writers)
            with shown(progress, f"{source.name}: {len(reader)} frames, {level}", name, done, len(reader)) as advance:
                try:
                    results = converted(network, level, reader, done, writers)
                    for number, (frames, pts, share) in enumerate(results, start=done):
                        unfinished.note(reader.damaged, number if share > 0.5 else None)
                        for writer, frame in zip(writers, frames, strict=True):
                            if number >= writer.finished_frames:
                                writer.write(frame, pts)
                        advance(number + 1)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(f"; finished frames are kept in {work}: the same command goes on") from None
    unfinished.end()

    # report
    writer = writers[0]
    report = ConversionReport(
        source=source,
        output=output,
        frames_folder=folder,
        previews=preview_paths(output, writer.n_frames) if preview else None,
        codec=codec,
        model=name,
        checkpoint=checkpoint,
        checkpoint_sha256=digest,
        flow=flow,
        level=level,
        diffuse_white=grading.diffuse_white,
        frames=writer.n_frames,
        resumed_after=done,
        max_cll=writer.max_cll,
        max_fall=writer.max_fall,
        mastering_peak=None if writer.mastering is None else writer.mastering.max_nits,
        graphics=tuple((first, last) for first, last in unfinished.graphics),
        damaged=tuple(DamagedFrame(index, seconds) for index, seconds in unfinished.damaged),
        notes=tuple(dict.fromkeys([*unfinished.notes, *reader.notes])),
        dropped=tuple(writer.dropped),
        seconds=time.monotonic() - started,
        device=str(network_device(network)),
    )
    write_json(output.with_name(f"{output.name}.json"), report.to_dict())
    if report.previews:
        untold: dict[str, Any] = {"assume": "bt2020-pq"} if kind.name == "raw video" else {}
        with reading.open(source) as sdr, FrameReader(output, expect=kind.role, **untold) as hdr:
            write_previews(sdr, hdr, report.previews, sdr.info.fps or Fraction(24))
    return report


def convert_parts(
    source: str | PathLike[str],
    output: str | PathLike[str],
    model: str | nn.Module | None = None,
    *,
    reading: Reading = Reading(),
    frames_folder: str | PathLike[str] | None = None,
    **options: Any,
) -> list[ConversionReport]:
    """Convert a video whose size, format or colour changes in the middle: one output for each stretch between changes.

    The video is decoded once more, before any work. Sound, subtitles and chapters are cut where the picture is.

    Args:
        source: SDR video.
        output: path of the output of a video that never changes; otherwise OUT.mp4 becomes OUT_1.mp4, OUT_2.mp4, ...
        model: as for `convert`.
        reading: as for `convert`, but `on_change` and `stretch`, which are chosen here.
        frames_folder: as for `convert`, numbered as the outputs are.
        **options: the other options of `convert`.

    Returns:
        The report of each output.

    Raises:
        ValueError: as `convert`, for any of the outputs.
    """
    output, folder = Path(output), None if frames_folder is None else Path(frames_folder)
    check_output(output, options.get("grading", Grading()), options.get("encoding", Encoding()))
    checkpoint = options.get("checkpoint")
    of_flow = {option: options.get(option) for option in ("flow", "flow_weights")}
    check_model(model, None if checkpoint is None else Path(checkpoint), of_flow)
    with replace(reading, on_change="split").open_whole(Path(source)) as reader:
        stretches = reader.stretches()
    if len(stretches) < 2:
        reading = replace(reading, on_change="error")
        return [convert(source, output, model, reading=reading, frames_folder=folder, **options)]
    reports = []
    for number, stretch in enumerate(stretches, start=1):
        options["reading"] = replace(reading, on_change="split", stretch=stretch)
        options["frames_folder"] = None if folder is None else _numbered(folder, number)
        reports.append(convert(source, _numbered(output, number), model, **options))
    return reports


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number}{path.suffix}")


def check_output(output: Path, grading: Grading, encoding: Encoding) -> tuple[OutputKind, MasteringDisplay | None]:
    """Return what an output is, and the mastering display that is asked for; nothing is opened.

    Raises:
        FileNotFoundError: there is no folder for it.
        ValueError: the output cannot be what the options ask for, or an option is out of range.
    """
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: there is no folder {output.parent}: create it first")
    kind = check_options(output, codec := str(encoding.settled(output).codec), encoding.of_codec)
    audio_choices(encoding.audio)
    mastering = grading.mastering(codec, kind.holds_mastering)
    grading.check()
    return kind, mastering


def check_places(source: Path, outputs: list[Path], overwrite: bool) -> None:
    """Raise if there is no source, or an output would replace it, or something else without `overwrite`."""
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file")
    for output in outputs:
        source_place, place = source.resolve(), output.resolve()
        if source_place == place or place in source_place.parents:
            raise ValueError(f"{output} would replace {source}: choose another output")
        if place.exists() and not overwrite:
            raise ValueError(f"{output} exists already: overwrite=True replaces it")


def work_folder(output: Path) -> Path:
    """Return the folder of unfinished work, beside the output."""
    return output.with_name(f".{output.name}.vitm")


def weights_file(name: str, checkpoint: Path | None) -> Path | None:
    """Return the file of a model's weights; None where it needs none."""
    return shipped_weights(name) if name in SHIPPED else checkpoint


def identity_of(
    name: str,
    weights: str | None,
    flow: str | None,
    source: Path,
    reading: Reading,
    grading: Grading,
    encoding: Encoding,
) -> dict[str, Any]:
    """Return what must be the same when a conversion goes on.

    Args:
        name: name of the model.
        weights: digest of its weights.
        flow: estimator of its optical flow; None for its own.
        source: SDR video, photograph or folder of frames.
        reading: how it is read.
        grading: how the picture is graded.
        encoding: how the output is encoded.
    """
    stats = [file.stat() for file in (list_frames(source) if source.is_dir() else [source])]
    facts = f"{source.resolve()} {sum(s.st_size for s in stats)} {max(s.st_mtime_ns for s in stats)}"
    options = {**asdict(reading), **asdict(grading), **asdict(encoding)}
    del options["segment_frames"], options["decoder"]  # finished segments may have any length, from any decoder
    return {"model": name, "checkpoint": weights, "flow": flow, **options, "version": version("vitm"), "input": facts}


def _state_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's parameters and buffers."""
    sha = hashlib.sha256()
    for key, value in network.state_dict().items():
        sha.update(key.encode())
        sha.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return sha.hexdigest()


@contextmanager
def _writers(
    output: Path,
    folder: Path | None,
    work: Path,
    kind: OutputKind,
    reader: FrameReader | StretchReader,
    encoding: Encoding,
    mastering: MasteringDisplay | None,
) -> Iterator[list[Writer]]:
    """Give the writer of the output, and that of the folder of frames if one is wanted."""
    info = reader.info
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore", StreamWarning)  # the report names what was dropped
        writers: list[Writer] = [stack.enter_context(writer_of(output, work, kind, reader, encoding, mastering))]
        if folder is not None:
            numbers: dict[str, Any] = {"first": info.first_number, "work_dir": work / "png"}
            frames = open_writer(folder, info.width, info.height, info.fps or 24, "png", **numbers)
            writers.append(stack.enter_context(frames))
        yield writers


def writer_of(
    output: Path,
    work: Path,
    kind: OutputKind,
    reader: FrameReader | StretchReader,
    encoding: Encoding,
    mastering: MasteringDisplay | None,
    shared: bool = False,
) -> Writer:
    """Return the writer of an output.

    Args:
        output: the output.
        work: folder of unfinished work.
        kind: what the output is.
        reader: the source.
        encoding: how the output is encoded.
        mastering: the mastering display that is asked for.
        shared: whether several processes write its segments.
    """
    info = reader.info
    options: dict[str, Any] = encoding.of_codec | ({} if mastering is None else {"mastering": mastering})
    facts = {
        "first": info.first_number,
        "sample_aspect_ratio": info.sample_aspect_ratio,
        "streams_from": info.path if info.kind == "video" else None,
        "span": (reader.stretch.start, reader.stretch.end) if isinstance(reader, StretchReader) else None,
    }
    options |= {name: value for name, value in facts.items() if name in kind.takes}
    if "sdr" in kind.takes:
        options["sdr"] = next(iter(reader)).rgb
    options |= {"audio": encoding.audio, "segment_frames": encoding.segment_frames, "shared": shared}
    width, height = (size + -size % block for size, block in zip((info.width, info.height), kind.grid, strict=True))
    return open_writer(output, width, height, info.fps or 24, str(encoding.codec), work_dir=work, **options)


def _keep_scenes_in(work: Path, network: nn.Module) -> None:
    """Let what a network keeps of a scene on disk lie in the folder of unfinished work, and clear what was left."""
    if isinstance(network, SpillingNetwork):
        for left_over in work.glob("vitm-*"):
            shutil.rmtree(left_over)
        network.folder = work


@contextmanager
def shown(
    progress: bool | ProgressCallback, title: str, model: str, done: int, total: int
) -> Iterator[Callable[[int], None]]:
    """Give a function that shows the number of finished frames."""
    if not isinstance(progress, bool):
        callback = progress
        yield lambda finished: callback(finished, total)
        return
    screen = console()
    if progress:
        screen.print(title, soft_wrap=True, highlight=False, markup=False)
        if done:
            screen.print(f"Going on after {done} frames of an interrupted run.")
    with progress_display(screen, shown=progress) as display:
        task = display.add_task(model, total=total, completed=done)
        yield lambda finished: display.update(task, completed=finished)


def converted(
    network: nn.Module, level: Level, reader: FrameReader | StretchReader, done: int, writers: Sequence[Writer]
) -> Iterator[tuple[Sequence[Tensor], Fraction | None, float]]:
    """Give each frame from number `done` on, as each writer takes it, with its time and its share of graphics.

    Reading, the network and the caller's writing overlap; the level is applied where the network runs, and on a GPU
    frames become the codes that are stored before they are copied back.
    """
    network, control = with_gain(network, level.control)
    memory = max(MEMORY, HELD) if level.finds_graphics else 0
    first = max(0, done - max(context(network), memory))
    in_memory = context(network) <= _FRAMES_IN_MEMORY
    is_cut, share, find_letters = CutDetector(), GraphicsDetector(), LettersDetector()
    again = iter(()) if in_memory else reader.read(range(done, len(reader)))
    waiting, finished = deque[_Waiting](), deque[_Waiting]()  # for the network's result, and with it
    on_gpu, lengths = network_device(network).type == "cuda", list[int]()  # of packed frames

    def on_device(x: Tensor | None, hdr_pq: Tensor) -> Tensor | None:
        return None if x is None else copied_to(hdr_pq.device, x)

    def sdr_frames() -> Iterator[Tensor]:
        for frame in read_ahead(reader.read(range(first, len(reader))), depth=1):
            (sdr, excess), cut = take_super_white(_tensor(frame)), is_cut(frame.rgb)
            graphics = share(sdr, cut) if level.finds_graphics else 0.0
            letters = find_letters(sdr, cut) if level.finds_graphics else None
            needed = in_memory and (graphics > 0 or letters is not None or control.needs_sdr)
            kept = _whole(sdr, excess) if needed else None
            waiting.append(_Waiting(frame.index, frame.pts_seconds, cut, graphics, letters, kept, excess))
            yield sdr

    def graded(hdr_pq: Tensor) -> Tensor:
        frame = waiting.popleft()
        finished.append(frame)
        if frame.number < done:
            return hdr_pq
        excess = on_device(frame.excess, hdr_pq)
        sdr = on_device(frame.sdr if in_memory else _whole(*take_super_white(_tensor(next(again)))), hdr_pq)
        hdr_pq = give_super_white(hdr_pq, excess)
        hdr_pq = control(hdr_pq, hdr_pq if sdr is None else sdr, frame.graphics, frame.letters)
        return packed(hdr_pq) if on_gpu else hdr_pq

    def packed(hdr_pq: Tensor) -> Tensor:
        frames = [writer.pack(padded(hdr_pq, writer)) for writer in writers]
        lengths[:] = map(len, frames)
        return torch.cat(frames)

    def outputs() -> Iterator[tuple[Sequence[Tensor], Fraction | None, float]]:
        for result in convert_clip(network, sdr_frames(), lambda _: waiting[-1].cut, graded):
            frame = finished.popleft()
            if frame.number >= done:
                frames = torch.split(result, lengths) if on_gpu else [padded(result, writer) for writer in writers]
                yield frames, frame.pts, frame.graphics

    return read_ahead(outputs(), depth=1)


class _Waiting(NamedTuple):
    """What is known of a frame while the network has it; `sdr` only where the level depends on it.

    `excess` is the super-white of the frame, see `take_super_white`.
    """

    number: int
    pts: Fraction | None
    cut: bool
    graphics: float
    letters: Tensor | None
    sdr: Tensor | None
    excess: Tensor | None


def _tensor(frame: Frame) -> Tensor:
    """Return a frame as (3, H, W), gamma code, nominally in [0, 1]."""
    return torch.from_numpy(frame.rgb).permute(2, 0, 1)


def _whole(sdr: Tensor, excess: Tensor | None) -> Tensor:
    """Return a frame with its super-white, from what `take_super_white` returned."""
    return sdr if excess is None else sdr * excess


def padded(hdr_pq: Tensor, writer: Writer) -> Tensor:
    """Repeat the last row and column where the output's are one more: subsampled chroma needs even sizes."""
    right, bottom = writer.width - hdr_pq.shape[-1], writer.height - hdr_pq.shape[-2]
    if not (right or bottom):
        return hdr_pq
    return nn.functional.pad(hdr_pq[None], (0, right, 0, bottom), mode="replicate")[0]
