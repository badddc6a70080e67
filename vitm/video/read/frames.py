"""Pictures as a video: folders of numbered frames, animations, and single pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vitm.color.ycbcr import code_scale
from vitm.video.errors import VideoDecodeError, VideoTagError
from vitm.video.gain_map import has_gain_map, hdr10_of, read_gain_map
from vitm.video.images import SEQUENCES, SUFFIXES, Float, Image, checked_rgb, image_header, read_image
from vitm.video.photographs import ANIMATIONS, TAGGED, Animation, Header, damage_named
from vitm.video.tags import Assume, Role, StreamInfo, check_choice, check_role, fill_missing, replace_tags

_LINEAR = (".exr", ".hdr")


@dataclass(frozen=True)
class Pictures:
    """Pictures that are read as a video.

    Attributes:
        info: what is known of them.
        files: the files, in order; one for an animation.
        times: when each picture of an animation appears, in seconds; empty for files.
    """

    info: StreamInfo
    files: tuple[Path, ...]
    times: tuple[Fraction, ...] = ()

    @contextmanager
    def open(self) -> Iterator[Callable[[int], Float]]:
        """Give a function that reads the picture of a number, fp32: integers are divided by their peak."""
        if not self.times:
            yield lambda index: read_codes(self.files[index], self.info)
            return
        path = self.files[0]
        with Animation(path) as animation:
            yield lambda index: _as_float(checked_rgb(animation.picture(index), path), path, self.info)

    def seconds(self, index: int) -> Fraction | None:
        """Return the time of a picture; None where no rate is known."""
        if self.times:
            return self.times[index]
        return None if self.info.fps is None else index / self.info.fps


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts frame2 before frame10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)


def list_frames(folder: Path) -> list[Path]:
    """Return the frames of a folder in natural order, all of one type, without gaps.

    Frames of sequences (PNG, TIFF, EXR, Radiance, DPX) go before photographs beside them.

    Raises:
        FileNotFoundError: if there is no such folder.
        VideoDecodeError: if it is empty, mixes types, or a numbered sequence lacks a number.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    files = [p for p in pictures if p.suffix.lower() in SEQUENCES] or pictures
    if not files:
        raise VideoDecodeError(f"{folder}: no frames (looked for {', '.join(SUFFIXES)})")
    if len(suffixes := {p.suffix for p in files}) > 1:
        raise VideoDecodeError(
            f"{folder}: frames of several types ({', '.join(sorted(suffixes))}): keep one type a folder"
        )
    files.sort(key=natural_key)
    matches = [re.fullmatch(r"(.*?)(\d+)(\D*)", p.name) for p in files]
    names = [(m[1], m[3]) for m in matches if m]
    if len(names) == len(files) and len(set(names)) == 1:
        numbers = [int(m[2]) for m in matches if m]
        for before, after, path in zip(numbers, numbers[1:], files[1:], strict=False):
            if after == before:
                raise VideoDecodeError(f"{folder}: frame {after} is there twice ({path.name} and another)")
            if after != before + 1:
                gap = f"frame {before + 1} is" if after == before + 2 else f"frames {before + 1} to {after - 1} are"
                raise VideoDecodeError(f"{folder}: {gap} missing before {path.name}")
    return files


