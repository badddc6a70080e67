"""Parsers of files from strangers, a good file for each, and changes to it."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch

from tests.video.codecs.test_sei import HEADER, MASTERING, SLICE
from tests.video.test_gain_map import THREE, iso, jpeg, segment, xmp
from vitm.checkpoints import CheckpointError, read_checkpoint, recorded
from vitm.data.prepare.sources import read_video_pairs
from vitm.evaluation.pairs import read_pair_list
from vitm.runs.entries import _read as read_entry
from vitm.video import FrameReader, VideoDecodeError, VideoTagError, read_image, write_exr, write_image
from vitm.video.boxes import hdr_boxes, insert_in_sample_entry
from vitm.video.codecs.av1 import AV1
from vitm.video.codecs.sei import nal_length_size, patch_packet, patch_record
from vitm.video.gain_map import has_gain_map, read_gain_map
from vitm.video.images import image_header
from vitm.video.read.whole import what_is_missing
from vitm.video.tags import BT2020_1000_NITS

Parse = Callable[[Path], Any]
_TAGS = "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
_CODERS = {
    **{".mp4": ("libx264",), ".mkv": ("libx265", "-x265-params", "log-level=none"), ".avi": ("mpeg4",)},
    **{".ogv": ("libtheora",), ".flv": ("flv",), ".wmv": ("wmv2",), ".ts": ("mpeg2video",), ".webm": ("libvpx-vp9",)},
}


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        suffix: the suffix of its files.
        seed: a good file.
        parse: reads a file.
        errors: what it may raise, exactly these classes, with the file's name where there is one.
    """

    suffix: str
    seed: Callable[[], bytes]
    parse: Parse
    errors: tuple[type[Exception], ...] = (VideoDecodeError, VideoTagError)


def check(target: Target, path: Path, data: bytes) -> None:
    """Parse a file that a stranger wrote; only the project's own errors may come out."""
    path.write_bytes(data)
    try:
        target.parse(path)
    except Exception as error:
        if type(error) not in target.errors or not str(error):
            raise


