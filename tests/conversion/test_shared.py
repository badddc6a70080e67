"""One clip, several processes: the bytes of one process, whatever becomes of some of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from ctypes import c_longlong
from pathlib import Path

import numpy as np
import pytest

from vitm.cli import main
from vitm.conversion import Encoding, convert, convert_shared, shared
from vitm.video import write_image

OPTIONS = {"encoding": Encoding(segment_frames=3), "progress": False}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eleven frames of 64 x 36: noise, and from the eighth on white pages."""
    folder = tmp_path / "clip"
    folder.mkdir()
    noise = np.random.default_rng(0).random((36, 75, 3)).astype(np.float32)
    page = np.ones((36, 64, 3), np.float32)
    page[10:14, 20:50] = 0
    for i in range(11):
        write_image(folder / f"{i:02d}.png", noise[:, i : 64 + i] if i < 7 else page, bits=8)
    return folder


def in_this_process(task: object, places: list[str], advance: object) -> None:
    """Be the only process, without another one."""
    shared._write_segments(task, places[0], c_longlong())


@pytest.mark.parametrize("model", ["hable", "default"])
def test_segments_in_any_order_are_the_same_video(model: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last segments first, so that the scene of each begins in the middle."""
    monkeypatch.setattr(shared, "_run", in_this_process)
    choice = "vitm.video.write.segments.choose_segment"
    monkeypatch.setattr(choice, lambda states, following: max(i for i, s in enumerate(states) if s == "free"))
    one = convert(clip, clip.with_name("one.mp4"), model, **OPTIONS)
    other = convert_shared(clip, clip.with_name("other.mp4"), model, devices=1, device="cpu", **OPTIONS)
    assert other is not None
    assert one.output.read_bytes() == other.output.read_bytes()
    assert one.graphics == other.graphics == ((7, 10),)
    assert (one.max_cll, one.max_fall, one.level) == (other.max_cll, other.max_fall, other.level)
    assert {path.name for path in clip.parent.glob(".*")} == set()


def test_what_others_have_begun_is_gone_on_with_by_one(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(task: object, places: list[str], advance: object) -> None:
        with task.reading.open(task.source) as reader, task.writer(reader) as writer:
            unfinished = task.unfinished("hable")
            for number in (0, 2):
                assert writer._take(number)
                writer._segment, writer.n_frames, writer._last_ticks = number, 3 * number, -1
                frames = shared.converted(network, unfinished.level, reader, 3 * number, [writer])
                for (hdr_pq,), pts, _ in (next(frames) for _ in range(3)):
                    writer.write(hdr_pq, pts)
                unfinished.note_segment([], [8] if number else [], ["odd"])
                writer.end_segment()
            assert writer._take(3)  # and nothing more
        raise KeyboardInterrupt

    _, network = shared.choose_model("hable", None, None, "cpu")
    monkeypatch.setattr(shared, "_run", stop)
    output = clip.with_name("other.mp4")
    with pytest.raises(KeyboardInterrupt, match="finished segments are kept in"):
        convert_shared(clip, output, "hable", devices=1, device="cpu", **OPTIONS)
    report = convert(clip, output, "hable", **OPTIONS)
    assert (report.resumed_after, report.graphics, report.notes) == (3, ((7, 10),), ("odd",))
    assert output.read_bytes() == convert(clip, clip.with_name("one.mp4"), "hable", **OPTIONS).output.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out.png", "--devices", "2"], "out.png is a picture: devices share the segments of a video"),
        (["out.mp4", "--devices", "2", "--frames", "f"], "--devices shares the segments of one file"),
        (["-", "--devices", "2"], "--devices shares the segments of one file"),
        (["out.mp4", "--devices", "2", "--device", "meta"], "--device meta with --devices 2"),
    ],
)
def test_what_devices_cannot_share(
    words: list[str], message: str, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clip.parent)
    assert main(["convert", "clip", *words]) == 2
    assert message in "".join(capsys.readouterr()).replace("\n", " ")


def test_networks_of_whole_scenes_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "context", lambda network: sys.maxsize)
    with pytest.raises(ValueError, match="hable looks at whole scenes"):
        convert_shared(clip, clip.with_name("out.mp4"), "hable", devices=2, **OPTIONS)
    assert [path.name for path in clip.parent.iterdir()] == ["clip"]


def test_an_error_of_a_process_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: object, device: str, frames: object) -> None:
        raise ValueError(f"no {device}")

    receiving, sending = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(shared, "_write_segments", fail)
    shared._work(None, "meta", sending, c_longlong())
    with pytest.raises(ValueError, match="no meta"):
        shared._raise_error([shared._Worker(None, receiving, c_longlong())])


@pytest.mark.slow
def test_the_segment_of_a_killed_process_is_taken_by_the_other_one(clip: Path) -> None:
    killed = []

    def kill_one(done: int, total: int) -> None:
        if done and not killed:
            killed.append(multiprocessing.active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    options = {"encoding": Encoding(segment_frames=1)}
    places = clip, clip.with_name("other.mp4"), "hable"
    other = convert_shared(*places, devices=2, device="cpu", **options, progress=kill_one)
    assert other is not None
    assert killed[0].exitcode == -signal.SIGKILL
    one = convert(clip, clip.with_name("one.mp4"), "hable", **options, progress=False)
    assert one.output.read_bytes() == other.output.read_bytes()
    assert {path.name for path in clip.parent.glob(".*")} == set()