def probe_pictures(
    path: Path,
    expect: Role | None,
    fps: Fraction | None = None,
    assume: Assume | None = None,
    override: str | None = None,
) -> Pictures:
    """Return what a folder of frames, an animation or a picture is, from the headers.

    Args:
        path: folder of frames, or image file.
        expect: role of the codes; PNG, TIFF and DPX do not say it. EXR and Radiance are linear.
        fps: frame rate, if known; animations have their own times.
        assume: what the colours are where the files do not say it; None: what their role implies.
        override: what they are, where the files are wrong.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoDecodeError: if a frame is missing, damaged, or differs from the first in size or type.
        VideoTagError: if `expect` is missing, or the files cannot hold it.
        ValueError: `fps` is given for an animation, or an override that does not fit the files.
    """
    check_choice("expect", expect, Role)
    files = list_frames(path) if path.is_dir() else [path]
    first = image_header(files[0])
    for other in files[1:]:
        if (header := image_header(other)) != first:
            raise VideoDecodeError(
                f"{other}: {header.width}x{header.height} {header.sample}, but {files[0].name} is "
                f"{first.width}x{first.height} {first.sample}: all frames must be alike"
            )
    suffix = files[0].suffix.lower()
    if expect == "hdr10" and suffix in (".jpg", ".jpeg") and has_gain_map(files[0]):
        first = Header(first.width, first.height, "float32", "bt2020", "pq")
    times = () if path.is_dir() or suffix not in ANIMATIONS else _times(path)
    if times and fps is not None:
        raise ValueError(f"{path}: fps={fps} is for folders of frames; an animation has its own times")
    if times:
        fps = (len(times) - 1) / times[-1]
    info = StreamInfo(
        path=path,
        kind="frames",
        width=first.width,
        height=first.height,
        n_frames=len(times) - 1 if times else len(files),
        fps=fps,
        bit_depth=int(first.sample.removeprefix("uint").removeprefix("float")),
        pixel_format=f"{suffix[1:]}-{first.sample}",
        chroma="rgb",
        chroma_location=None,
        matrix="rgb",
        full_range=True,
        transfer="linear" if suffix in _LINEAR else first.transfer,
        primaries=first.primaries,
        notes=first.notes,
        first_number=_number(files[0]) if path.is_dir() else None,
    )
    if override is not None and (info.transfer == "linear" or expect == "linear"):
        raise ValueError(f"override={override!r}: {path} holds linear light, which has no other tags: leave it out")
    info = fill_missing(replace_tags(info, override), None if expect == "linear" else assume)
    if not info.full_range and (first.sample.startswith("float") or suffix in TAGGED):
        raise ValueError(f"override={override!r}: {path} tells its range itself: give the colours alone")
    coded = info.transfer not in (None, "linear")
    primaries = info.primaries or ("bt709" if expect == "sdr" else "bt2020" if expect != "linear" else None)
    info = replace(info, transfer=info.transfer if coded else _transfer(files[0], first, expect), primaries=primaries)
    if coded:
        check_role(info, expect)
    return Pictures(info, tuple(files), times)


def _number(path: Path) -> str | None:
    """Return the last number in the name of a frame, "1001" of shot.1001.exr."""
    digits = re.findall(r"\d+", path.stem)
    return digits[-1] if digits else None


def _times(path: Path) -> tuple[Fraction, ...]:
    """Return the times of an animation and its end; nothing for a still."""
    with damage_named(path), Animation(path) as animation:
        return tuple(animation.times()) if len(animation) > 1 else ()


def read_codes(path: Path, info: StreamInfo) -> Float:
    """Read one picture as fp32: integers are divided by their peak, floating point stays as it is."""
    if info.transfer == "pq" and info.pixel_format in ("jpg-float32", "jpeg-float32"):  # SDR with a gain map
        picture = read_gain_map(path)
        return hdr10_of(picture.hdr, picture.primaries)
    return _as_float(read_image(path), path, info)


def _as_float(image: Image, path: Path, info: StreamInfo) -> Float:
    if image.shape[:2] != (info.height, info.width):
        raise VideoDecodeError(f"{path}: {image.shape[1]}x{image.shape[0]}, expected {info.width}x{info.height}")
    if image.dtype.kind != "f":
        image = np.multiply(image, np.float32(1 / np.iinfo(image.dtype).max), dtype=np.float32)
    if info.full_range:
        return image
    (gain, *_), (black, *_) = code_scale(info.bit_depth)
    codes: Float = ((2**info.bit_depth - 1) * image - np.float32(black)) / np.float32(gain)
    return codes


def _transfer(path: Path, header: Header, expect: Role | None) -> str:
    """Return the transfer function that a file's type or its role implies, if its type can hold it."""
    suffix = path.suffix.lower()
    if suffix in _LINEAR:
        if expect not in (None, "linear"):
            raise VideoTagError(f"{path}: {suffix[1:]} files hold linear light, but {expect} codes were expected")
        return "linear"
    if expect is None:
        raise VideoTagError(
            f"{path}: {suffix[1:]} files do not say what their codes mean: "
            "pass expect='sdr', 'hdr10', 'hlg' or 'linear'"
        )
    if expect == "linear" and header.sample.startswith("uint"):
        raise VideoTagError(
            f"{path}: {header.sample} samples, but linear light needs floating point: write EXR, or TIFF of floats"
        )
    if expect in ("hdr10", "hlg") and header.sample == "uint8":
        raise VideoTagError(f"{path}: 8-bit HDR: {expect} frames need 16-bit samples: write them anew")
    return {"sdr": "bt709", "hdr10": "pq", "hlg": "hlg", "linear": "linear"}[expect]
