"""Video whose size, format or colour changes in the middle, against FFmpeg's scaler and the parts by themselves."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.material import BT709
from vitm.video import FrameReader, VideoDecodeError
from vitm.video.read.changes import fitted
from vitm.video.read.stretch import StretchReader

BT601 = {"color_primaries": 5, "color_trc": 6, "colorspace": 5, "color_range": 1}
MakeParts = Callable[..., tuple[Path, list[Path]]]


def gradient(width: int, height: int, shift: int) -> list[np.ndarray]:
    """Planes of a picture that is the same at any size, but for a shift in brightness."""
    y = np.linspace(60, 160, width)[None] + np.linspace(0, 40, height)[:, None] + shift
    u, v = (np.full((height // 2, width // 2), code) for code in (120, 136))
    return [plane.round().astype(np.uint8) for plane in (y, u, v)]


@pytest.fixture
def changing(tmp_path: Path, make_video: Callable[..., Path]) -> MakeParts:
    """Four frames of one kind and five of another in one stream; and both by themselves."""

    def make(suffix: str = ".mkv", size: tuple[int, int] = (128, 96), tags: dict[str, int] = BT709) -> tuple:
        codec = {".mkv": "libvpx-vp9", ".ts": "libx264"}[suffix]
        options = {"lossless": "1"} if suffix == ".mkv" else {"qp": "0", "bf": "0"}
        parts = [
            make_video(
                f"{name}{suffix}",
                [gradient(*wh, i) for i in range(count)],
                pix_fmt="yuv420p",
                codec=codec,
                tags=t,
                options=options,
                fps=Fraction(25),
            )
            for name, wh, t, count in (("one", (64, 48), BT709, 4), ("two", size, tags, 5))
        ]
        path = tmp_path / f"changing{suffix}"
        with av.open(str(path), "w") as target, av.open(str(parts[0])) as first, av.open(str(parts[1])) as second:
            stream = target.add_stream_from_template(first.streams.video[0], opaque=True)
            for source, start in ((first, 0), (second, 4)):
                begin = None
                for packet in source.demux(video=0):
                    if packet.size:
                        begin = packet.dts if begin is None else begin
                        shift = round(Fraction(start, 25) / packet.time_base) - begin
                        packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                        target.mux(packet)
        return path, parts

    return make


def frames(reader: FrameReader | StretchReader) -> list[np.ndarray]:
    return [frame.rgb for frame in reader.read(range(len(reader)))]


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_change_is_an_error_that_names_the_time(suffix: str, changing: MakeParts) -> None:
    path, _ = changing(suffix)
    reader = FrameReader(path, expect="sdr")
    assert len(reader) == 9
    message = r"changes at \d+\.\d+ s, from 64x48 .* to 128x96 .*: pass on_change='scale' .* or on_change='split'"
    for read in (list, frames):
        with pytest.raises(VideoDecodeError, match=message):
            read(reader)
    with pytest.raises(VideoDecodeError, match=message):
        reader.check_all()


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_scaled_frames_are_those_of_ffmpeg(suffix: str, changing: MakeParts, ffmpeg: Callable[..., bytes]) -> None:
    path, _ = changing(suffix)
    reader = FrameReader(path, expect="sdr", on_change="scale")
    result = np.stack(frames(reader))
    np.testing.assert_array_equal(result, np.stack([frame.rgb for frame in reader]))
    raw = ffmpeg(
        *("-i", str(path), "-vf", "scale=64:48:flags=bicubic,setsar=1,format=gbrp", "-f", "rawvideo", "-"),
    )
    expected = np.frombuffer(raw, np.uint8).reshape(9, 3, 48, 64)[:, (2, 0, 1)].transpose(0, 2, 3, 1) / 255
    assert np.abs(result - expected).max() < 4 / 255
    assert any("changes at" in words for words in reader.notes)


def test_each_frame_is_converted_by_its_own_colour_tags(changing: MakeParts) -> None:
    path, (_, second) = changing(".ts", size=(64, 48), tags=BT601)
    with pytest.raises(VideoDecodeError, match="colour changes"):
        list(FrameReader(path, expect="sdr"))
    result = frames(FrameReader(path, expect="sdr", on_change="scale"))
    np.testing.assert_array_equal(result[4:], frames(FrameReader(second, expect="sdr")))
    with pytest.raises(VideoDecodeError, match="only SDR can be converted"):
        list(FrameReader(path, on_change="scale"))


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_stretches_are_the_parts_by_themselves(suffix: str, changing: MakeParts) -> None:
    path, parts = changing(suffix)
    whole = FrameReader(path, expect="sdr", on_change="split")
    stretches = whole.stretches()
    assert [(s.first, s.count) for s in stretches] == [(0, 4), (4, 5)]
    assert float(stretches[1].start - stretches[0].start) == pytest.approx(0.16, abs=0.002)
    assert stretches[0].end == stretches[1].start
    for stretch, part in zip(stretches, parts, strict=True):
        reader, alone = StretchReader(whole, stretch), FrameReader(part, expect="sdr")
        assert (reader.info.width, reader.info.height) == (alone.info.width, alone.info.height)
        assert [frame.index for frame in reader] == list(range(len(alone)))
        assert next(iter(reader)).pts_seconds == 0
        np.testing.assert_array_equal(frames(reader), frames(alone))


def test_damaged_frames_do_not_hide_a_change(changing: MakeParts) -> None:
    path, _ = changing(".ts")
    reader = FrameReader(path, expect="sdr", on_change="scale", on_error="repeat")
    assert [frame.rgb.shape for frame in reader] == [(48, 64, 3)] * 9
    assert reader.damaged == []


def test_another_shape_gets_bars() -> None:
    result = fitted(np.ones((48, 128, 3), np.float32), 64, 48)
    assert result[:12].max() == result[36:].max() == 0
    np.testing.assert_allclose(result[12:36], 1)


def test_a_video_without_changes(make_video: Callable[..., Path]) -> None:
    path = make_video("same.mkv", [gradient(64, 48, 0)] * 2, pix_fmt="yuv420p", tags=BT709)
    with FrameReader(path, on_change="split") as reader:
        (stretch,) = reader.stretches()
    assert (stretch.first, stretch.count, stretch.end) == (0, 2, None)
    with pytest.raises(ValueError, match="on_change='skip': expected one of error, scale, split"):
        FrameReader(path, on_change="skip")  # type: ignore[arg-type]
