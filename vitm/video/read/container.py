"""Opening files through PyAV: the container, its picture stream, its texts, and the data beside each frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel
from av.sidedata.sidedata import Type as SideDataType

from vitm.video.errors import VideoDecodeError

Hardware = Literal["cuda", "qsv", "vaapi", "videotoolbox", "d3d11va"]
"""What decodes instead of the CPU: NVIDIA's NVDEC, Intel's Quick Sync, VA-API of Linux, Apple's, or that of Windows."""


def open_container(path: Path, hardware: Hardware | None = None) -> Any:
    """Open a file for reading; texts that are not UTF-8 keep their bytes, see `readable`.

    Args:
        path: the file.
        hardware: what decodes its pictures; None for the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is of no known format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    av.logging.set_level(None)  # torchvision 0.24 hands FFmpeg's messages to Python, for which threads wait forever
    address = f"file:{path}"  # "a:b.mp4" names no protocol
    options = {} if hardware is None else {"hwaccel": HWAccel(hardware, allow_software_fallback=False)}
    try:
        return av.open(address, metadata_errors="surrogateescape", **options)
    except av.FFmpegError as error:
        raise VideoDecodeError(f"{path}: not a video, or its beginning is damaged ({error.strerror})") from error


def check_hardware(path: Path, hardware: Hardware) -> None:
    """Raise a ValueError unless hardware decodes a video here: its first frame is tried.

    Args:
        path: a video that the CPU decodes.
        hardware: what is to decode it.
    """
    try:
        with open_video(path, hardware) as (container, stream):
            next(container.decode(stream))
    except (av.FFmpegError, VideoDecodeError, RuntimeError, StopIteration) as error:
        cause = error.__cause__ or error
        reason = getattr(cause, "strerror", None) or str(cause) or "it gives no frame"
        raise ValueError(
            f"decoder={hardware!r} does not decode {path} on this machine ({reason}): leave it out, and the CPU decodes"
        ) from error


def readable(text: str) -> str:
    r"""Return a text of a file's metadata as it can be shown and written.

    What is not UTF-8 is read as Latin-1, which loses nothing, though the letters may be wrong: old files do not say
    their encoding.

    Example:
        >>> readable(b"caf\xe9".decode(errors="surrogateescape"))
        'café'
    """
    data = text.encode(errors="surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def readable_texts(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of a file's metadata as they can be shown and written."""
    return {readable(key): readable(text) for key, text in metadata.items()}


def is_cover(stream: Any) -> bool:
    """Return whether a video stream is the cover picture of a song or film."""
    return bool(stream.disposition & stream.disposition.attached_pic)


@contextmanager
def open_video(path: Path, hardware: Hardware | None = None) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first video stream.

    Args:
        path: the file.
        hardware: as for `open_container`.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, or has no video stream.
    """
    with open_container(path, hardware) as container:
        streams = [s for s in container.streams.video if not is_cover(s)]
        if not streams:
            raise VideoDecodeError(f"{path}: no video stream, though a video was expected")
        if streams[0].codec_context is None:
            if container.format.name.startswith("jpegxl"):
                raise VideoDecodeError(f"{path}: this is JPEG XL: name it *.jxl")
            raise VideoDecodeError(f"{path}: this build of PyAV has no decoder for the video stream")
        yield container, streams[0]


def container_start(container: Any) -> Fraction:
    """Return the time at which a file starts, in seconds; 0 where it starts before 0."""
    return Fraction(max(0, container.start_time or 0), 1_000_000)


def side_data(frame: Any, kind: str) -> bytes | None:
    """Return the data of one kind beside a decoded frame, such as "DISPLAYMATRIX", or None."""
    return next((bytes(data) for data in frame.side_data if data.type.name == kind), None)


def display_matrix(frame: Any) -> tuple[int, ...]:
    """Return a, b, c and d of a frame's display matrix, by which (x, y) is shown at (a x + c y, b x + d y)."""
    data = side_data(frame, "DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    m = struct.unpack("<9i", data[:36])
    return m[0], m[1], m[3], m[4]


def _unknown_kind(cls: type[Any], value: object) -> Any:
    """Name a kind of side data that PyAV has no name for, instead of refusing every frame that carries it.

    FFmpeg learns new kinds with each version: the view of spatial video (29), EXIF (32), ...
    """
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    return member


setattr(SideDataType, "_missing_", classmethod(_unknown_kind))  # noqa: B010 (a hook of every enumeration)
