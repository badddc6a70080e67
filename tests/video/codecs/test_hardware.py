"""Encoders of graphics cards, played by x265: what they leave out is put in, or noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.material import moving_blocks
from vitm.cli import main
from vitm.conversion import Encoding
from vitm.video import WriteError, open_writer, probe, write_image
from vitm.video.codecs import ENCODERS, check_encoder, make_codec
from vitm.video.codecs.base import Levels
from vitm.video.codecs.hardware import HardwareHEVC
from vitm.video.codecs.sei import nal_length_size
from vitm.video.planes import new_frame, rgb_to_planes

FRAMES = moving_blocks(3)


@dataclass(frozen=True)
class Played(HardwareHEVC):
    """An encoder that writes no HDR metadata, as most of graphics cards."""

    encoder = "libx265"
    pixel_format = "yuv420p10le"
    min_size = (64, 32)
    more = "repeat-headers=0"

    def quality(self) -> dict[str, str]:
        return {"preset": "ultrafast", "x265-params": f"log-level=error:info=0:keyint=2:min-keyint=2:{self.more}"}


class Untagged(Played):
    """One that forgets the colours too."""

    more = "colorprim=undef:colormatrix=undef"


class Forgetful(Played):
    """One whose metadata nobody puts in."""

    def patch_packet(self, packet: bytes, record: bytes, levels: Levels) -> bytes:
        return packet


def write(path: Path, played: type[HardwareHEVC]) -> Levels:
    height, width = FRAMES[0].shape[:2]
    with open_writer(path, width, height, 24, f"{__name__}.{played.__name__}") as writer:
        for frame in FRAMES:
            writer.write(frame)
    return round(writer.max_cll), round(writer.max_fall)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_metadata_is_put_into_every_key_frame(suffix: str, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """FFmpeg's own parser finds it in the bare stream, and the coded pictures stay as they are."""
    path = tmp_path / f"a{suffix}"
    levels = write(path, Played)
    bare = tmp_path / "a.hevc"
    ffmpeg("-i", str(path), "-c", "copy", "-f", "hevc", str(bare))
    with av.open(str(bare)) as container:
        frames = [*container.decode(video=0)]
    metadata = [{data.type.name: bytes(data) for data in frame.side_data} for frame in frames if frame.key_frame]
    assert len(metadata) == 2
    for data in metadata:
        assert np.frombuffer(data["CONTENT_LIGHT_LEVEL"], "<u4")[:2].tolist() == [*levels]
        assert np.frombuffer(data["MASTERING_DISPLAY_METADATA"], "<i4")[:2].tolist() == [35400, 50000]  # 0.708
    info = probe(path)
    assert (info.max_cll, info.max_fall) == levels
    assert info.mastering_display is not None


@pytest.mark.parametrize(
    ("played", "lost"),
    [(Untagged, "the primaries, the matrix"), (Forgetful, "the mastering display, MaxCLL and MaxFALL")],
)
def test_what_is_left_out_is_an_error_and_no_file(played: type[HardwareHEVC], lost: str, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=f"libx265 did not write {lost} into the stream"):
        write(tmp_path / "a.mp4", played)
    assert not [*tmp_path.iterdir()]


def test_metadata_is_not_put_in_twice(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", Played)
    with av.open(str(tmp_path / "a.mp4")) as container:
        record = bytes(container.streams.video[0].codec_context.extradata)
        keys, packets = zip(*((p.is_keyframe, bytes(p)) for p in container.demux(video=0) if p.size), strict=True)
    again = [Played().patch_packet(packet, record, (321, 123)) for packet in packets]
    assert nal_length_size(record) == 4
    assert [*map(len, again)] == [*map(len, packets)]
    assert sum(keys) == 2
    assert tuple(a != b for a, b in zip(again, packets, strict=True)) == keys


def test_cb_and_cr_in_turn_are_what_ffmpeg_makes_of_planes() -> None:
    planes = rgb_to_planes(FRAMES[0])
    ours, expected = new_frame(planes, "p010le"), new_frame(planes, "yuv420p10le").reformat(format="p010le")
    for a, b in zip(ours.planes, expected.planes, strict=True):
        rows = [np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : ours.width] for plane in (a, b)]
        np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize("name", ["hevc_nvenc", "hevc_qsv", "hevc_vaapi", "hevc_videotoolbox"])
def test_options_are_of_hevc_main_10(name: str) -> None:
    codec = make_codec(name, crf=20.0)
    assert codec.encoder == name
    assert codec.options()["profile"] == "main10"
    assert codec.tags == {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}
    with pytest.raises(ValueError, match="expected 0"):
        make_codec(name, crf=52.0)


def test_an_encoder_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENCODERS, "hevc_nvenc", f"{__name__}.Played")  # one that works
    for name in ("hevc_qsv", "hevc_videotoolbox"):
        monkeypatch.delitem(ENCODERS, name)
    check_encoder("libx265")
    write_image(tmp_path / "a.png", np.full((32, 64, 3), 0.5, np.float32), bits=8)
    words = ["convert", str(tmp_path / "a.png"), str(tmp_path / "a.mp4"), "--model", "clip"]
    assert main([*words, "--encoder", "hevc_vaapi"]) == 2
    message = "--encoder hevc_vaapi does not work on this machine (this build of FFmpeg has none); encoders that do: "
    assert f"{message}libx265, hevc_nvenc" in capsys.readouterr().out
    assert main([*words, "--encoder", "hevc_nvenc"]) == 0
    assert probe(tmp_path / "a.mp4").max_cll == 39


def test_encoders_are_of_hevc() -> None:
    assert Encoding(encoder="libx265").settled(Path("a.mp4")).codec == "hevc"
    settled = Encoding(encoder="hevc_qsv").settled(Path("a.mp4"))
    assert settled.settled(Path("a.mp4")).codec == settled.codec == "hevc_qsv"
    with pytest.raises(ValueError, match="encodes hevc, and the output is av1"):
        Encoding("av1", encoder="hevc_qsv").settled(Path("a.mp4"))
    with pytest.raises(ValueError, match="expected one of libx265"):
        Encoding(encoder="x264").settled(Path("a.mp4"))
