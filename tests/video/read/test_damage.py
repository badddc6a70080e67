"""Files with flipped bits: reading stops with the time of the damage, or repeats the last good frame."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.material import BT709, HDR10, planes_420
from vitm.video import FrameReader, VideoDecodeError, write_png16

N = 72
CODECS = {
    "h264": {"codec": "libx264", "bits": 8, "tags": BT709, "options": {"g": "24", "crf": "12"}},
    "hevc": {
        "codec": "libx265",
        "bits": 10,
        "tags": HDR10,
        "options": {"preset": "fast", "x265-params": "log-level=none:keyint=24:crf=12"},
    },
}


@pytest.fixture(params=["h264-mp4", "hevc-mp4", "h264-mkv", "hevc-mkv"])
def intact(request: pytest.FixtureRequest, make_video: Callable[..., Path]) -> Path:
    codec, suffix = request.param.split("-")
    facts = CODECS[codec]
    return make_video(
        f"intact.{suffix}",
        planes_420(N, bits=facts["bits"]),
        pix_fmt="yuv420p" if facts["bits"] == 8 else "yuv420p10le",
        codec=facts["codec"],
        tags=facts["tags"],
        options=facts["options"],
    )


def packets(path: Path) -> list[tuple[int, int, int, bool]]:
    """Position, size, frame number and whether it is a key frame, in coded order."""
    with av.open(str(path)) as container:
        found = [(p.pos, p.size, p.pts, p.is_keyframe) for p in container.demux(video=0) if p.size]
    order = sorted(pts for _, _, pts, _ in found)
    return [(pos, size, order.index(pts), key) for pos, size, pts, key in found]


def damage(path: Path, number: int, where: str = "head") -> tuple[Path, int]:
    """A copy with flipped bits in one packet: at its "head", in all of it ("whole"), or here and there ("data")."""
    position, size, frame, _ = packets(path)[number]
    with av.open(str(path)) as container:
        payload = [bytes(p) for p in container.demux(video=0) if p.size][number]
    data = bytearray(path.read_bytes())
    start = data.index(payload, position)  # in Matroska the position is that of the block's header
    places = {"head": range(4, 16), "whole": range(4, size), "data": range(size // 3, size, size // 20)}
    for i in places[where]:
        data[start + i] ^= 0x5A
    bad = path.with_stem("bad")
    bad.write_bytes(data)
    return bad, frame


@pytest.mark.slow
@pytest.mark.parametrize("number", [5, 30, 40, 48])
def test_repeating_keeps_count_times_and_whatever_is_good(number: int, intact: Path) -> None:
    expected = list(FrameReader(intact))
    keys = [frame for _, _, frame, key in packets(intact) if key]
    bad, hit = damage(intact, number)
    reader = FrameReader(bad, on_error="repeat")
    got = list(reader)
    assert [f.index for f in got] == list(range(N))
    assert [f.pts_seconds for f in got] == [f.pts_seconds for f in expected]
    numbers = [index for index, _ in reader.damaged]
    assert hit in numbers
    assert all(seconds == expected[index].pts_seconds for index, seconds in reader.damaged)
    for index in numbers:
        np.testing.assert_array_equal(got[index].rgb, got[index - 1].rgb)
    # what can refer to the damaged frame lies between the key frames around it, and before the second in coded order
    first = max((k for k in keys if k <= hit), default=0)
    after = [k for k in keys if k > hit]
    doubtful = range(first, after[0] if after else N)
    assert set(numbers) <= set(doubtful)
    for index in set(range(N)) - set(doubtful):
        np.testing.assert_array_equal(got[index].rgb, expected[index].rgb)
    again = FrameReader(bad, on_error="repeat")
    again.check_all()
    assert again.damaged == reader.damaged


@pytest.mark.parametrize("intact", ["h264-mp4", "h264-mkv"], indirect=True)
def test_frames_that_the_decoder_mends_are_repeated(intact: Path, ffmpeg_log: Callable[..., str]) -> None:
    """H.264's decoder fills damaged blocks and marks the frame. (H.265's does not notice.)

    Whether it notices depends on the bits, and with several threads some marks are lost, also in FFmpeg itself: the
    frames that FFmpeg marks in one thread must be repeated, and no others.
    """
    noticed = []
    for number in (5, 13, 27, 28, 40, 46, 55):
        bad, hit = damage(intact, number, "data")
        marks = ffmpeg_log("-threads", "1", "-i", str(bad), "-f", "null", "-").count("corrupt decoded frame")
        reader = FrameReader(bad, on_error="repeat")
        got = list(reader)
        assert len(reader.damaged) == marks
        if marks:
            noticed.append(number)
            assert hit in [index for index, _ in reader.damaged]
            np.testing.assert_array_equal(got[hit].rgb, got[hit - 1].rgb)
    assert len(noticed) >= 3


@pytest.mark.parametrize("number", [5, 40])
def test_stopping_names_the_time(number: int, intact: Path) -> None:
    bad, _ = damage(intact, number)
    with pytest.raises(VideoDecodeError, match=r"damaged (after|at) \d+\.\d+ s|only \d+ can be decoded"):
        list(FrameReader(bad))
    with pytest.raises(VideoDecodeError, match="bad"):
        FrameReader(bad).check_all()


def test_going_on_in_the_middle_repeats_the_same_frames(intact: Path) -> None:
    """A conversion that goes on after an interruption sees what one go sees."""
    bad, hit = damage(intact, 30)
    whole = list(FrameReader(bad, on_error="repeat"))
    for start in (hit, hit + 1, hit - 1, 48, 70):
        reader = FrameReader(bad, on_error="repeat")
        rest = list(reader.read(range(start, N)))
        assert [f.index for f in rest] == list(range(start, N))
        for frame in rest:
            np.testing.assert_array_equal(frame.rgb, whole[frame.index].rgb)
            assert frame.pts_seconds == whole[frame.index].pts_seconds


@pytest.mark.parametrize("after", [0, 30])
def test_a_damaged_key_frame_is_preceded_by_the_group_before(after: int, intact: Path) -> None:
    number = next(i for i, (_, _, _, key) in enumerate(packets(intact)) if key and i > after)
    bad, hit = damage(intact, number)
    whole = FrameReader(bad, on_error="repeat")
    list(whole)
    lost = [index for index, _ in whole.damaged]
    assert hit in lost
    good = max(i for i in range(hit) if i not in lost)
    assert hit - good < 6  # pictures that lead an open group are lost with their key frame
    reader = FrameReader(bad, on_error="repeat")
    (got,) = reader.read([hit])
    (before,) = FrameReader(intact).read([good])
    assert [index for index, _ in reader.damaged] == [hit]
    np.testing.assert_array_equal(got.rgb, before.rgb)


def test_an_intact_file_reads_the_same(intact: Path) -> None:
    reader = FrameReader(intact, on_error="repeat")
    for got, expected in zip(reader, FrameReader(intact), strict=True):
        assert (got.index, got.pts_seconds) == (expected.index, expected.pts_seconds)
        np.testing.assert_array_equal(got.rgb, expected.rgb)
    assert reader.damaged == []


def test_damaged_at_its_first_frame(intact: Path) -> None:
    bad, _ = damage(intact, 0, "whole")
    with pytest.raises(VideoDecodeError, match=r"damaged at the beginning|no frame"):
        list(FrameReader(bad, on_error="repeat"))


def test_damage_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for i in range(6):
        write_png16(folder / f"{i}.png", np.full((4, 6, 3), i * 1000, np.uint16))
    for i in (2, 3, 5):
        path = folder / f"{i}.png"
        path.write_bytes(path.read_bytes()[:-20])
    reader = FrameReader(folder, expect="hdr10", fps=Fraction(24), on_error="repeat")
    assert [round(float(f.rgb[0, 0, 0]) * 65535) for f in reader] == [0, 1000, 1000, 1000, 4000, 4000]
    assert reader.damaged == [(2, Fraction(2, 24)), (3, Fraction(3, 24)), (5, Fraction(5, 24))]
    (third,) = FrameReader(folder, expect="hdr10", on_error="repeat").read([3])
    assert round(float(third.rgb[0, 0, 0]) * 65535) == 1000
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:-20])
    with pytest.raises(VideoDecodeError, match=r"0\.png"):
        list(FrameReader(folder, expect="hdr10", on_error="repeat"))


def test_unknown_word(intact: Path) -> None:
    with pytest.raises(ValueError, match="on_error='skip': expected one of stop, repeat"):
        FrameReader(intact, on_error="skip")  # type: ignore[arg-type]
