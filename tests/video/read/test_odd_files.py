"""Files of phones and old tools: mirrored pictures, other encodings of texts, data unknown to PyAV, hidden frames."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

from tests.video.material import BT709, planes_420
from vitm.video import FrameReader, VideoDecodeError, open_writer, probe
from vitm.video.read.container import open_container, readable
from vitm.video.read.stream import _views

# all eight ways to show (x, y) at (a x + c y, b x + d y) with a picture of the same pixels
MATRICES = [(a, b, c, d) for a, b, c, d in np.ndindex(3, 3, 3, 3) if (a != 1) == (d != 1) != (b != 1) == (c != 1)]
MATRICES = [tuple(v - 1 for v in m) for m in MATRICES]


def with_matrix(source: Path, path: Path, matrix: tuple[int, ...]) -> Path:
    """A copy of an MP4 with another matrix in its track header (ISO/IEC 14496-12, 8.3.2: numbers in 16.16 and 2.30)."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 32  # version 0: flags, five times and identifiers, reserved, layer, volume
    a, b, c, d = (v << 16 for v in matrix)
    struct.pack_into(">9i", data, at + 4, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_orientations_agree_with_ffmpeg(
    matrix: tuple[int, ...],
    make_video: Callable[..., Path],
    ffmpeg: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    plain = make_video("plain.mp4", planes_420(2, 64, 48, 8), pix_fmt="yuv420p", codec="libx264", tags=BT709)
    path = with_matrix(plain, tmp_path / "turned.mp4", matrix)
    reader = FrameReader(path, expect="sdr")
    width, height = reader.info.width, reader.info.height
    assert (width, height) == ((64, 48) if matrix[0] else (48, 64))
    raw = ffmpeg("-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    stored = np.frombuffer(raw, np.uint8)
    planes, _ = next(iter(reader.stored()))
    np.testing.assert_array_equal(np.concatenate([plane.ravel() for plane in planes]), stored)
    y = (stored[: width * height].reshape(height, width) - 16.0) / 219  # BT.709's luma of the converted picture
    np.testing.assert_allclose(next(iter(reader)).rgb @ (0.2126, 0.7152, 0.0722), y, atol=1e-5)
    np.testing.assert_array_equal(next(reader.read([1])).rgb.shape, (height, width, 3))


def test_there_are_eight() -> None:
    assert len(MATRICES) == len(set(MATRICES)) == 8


def test_an_angle_is_refused_by_name(make_video: Callable[..., Path], tmp_path: Path) -> None:
    plain = make_video("plain.mp4", planes_420(1, 64, 48, 8), pix_fmt="yuv420p", codec="libx264", tags=BT709)
    path = with_matrix(plain, tmp_path / "turned.mp4", (1, 1, -1, 1))
    with pytest.raises(VideoDecodeError, match="rotated by 45 degrees"):
        probe(path)


@pytest.mark.parametrize("suffix", ["avi", "mov", "mkv", "mp4"])
@pytest.mark.parametrize("encoding", ["latin-1", "shift-jis", "cp1251"])
def test_texts_and_names_that_are_not_utf8(
    suffix: str, encoding: str, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    title = {"latin-1": "Été", "shift-jis": "テスト", "cp1251": "Кино"}[encoding].encode(encoding)
    plain = make_video("plain.mkv", planes_420(3, 64, 48, 8), pix_fmt="yuv420p", codec="libx264", tags=BT709)
    path = tmp_path / os.fsdecode(title + f".{suffix}".encode())
    codec = ("-c", "mpeg4") if suffix == "avi" else ("-c", "copy")
    command = [exe, "-v", "error", "-i", str(plain), *codec, "-metadata", b"title=" + title]
    subprocess.run([*command, "-metadata:s:v:0", b"title=" + title, os.fsencode(path)], check=True)
    assert len(list(FrameReader(path, assume="bt709"))) == 3
    with open_container(path) as container:
        assert readable(container.metadata["title"]).encode("latin-1") == title
    assert readable("Été") == "Été"


def test_a_name_that_looks_like_a_protocol(
    make_video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_video("plain.mkv", planes_420(3, 64, 48, 8), pix_fmt="yuv420p", codec="libx264", tags=BT709)
    shutil.copy(plain, tmp_path / "a:b.mkv")
    monkeypatch.chdir(tmp_path)
    assert len(list(FrameReader("a:b.mkv"))) == 3


def test_side_data_that_pyav_has_no_name_for(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """EXIF in motion JPEG is kind 32 to FFmpeg; so is the view of spatial video (29)."""
    jpeg = ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48", "-frames:v", "1", "-c:v", "mjpeg", "-f", "mjpeg", "-")
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x0112, 3, 1, 1) + b"\0\0\0\0"
    exif = b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff
    path = tmp_path / "exif.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for i in range(3):
            packet = av.Packet(jpeg[:2] + exif + jpeg[2:])
            packet.pts = packet.dts = i
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    with av.open(str(path)) as container:
        kinds = [data.type.name for data in next(container.decode(video=0)).side_data]
    assert any(name.startswith("UNKNOWN_") for name in kinds), kinds
    assert probe(path).n_frames == 3


def test_the_base_view_of_spatial_video_is_read(make_video: Callable[..., Path], tmp_path: Path) -> None:
    """The other view has NAL units of its own, with `nuh_layer_id` 1 (H.265, 7.3.1.2 and annex G)."""
    options = {"x265-params": "log-level=none:bframes=0", "crf": "10"}
    frames = planes_420(6, bits=8)
    flat = make_video("flat.mp4", frames, pix_fmt="yuv420p", codec="libx265", tags=BT709, options=options)
    path = tmp_path / "spatial.mp4"
    with av.open(str(flat)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                data = bytes(packet)
                other = bytearray(data)
                position = 0
                while position < len(data):  # a length of four bytes, and the two of the header
                    other[position + 5] |= 1 << 3
                    position += 4 + int.from_bytes(data[position : position + 4], "big")
                new = av.Packet(data + bytes(other))
                for name in ("pts", "dts", "duration", "time_base", "is_keyframe"):
                    setattr(new, name, getattr(packet, name))
                new.stream = stream
                target.mux(new)
    for both, alone in zip(FrameReader(path, expect="sdr"), FrameReader(flat, expect="sdr"), strict=True):
        np.testing.assert_array_equal(both.rgb, alone.rgb)


def test_spatial_video_is_noted() -> None:
    plain = SimpleNamespace(codec_context=SimpleNamespace(profile="Main"))
    view = SimpleNamespace(side_data=[SimpleNamespace(type=SideDataType(29))])
    assert _views(plain, view) == ("it is spatial video: the base view is read",)
    assert _views(plain, SimpleNamespace(side_data=[])) == ()


def test_hidden_frames_of_vp9_are_not_counted(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Each hidden frame in a packet of its own, as some tools store them: more packets than frames."""
    whole, path = tmp_path / "whole.webm", tmp_path / "hidden.webm"
    tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=3", "-vf", f"{tags},format=yuv420p", "-c:v", "libvpx-vp9")
    choices = ("-b:v", "200k", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-passlogfile", str(tmp_path / "log"))
    ffmpeg(*source, *choices, "-pass", "1", "-f", "null", "-")
    ffmpeg(*source, *choices, "-pass", "2", str(whole))
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"fflags": "-autobsf"}, format="matroska") as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        split = av.BitStreamFilterContext("vp9_superframe_split", source.streams.video[0])
        count = 0
        for packet in source.demux(video=0):
            for part in split.filter(packet if packet.size else None):
                part.stream = stream
                target.mux(part)
                count += 1
    reader, plain = FrameReader(path, assume="bt709"), FrameReader(whole, assume="bt709")
    assert count > len(plain) == 75
    assert len(reader) == 75
    for got, expected in zip(reader, plain, strict=True):
        np.testing.assert_array_equal(got.rgb, expected.rgb)
    (late,) = reader.read([60])
    np.testing.assert_array_equal(late.rgb, next(iter(plain.read([60]))).rgb)


def test_a_conversion_of_a_turned_film_is_upright(make_video: Callable[..., Path], tmp_path: Path) -> None:
    plain = make_video("plain.mp4", planes_420(2, 64, 48, 8), pix_fmt="yuv420p", codec="libx264", tags=BT709)
    path = with_matrix(plain, tmp_path / "turned.mp4", (-1, 0, 0, 1))
    reader = FrameReader(path)
    with open_writer(tmp_path / "out", 64, 48, 25, "png") as writer:
        for frame in reader:
            writer.write(frame.rgb)
    written = next(iter(FrameReader(tmp_path / "out", expect="hdr10")))
    original = next(iter(FrameReader(plain)))
    np.testing.assert_allclose(written.rgb, original.rgb[:, ::-1].clip(0, 1), atol=1 / 65535)
