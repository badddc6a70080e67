"""What a GPU gets to do while the host waits, played on the CPU: copies happen when somebody waits for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vitm.conversion import Encoding, Grading, Reading, convert, stream
from vitm.conversion.pipeline import Parcel, through_device
from vitm.conversion.stream import convert_clip
from vitm.conversion.super_white import give_super_white
from vitm.nets.analytic import Analytic
from vitm.video import FrameReader, write_image

CUDA = torch.device("cuda")


class Stream:
    """Work that was given to a stream, and has not begun."""

    def __init__(self, *_: object) -> None:
        self.pending: list[Callable[[], object]] = []

    def wait_event(self, event: Event) -> None:
        event.happen()


class Event:
    """The work before it is done at the latest when somebody waits for it; here not before."""

    journal: list[tuple[str, object]] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []

    def record(self, stream: Stream) -> None:
        self.work, stream.pending = stream.pending, []
        self.journal.append(("record", self))

    def synchronize(self) -> None:
        self.happen()
        self.journal.append(("wait", self))

    def happen(self) -> None:
        for work in self.work:
            work()
        self.work = []


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Let CUDA be played; return what becomes of pinned buffers and events, in order."""
    Event.journal = []
    current = [Stream()]
    pinned: list[int] = []
    copy, to = Tensor.copy_, Tensor.to

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        current.append(stream)
        yield
        current.pop()

    def pin(x: Tensor) -> Tensor:
        pinned.append(x.data_ptr())
        return x

    def played_copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        if x.data_ptr() in pinned:
            Event.journal.append(("write", x.data_ptr()))
        if not non_blocking:
            return copy(x, source)
        current[-1].pending.append(lambda: copy(x, source))
        return x.fill_(torch.nan if x.is_floating_point() else 0xAB)

    def played_to(x: Tensor, *places: Any, non_blocking: bool = False, **options: Any) -> Tensor:
        if places != (CUDA,):
            return to(x, *places, **options)
        arriving = torch.full_like(x, torch.nan)
        current[-1].pending.append(lambda: copy(arriving, x))
        return arriving

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: current[-1])
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    monkeypatch.setattr(Tensor, "copy_", played_copy)
    monkeypatch.setattr(Tensor, "to", played_to)
    return Event.journal


def test_the_next_frame_is_under_way_before_the_host_waits(journal: list[tuple[str, object]]) -> None:
    frames = [torch.full((3, 2, 4), float(i)) for i in range(6)]
    results = []
    for i, result in enumerate(through_device(CUDA, lambda upload: (2 * upload(frame) for frame in frames))):
        results.append(result)
        begun = sum(what == "write" for what, _ in journal)  # of the upload and of the download of each frame
        assert begun == 2 * min(i + 2, len(frames))
    for frame, result in zip(frames, results, strict=True):
        assert torch.equal(result, 2 * frame)


def test_no_buffer_is_written_before_its_copy_is_over(journal: list[tuple[str, object]]) -> None:
    list(through_device(CUDA, lambda upload: (upload(torch.rand(3, 2, 4)) for _ in range(9))))
    buffers = {who for what, who in journal if what == "write"}
    assert len(buffers) == 4  # two each way
    for buffer in buffers:
        writes = [i for i, entry in enumerate(journal) if entry == ("write", buffer)]
        for first, second in pairwise(writes):
            copied = next(event for what, event in journal[first:] if what == "record")
            assert ("wait", copied) in journal[first:second]


def test_other_sizes_have_other_buffers(journal: list[tuple[str, object]]) -> None:
    frames = [torch.rand(3, 2, 4 + i) for i in range(4)]
    results = [*through_device(CUDA, lambda upload: map(upload, frames))]
    assert all(torch.equal(x, y) for x, y in zip(results, frames, strict=True))


def test_results_are_those_of_the_plain_path(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    network, frames = Analytic("bt2446a"), torch.rand(5, 3, 12, 20)
    plain = [*convert_clip(network, frames, lambda _: True, lambda x: 0.5 * x)]
    request.getfixturevalue("journal")
    monkeypatch.setattr(stream, "network_device", lambda _: CUDA)
    assert all(map(torch.equal, plain, convert_clip(network, frames, lambda _: True, lambda x: 0.5 * x)))


def test_files_are_those_of_the_plain_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With a level that looks at the SDR frames, which arrive later than the results before them.

    On a GPU frames become codes, of a video and of a folder of frames, before they are copied back.
    """
    (tmp_path / "clip").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        write_image(tmp_path / f"clip/{i}.png", rng.random((33, 67, 3)).astype(np.float32), bits=8)
    options: dict[str, Any] = {"reading": Reading(fps=24), "grading": Grading(strength=0.5), "progress": False}
    options |= {"encoding": Encoding(lossless=True, preset="ultrafast")}
    plain = convert(tmp_path / "clip", tmp_path / "plain.mp4", "bt2446a", frames_folder=tmp_path / "plain", **options)
    request.getfixturevalue("journal")
    for module in (stream, sys.modules["vitm.conversion.convert"]):
        monkeypatch.setattr(module, "network_device", lambda _: CUDA)
    shapes, take = set(), Parcel.take
    monkeypatch.setattr(Parcel, "take", lambda parcel: shapes.add(parcel.buffer.shape) or take(parcel))
    folder = tmp_path / "played"
    played = convert(tmp_path / "clip", tmp_path / "played.mp4", "bt2446a", frames_folder=folder, **options)
    assert shapes == {(34 * 68 * 3 + 12 + 33 * 67 * 6 + 12,)}  # bytes: ten-bit 4:2:0, 16-bit R'G'B', and their light
    files = sorted((tmp_path / "plain").glob("*.png"))
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (tmp_path / "played" / file.name).read_bytes()
    assert played.max_cll == plain.max_cll
    assert played.max_fall == pytest.approx(plain.max_fall, rel=1e-4)
    videos = [FrameReader(report.output, expect="hdr10") for report in (plain, played)]
    for a, b in zip(*videos, strict=True):
        assert np.abs(a.rgb - b.rgb).max() < 2.2 / 876  # a code, where a value is half-way between two
        assert (a.rgb != b.rgb).mean() < 0.02


def test_super_white_is_given_back_alike_on_a_device() -> None:
    """There all pixels are computed, and the host need not know which."""
    hdr_pq, excess = torch.rand(3, 8, 10), 1 + torch.rand(1, 8, 10) * (torch.rand(1, 8, 10) > 0.5)
    expected = give_super_white(hdr_pq, excess)

    class OnDevice(Tensor):
        device = CUDA

    played = give_super_white(hdr_pq.as_subclass(OnDevice), excess)
    torch.testing.assert_close(played.as_subclass(Tensor), expected, atol=2e-7, rtol=0)
