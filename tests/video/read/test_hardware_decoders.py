"""Decoding by a graphics card: tried before any work, and the same codes, which a played card gives as cards do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.video.material import BT709, HDR10, planes_420
from vitm.cli import main
from vitm.video import FrameReader, write_image
from vitm.video.planes import frame_planes, new_frame
from vitm.video.read import container, reader
from vitm.video.read.decoder import Decoder


class Played(Decoder):
    """Gives Cb and Cr in turn where hardware was asked for, and else what the CPU gives."""

    asked: list[str | None] = []  # noqa: RUF012

    def _open(self, threads: bool) -> None:
        self.asked.append(self.hardware)
        asked, self.hardware = self.hardware, None
        super()._open(threads)
        self.hardware = asked

    def frames(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for frame in super().frames(*arguments, **options):
            if self.hardware is None:
                yield frame
                continue
            played = new_frame(tuple(frame_planes(frame)), {8: "nv12", 10: "p010le"}[frame.format.components[0].bits])
            played.pts, played.time_base = frame.pts, frame.time_base
            for tag in ("colorspace", "color_trc", "color_primaries", "color_range"):
                setattr(played, tag, getattr(frame, tag))
            yield played


@pytest.mark.parametrize("bits", [8, 10])
def test_a_card_s_frames_are_the_cpu_s(
    bits: int, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: dict[str, Any] = {"codec": "libx264", "pix_fmt": "yuv420p", "tags": BT709}
    if bits == 10:
        quiet = {"preset": "ultrafast", "x265-params": "log-level=none"}
        kind = {"codec": "libx265", "tags": HDR10, "options": quiet}
    path = make_video("a.mp4", planes_420(5, bits=bits), **kind)
    role: Any = "sdr" if bits == 8 else "hdr10"
    expected = [*FrameReader(path, expect=role)]
    monkeypatch.setattr(reader, "Decoder", Played)
    monkeypatch.setattr(reader, "check_hardware", lambda *_: None)
    Played.asked = []
    played = FrameReader(path, expect=role, decoder="cuda")
    for ours, theirs in zip([*played, *played.read([1, 3])], [*expected, expected[1], expected[3]], strict=True):
        np.testing.assert_array_equal(ours.rgb, theirs.rgb)
        assert (ours.index, ours.pts_seconds) == (theirs.index, theirs.pts_seconds)
    assert {*Played.asked} == {"cuda"}
    assert played.info.pixel_format == FrameReader(path, expect=role).info.pixel_format


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no stream is compatible"), "no stream is compatible"),
        (av.error.PermissionError(1, "Operation not permitted"), "Operation not permitted"),
    ],
)
def test_hardware_that_does_not_decode_is_named_before_work(
    error: Exception,
    reason: str,
    make_video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_video("a.mp4", planes_420(2, bits=8), codec="libx264", pix_fmt="yuv420p", tags=BT709)
    asked: list[Any] = []
    opened = container.av.open

    def refuse(*arguments: Any, hwaccel: Any = None, **options: Any) -> Any:
        if hwaccel is None:
            return opened(*arguments, **options)
        asked.append(hwaccel)
        raise error

    monkeypatch.setattr(container.av, "open", refuse)
    assert main(["convert", str(path), str(path.with_name("out.mp4")), "--model", "clip", "--decoder", "cuda"]) == 2
    printed = capsys.readouterr().out.replace("\n", " ")
    message = f"--decoder cuda does not decode {path} on this machine ({reason}): leave it out, and the CPU decodes"
    assert message in printed
    assert len(asked) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.mp4"]


def test_a_decoder_is_for_videos(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.float32), bits=8)
    with pytest.raises(ValueError, match="decoder='qsv' is for videos"):
        FrameReader(tmp_path / "a.png", expect="sdr", decoder="qsv")
    with pytest.raises(ValueError, match="decoder='nvdec': expected one of cuda, qsv"):
        FrameReader(tmp_path / "a.png", expect="sdr", decoder="nvdec")  # type: ignore[arg-type]