def mutations(seed: bytes, count: int, random_seed: int = 0) -> Iterator[bytes]:
    """Give changed copies: bits flipped, numbers made extreme, parts cut out, doubled or moved, ends cut off."""
    chance = random.Random(random_seed)
    for _ in range(count):
        data = bytearray(seed)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            # headers are small, and damage in them tells more than in the data behind
            last = len(data) - 1 if chance.random() < 0.5 else min(len(data) - 1, 512)
            at, size = chance.randint(0, max(0, last)), chance.choice((1, 2, 4, 8, 64))
            match chance.randrange(6):
                case 0:
                    data[at : at + 1] = bytes((chance.randrange(256),))
                case 1:
                    data[at : at + size] = chance.choice((b"\0", b"\xff", b"\x7f\xff", b"\x80\0")) * (size // 2 or 1)
                case 2:
                    del data[at : at + size]
                case 3:
                    data[at:at] = data[at : at + size]
                case 4:
                    data = data[:at] if chance.random() < 0.3 else data
                case _:
                    other = chance.randint(0, max(0, len(data) - size))
                    data[at : at + size] = data[other : other + size]
        yield bytes(data)


@cache
def _film(suffix: str) -> bytes:
    """Eight frames of 32x32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        source = ("-f", "lavfi", "-i", "testsrc2=s=32x32:r=25:d=0.32", "-vf", _TAGS, "-c:v", *_CODERS[suffix])
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, str(path)], check=True)
        return path.read_bytes()


def _film_target(suffix: str) -> Target:
    def parse(path: Path) -> None:
        what_is_missing(path)
        for options in ({}, {"on_error": "repeat"}):
            with FrameReader(path, assume="bt709", on_change="scale", deinterlace="off", **options) as reader:
                list(reader)
                if len(reader) > 1:
                    list(reader.read([len(reader) // 2]))

    return Target(suffix, lambda: _film(suffix), parse)


@cache
def _picture(suffix: str) -> bytes:
    picture = np.random.default_rng(0).random((12, 16, 3), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        if suffix == ".exr":
            write_exr(path, picture)
        elif suffix == ".hdr":
            import cv2

            cv2.imwrite(str(path), picture)
        elif suffix in (".png", ".tiff"):
            write_image(path, picture, bits=16)
        else:
            import imageio.v3 as iio

            iio.imwrite(path, (picture * 255).astype(np.uint8))
        return path.read_bytes()


def _picture_target(suffix: str) -> Target:
    def parse(path: Path) -> None:
        for read in (image_header, read_image):
            try:
                read(path)
            except (VideoDecodeError, VideoTagError) as error:
                if str(path) not in str(error):
                    raise AssertionError(f"the error does not name the file: {error}") from error
        with FrameReader(path, expect="linear" if suffix in (".exr", ".hdr") else "sdr") as reader:
            list(reader)

    return Target(suffix, lambda: _picture(suffix), parse)


def _photograph() -> bytes:
    base = jpeg(np.full((16, 16, 3), 128, np.uint8))
    return base + jpeg(np.full((8, 8, 3), 90, np.uint8), segment(0xE2, iso(THREE)), segment(0xE1, xmp(THREE)))


def _parse_photograph(path: Path) -> None:
    has_gain_map(path)
    read_gain_map(path)


def _sei_packet() -> bytes:
    message = HEADER + MASTERING + b"\x90\x04\x03\xe8\x01\x90\x80"
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in (message, SLICE))


def _record() -> bytes:
    message = HEADER + b"\x90\x04\x03\xe8\x01\x90\x80"
    return bytes((1, *range(20), 0xFF, 1, 39)) + struct.pack(">HH", 1, len(message)) + message


def _parse_record(path: Path) -> None:
    nal_length_size(path.read_bytes())
    patch_record(path.read_bytes(), 1000, 400, BT2020_1000_NITS.record)


def _units() -> bytes:
    light = bytes((5 << 3 | 2, 6, 1)) + struct.pack(">2H", 1000, 400) + b"\x80"
    mastering = bytes((5 << 3 | 2, 26, 2)) + bytes(24) + b"\x80"
    return bytes((2 << 3 | 2, 0)) + light + mastering


def _boxes() -> bytes:
    data = b""
    for kind in (b"apch", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        body = bytes(8) + data if kind == b"stsd" else data
        data = struct.pack(">I4s", 8 + len(body), kind) + body
    return data


def _checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"vitm": {"network": "hdcfm", "arguments": {}}, "state_dict": {"network.a": torch.zeros(3)}}, file)
    return file.getvalue()


def _parse_checkpoint(path: Path) -> None:
    recorded(read_checkpoint(path))


ENTRY = b"entry: {task: a.b, results: {psnr: 37.7260}}\nmodel: {network: hdcfm, size: [3, 4.5, null]}\nrows: {x: 1}\n"
PAIRS = b'name,pred,target\r\none,a.mp4,b.mp4\r\n"two",c.mp4,d.mp4\r\n'
SOURCES = b"sdr,hdr,split,offset\r\na.mp4,b.mp4,train,0\r\nc.mp4,d.mp4,test,-2\r\n"

TARGETS = {
    **{f"film{suffix}": _film_target(suffix) for suffix in _CODERS},
    **{
        f"picture{suffix}": _picture_target(suffix)
        for suffix in (".png", ".tiff", ".exr", ".hdr", ".jpg", ".gif", ".webp", ".bmp")
    },
    "gain map": Target(".jpg", _photograph, _parse_photograph),
    "sei": Target(".bin", _sei_packet, lambda path: patch_packet(path.read_bytes(), 4, 1000, 400), (VideoDecodeError,)),
    "record": Target(".bin", _record, _parse_record, (VideoDecodeError,)),
    "obu": Target(
        ".bin", _units, lambda path: AV1().patch_packet(path.read_bytes(), b"", (1000, 400)), (VideoDecodeError,)
    ),
    "boxes": Target(
        ".bin",
        _boxes,
        lambda path: insert_in_sample_entry(path.read_bytes(), hdr_boxes(BT2020_1000_NITS, (1000, 400))),
        (VideoDecodeError,),
    ),
    "entry": Target(".yaml", lambda: ENTRY, read_entry, (ValueError,)),
    "list of pairs": Target(".csv", lambda: PAIRS, read_pair_list, (ValueError,)),
    "sources": Target(".csv", lambda: SOURCES, read_video_pairs, (ValueError,)),
    "checkpoint": Target(".ckpt", _checkpoint, _parse_checkpoint, (CheckpointError,)),
}
