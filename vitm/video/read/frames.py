"""Folders of frames: numbered PNG, TIFF, EXR or Radiance files as a video."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from vitm.video.errors import VideoDecodeError, VideoTagError
from vitm.video.images import SUFFIXES, Float, Header, image_header, read_image
from vitm.video.tags import Role, StreamInfo, check_choice

_LINEAR = (".exr", ".hdr")


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts frame2 before frame10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)


def list_frames(folder: Path) -> list[Path]:
    """The frames of a folder in natural order, all of one type, without gaps.

    Raises:
        FileNotFoundError: if there is no such folder.
        VideoDecodeError: if it is empty, mixes types, or a numbered sequence lacks a number.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
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


def probe_frames(folder: Path, expect: Role | None, fps: Fraction | None) -> tuple[StreamInfo, list[Path]]:
    """The files of a folder and what they are, from their headers.

    Args:
        folder: folder of frames.
        expect: what the codes mean; PNG and TIFF do not say it. EXR and Radiance are linear.
        fps: frame rate, if known.

    Raises:
        FileNotFoundError: if there is no such folder.
        VideoDecodeError: if a frame is missing, damaged, or differs from the first in size or type.
        VideoTagError: if `expect` is missing, or the files cannot hold it.
    """
    check_choice("expect", expect, Role)
    files = list_frames(folder)
    first = image_header(files[0])
    for path in files[1:]:
        if (header := image_header(path)) != first:
            raise VideoDecodeError(
                f"{path}: {header.width}x{header.height} {header.sample}, but {files[0].name} is "
                f"{first.width}x{first.height} {first.sample}: all frames must be alike"
            )
    suffix = files[0].suffix.lower()
    info = StreamInfo(
        path=folder,
        kind="frames",
        width=first.width,
        height=first.height,
        n_frames=len(files),
        fps=fps,
        bit_depth=int(first.sample.removeprefix("uint").removeprefix("float")),
        pixel_format=f"{suffix[1:]}-{first.sample}",
        chroma="rgb",
        chroma_location=None,
        matrix="rgb",
        full_range=True,
        transfer=_transfer(files[0], first, expect),
        primaries=first.primaries or ("bt709" if expect == "sdr" else "bt2020" if expect != "linear" else None),
    )
    return info, files


def read_codes(path: Path, info: StreamInfo) -> Float:
    """One frame of a probed folder as float32: integers are divided by their peak, floating point stays as it is."""
    image = read_image(path)
    if image.shape[:2] != (info.height, info.width):
        raise VideoDecodeError(f"{path}: {image.shape[1]}x{image.shape[0]}, expected {info.width}x{info.height}")
    if image.dtype.kind == "f":
        return image
    return np.multiply(image, np.float32(1 / np.iinfo(image.dtype).max), dtype=np.float32)


def _transfer(path: Path, header: Header, expect: Role | None) -> str:
    """The transfer function that a frame's role implies, if its type can hold it."""
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
        raise VideoTagError(f"{path}: {header.sample} samples, but linear light needs floating point (EXR, TIFF)")
    if expect in ("hdr10", "hlg") and header.sample == "uint8":
        raise VideoTagError(f"{path}: 8-bit HDR: {expect} frames need 16-bit samples")
    return {"sdr": "bt709", "hdr10": "pq", "hlg": "hlg", "linear": "linear"}[expect]
