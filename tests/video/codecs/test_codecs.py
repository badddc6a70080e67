"""HLG, ProRes and AV1: pixel values in another decoder, tags in three probes, HDR metadata in stream and container."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import colour
import numpy as np
import pytest

from tests.video.boxes import sample_entry_boxes
from tests.video.material import inner_pixels, moving_blocks
from vitm.video import P3_D65_1000_NITS, FrameReader, open_writer, probe
from vitm.video.codecs.av1 import AV1
from vitm.video.planes import frame_planes, rgb_to_planes

FRAMES = moving_blocks(6)
OUTPUTS = [("hevc", ".mp4"), ("hlg", ".mp4"), ("hlg", ".mkv"), ("prores", ".mov"), ("av1", ".mp4"), ("av1", ".mkv")]
HDR10 = [("hevc", ".mp4"), ("hevc", ".mkv"), ("prores", ".mov"), ("av1", ".mp4"), ("av1", ".mkv")]
FOURCC = {"hevc": b"hvc1", "hlg": b"hvc1", "prores": b"apch", "av1": b"av01"}


def write(path: Path, codec: str, frames: list[np.ndarray] = FRAMES, **options: object) -> tuple[int, int]:
    height, width = frames[0].shape[:2]
    with open_writer(path, width, height, Fraction(24000, 1001), codec, **options) as writer:  # type: ignore[arg-type]
        for frame in frames:
            writer.write(frame)
    return round(writer.max_cll), round(writer.max_fall)


# --- pixel values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "suffix"), [("hevc", ".mp4"), ("av1", ".mp4"), ("av1", ".mkv")])
def test_lossless_pq_is_exact_in_the_planes(codec: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, codec, lossless=True)
    with av.open(str(path)) as container:
        for got, frame in zip(container.decode(video=0), FRAMES, strict=True):
            for a, b in zip(frame_planes(got), rgb_to_planes(frame), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("codec", "suffix", "codes"), [("prores", ".mov", 2.5), ("av1", ".mp4", 8), ("hevc", ".mp4", 8)]
)
def test_another_decoder_sees_the_picture(
    codec: str, suffix: str, codes: float, tmp_path: Path, zscale_rgb: Callable[..., np.ndarray]
) -> None:
    """The mean error of flat blocks, in ten-bit codes; the largest is a few times that in compressed video."""
    path = tmp_path / f"a{suffix}"
    write(path, codec)
    got = inner_pixels(zscale_rgb(path, 128, 96, len(FRAMES)))
    error = np.abs(got - inner_pixels(np.stack(FRAMES))) * 1023
    assert error.mean() < codes / 2
    assert np.quantile(error, 0.95) < codes * 2


def test_hlg_is_what_colour_science_makes_of_pq(tmp_path: Path, zscale_rgb: Callable[..., np.ndarray]) -> None:
    path = tmp_path / "a.mp4"
    write(path, "hlg", lossless=True)
    pq = inner_pixels(np.stack(FRAMES)).astype(np.float64)
    nits = np.minimum(colour.models.eotf_ST2084(pq), 1000)
    expected = colour.models.eotf_inverse_BT2100_HLG(nits, L_B=0, L_W=1000)
    got = inner_pixels(zscale_rgb(path, 128, 96, len(FRAMES)))
    assert np.abs(got - expected).max() < 0.5 / 876 + 1.8814 * 0.5 / 896 + 1e-4  # half a code of Y and of C


def test_prores_keeps_four_two_two_chroma(tmp_path: Path) -> None:
    """Rows of alternating colours: 4:2:0 would mix them."""
    frame = np.full((64, 64, 3), 0.4, np.float32)
    frame[::16, :, 0] = frame[1::16, :, 0] = 0.6
    write(tmp_path / "a.mov", "prores", [frame])
    with av.open(str(tmp_path / "a.mov")) as container:
        planes = frame_planes(next(container.decode(video=0)))
    assert planes[2].shape == (64, 32)
    for got, expected in zip(planes, rgb_to_planes(frame, "4:2:2"), strict=True):
        assert np.abs(got.astype(int) - expected).max() <= 4


def test_422_planes_agree_with_zscale(ffmpeg: Callable[..., bytes]) -> None:
    rgb = np.random.default_rng(6).random((48, 64, 3), dtype=np.float32)
    raw = ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-s", "64x48", "-color_range", "pc", "-i", "-", "-vf"),
        "zscale=matrixin=gbr:matrix=2020_ncl:range=limited:dither=none,format=yuv444p16le",
        *("-f", "rawvideo", "-"),
        data=rgb[..., (1, 2, 0)].transpose(2, 0, 1).tobytes(),
    )
    full = np.frombuffer(raw, np.uint16).reshape(3, 48, 64) / 64.0
    padded = np.pad(full, ((0, 0), (0, 0), (1, 1)), mode="edge")
    mean = sum(a * padded[..., j : j + 64 : 2] for j, a in ((0, 0.25), (1, 0.5), (2, 0.25)))
    y, cb, cr = rgb_to_planes(rgb, "4:2:2")
    for got, expected in ((y, full[0]), (cb, mean[1]), (cr, mean[2])):
        assert np.abs(got - expected).max() < 0.51


# --- tags and metadata ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "suffix"), OUTPUTS)
def test_probe_reads_what_was_meant(codec: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    options = {} if codec == "hlg" else {"mastering": P3_D65_1000_NITS}
    levels = write(path, codec, **options)
    info = FrameReader(path, expect="hlg" if codec == "hlg" else "hdr10").info
    assert (info.matrix, info.primaries, info.full_range, info.bit_depth) == ("bt2020", "bt2020", False, 10)
    assert (info.n_frames, info.fps) == (6, Fraction(24000, 1001))
    assert info.chroma == ("4:2:2" if codec == "prores" else "4:2:0")
    if codec != "prores":
        assert info.chroma_location == "topleft"
    if codec == "hlg":
        assert (info.mastering_display, info.max_cll) == (None, None)
        return
    assert (info.max_cll, info.max_fall) == levels
    assert info.mastering_display is not None
    tolerance = 1e-4 if codec == "av1" else 1e-9  # AV1 counts chromaticities in 1 / 65536
    for name in ("red", "green", "blue", "white"):
        np.testing.assert_allclose(
            getattr(info.mastering_display, name), getattr(P3_D65_1000_NITS, name), atol=tolerance
        )
    assert info.mastering_display.max_nits == 1000


@pytest.mark.parametrize(("codec", "suffix"), [*(o for o in OUTPUTS if o[1] != ".mkv"), ("hevc", ".mov")])
def test_boxes_of_the_container(codec: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    max_cll, max_fall = write(path, codec)
    boxes = sample_entry_boxes(path, FOURCC[codec])
    transfer = 18 if codec == "hlg" else 16
    kind = b"nclc" if suffix == ".mov" else b"nclx"
    assert boxes[b"colr"][:10] == kind + struct.pack(">3H", 9, transfer, 9)
    if codec == "hlg":
        assert b"mdcv" not in boxes
        assert b"clli" not in boxes
        return
    assert struct.unpack(">2H", boxes[b"clli"]) == (max_cll, max_fall)
    # G, B, R, white in 0.00002; light in 0.0001 cd/m2
    expected = (8500, 39850, 6550, 2300, 35400, 14600, 15635, 16450, 10_000_000, 1)
    assert struct.unpack(">8H2I", boxes[b"mdcv"]) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("code", "peak"), [(0.75, 1000), (0.7518271, 1000), (0.76, 2000), (0.85, 4000), (1.0, 10000)])
@pytest.mark.parametrize(("codec", "suffix", "raw"), [(*o, {"hevc": "hevc", "av1": "ivf"}.get(o[0])) for o in HDR10])
def test_the_mastering_display_can_show_the_picture(
    codec: str, suffix: str, raw: str | None, code: float, peak: int, tmp_path: Path, ffmpeg_log: Callable[..., str]
) -> None:
    """ST 2086 and MaxCLL agree, in the container and in the stream, as FFmpeg reads them."""
    path = tmp_path / f"a{suffix}"
    max_cll, max_fall = write(path, codec, [np.full((64, 64, 3), code, np.float32)] * 2)
    assert max_cll <= peak
    files = [path]
    if raw is not None:  # the stream alone
        files.append(tmp_path / f"a.{raw}")
        ffmpeg_log("-i", str(path), "-c", "copy", str(files[1]))
    for file in files:
        log = ffmpeg_log("-i", str(file), "-vf", "showinfo", "-f", "null", "-")
        assert set(re.findall(r"max_luminance=([\d.]+)", log)) == {f"{peak}.000000"}
        assert set(re.findall(r"MaxCLL=(\d+), MaxFALL=(\d+)", log)) == {(str(max_cll), str(max_fall))}


@pytest.mark.parametrize(("codec", "suffix"), OUTPUTS)
def test_ffprobe_and_mediainfo_agree(codec: str, suffix: str, tmp_path: Path) -> None:
    if not (shutil.which("ffprobe") and shutil.which("mediainfo")):
        pytest.skip("needs ffprobe and mediainfo")
    path = tmp_path / f"a{suffix}"
    max_cll, max_fall = write(path, codec)
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    stream = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"][0]
    assert stream["codec_name"] == {"hlg": "hevc"}.get(codec, codec)
    assert stream["color_transfer"] == ("arib-std-b67" if codec == "hlg" else "smpte2084")
    assert (stream["color_primaries"], stream["color_space"], stream["color_range"]) == ("bt2020", "bt2020nc", "tv")
    text = subprocess.run(["mediainfo", str(path)], capture_output=True, text=True, check=True).stdout
    assert "BT.2020 non-constant" in text
    if codec == "hlg":
        assert "HLG" in text
        assert "Light Level" not in text
        return
    side = {d["side_data_type"]: d for d in stream["side_data_list"]}
    assert side["Content light level metadata"]["max_content"] == max_cll
    assert side["Content light level metadata"]["max_average"] == max_fall
    assert Fraction(side["Mastering display metadata"]["max_luminance"]) == 1000
    assert "HDR10 compatible" in text
    assert f"{max_cll} cd/m2" in text or f": {max_cll}\n" in text


def test_every_av1_key_frame_tells_the_true_levels(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    levels = write(path, "av1", moving_blocks(8), work_dir=tmp_path / "w", segment_frames=3)
    with av.open(str(path)) as container:
        told = [
            struct.unpack("<2I", bytes(d)[:8])
            for frame in container.decode(video=0)
            for d in frame.side_data
            if "CONTENT_LIGHT" in str(d.type)
        ]
    assert set(told) == {levels}
    assert len(told) >= 3
    assert b"\x03\xe8\x01\x90" not in path.read_bytes()  # the placeholder


def test_av1_metadata_units_are_patched_in_place() -> None:
    """By hand from the AV1 specification, 5.3.2 and 5.8.3: header, size, metadata_type, two levels, trailing bit."""
    light = bytes((5 << 3 | 2, 6, 1)) + struct.pack(">2H", 1000, 400) + b"\x80"
    other = bytes((5 << 3 | 2, 6, 4)) + struct.pack(">2H", 1000, 400) + b"\x80"  # another metadata_type
    tile = bytes((6 << 3 | 2, 0x85, 1)) + bytes(133)  # a size of 133 in two bytes
    extended = bytes((5 << 3 | 2 | 4, 0, 6, 1)) + struct.pack(">2H", 1000, 400) + b"\x80"
    packet = tile + light + other + extended
    expected = packet.replace(light[2:], b"\x01" + struct.pack(">2H", 77, 5) + b"\x80")
    assert AV1().patch_packet(packet, b"", (77, 5)) == expected


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codec": "vp9"}, "codec='vp9': expected one of hevc, hlg, prores, av1, png, tiff, exr"),
        ({"codec": "prores"}, r"cannot write '\.mp4' with ProRes: name the output \*\.mov"),
        ({"codec": "prores", "crf": 3}, r"prores has no option crf \(its options: mastering\)"),
        ({"codec": "hlg", "mastering": P3_D65_1000_NITS}, "hlg has no option mastering"),
        ({"codec": "av1", "crf": 0}, "crf=0: expected 1"),
        ({"codec": "av1", "preset": 14}, "preset=14"),
        ({"codec": "av1", "height": 63}, "4:2:0 needs an even width and height of at least 64x64"),
        ({"codec": "png", "streams_from": "x.mp4"}, "a folder of frames takes no streams_from"),
        ({"codec": "exr", "crf": 12}, "a folder of frames takes no crf"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    given: dict[str, object] = {"width": 128, "height": 96, "fps": 24} | arguments
    with pytest.raises(ValueError, match=message):
        open_writer(tmp_path / "a.mp4", **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_odd_heights_suit_prores(tmp_path: Path) -> None:
    write(tmp_path / "a.mov", "prores", [np.full((51, 64, 3), 0.5, np.float32)])
    assert probe(tmp_path / "a.mov").height == 51
    with pytest.raises(ValueError, match="4:2:2 needs an even width"):
        write(tmp_path / "b.mov", "prores", [np.full((51, 65, 3), 0.5, np.float32)])


def test_an_aborted_encoder_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for codec, suffix in (("av1", ".mp4"), ("hevc", ".mp4"), ("prores", ".mov")):
        writer = open_writer(tmp_path / f"a{suffix}", 128, 96, 24, codec)  # type: ignore[arg-type]
        writer.write(FRAMES[0])
        writer.abort()
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
