"""One video stream through PyAV: what it says of itself, that it is whole, and its decoded frames."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideDataType

from vitm.video.errors import VideoDecodeError
from vitm.video.planes import pixel_layout
from vitm.video.tags import MATRICES, PRIMARIES, RANGES, TRANSFERS, MasteringDisplay, StreamInfo, tag_name

_LOCATIONS = {(1, 1): "topleft", (1, 2): "left", (2, 1): "top", (2, 2): "center"}
_SLACK_SECONDS = 0.5  # by so much a container's duration may exceed the end of its last frame


@dataclass(frozen=True)
class PacketTable:
    """Time stamps in stream units, ascending: of all frames, and of the key frames, where decoding can start."""

    pts: npt.NDArray[np.int64]
    key_pts: npt.NDArray[np.int64]


@contextmanager
def open_video(path: Path, seeking: bool = False, resilient: bool = False) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream, whose decoder reports damage instead of hiding it.

    Args:
        path: a video file.
        seeking: decoding will start at other places than the beginning.
        resilient: decoding goes on after damage, in one thread: with several, some damaged frames lack their mark.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, or has no video stream.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise VideoDecodeError(f"{path}: not a video, or its beginning is damaged ({error.strerror})") from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            raise VideoDecodeError(f"{path}: no video stream")
        if streams[0].codec_context is None:
            raise VideoDecodeError(f"{path}: this build of PyAV has no decoder for the video stream")
        streams[0].thread_type = "NONE" if resilient else "AUTO"
        # the H.264 decoder marks damaged frames in any case; "explode" would stop it at leading pictures after a seek
        if not (resilient or (seeking and streams[0].codec_context.name == "h264")):
            streams[0].codec_context.options = {"err_detect": "explode"}
        yield container, streams[0]


def decode(container: Any, stream: Any, path: Path, since: int | None = None) -> Iterator[Any]:
    """The frames of a stream from where the container stands.

    Args:
        container: from `open_video`.
        stream: from `open_video`.
        path: for messages.
        since: after a seek, the time stamp of the key frame. Frames before it (the leading pictures of an open group)
            refer to frames that were not decoded, and are passed over.

    Raises:
        VideoDecodeError: at damage, naming the time.
    """
    place = "at the beginning"
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoDecodeError(f"{path}: damaged {place}")
            for frame in packet.decode():
                if frame.pts is None:
                    raise VideoDecodeError(
                        f"{path}: frames without time stamps are not supported: remux the file first"
                    )
                if since is not None and frame.pts < since:
                    continue
                place = f"after {frame.time:.3f} s"
                if frame.is_corrupt:
                    raise VideoDecodeError(f"{path}: damaged at {frame.time:.3f} s")
                yield frame
    except av.FFmpegError as error:
        raise VideoDecodeError(f"{path}: damaged {place} ({error.strerror})") from error


def decode_past_damage(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream from where the container stands, but for those that the decoder reports as damaged."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from (f for f in frames if f.pts is not None and not f.is_corrupt)


def probe_video(path: Path, resilient: bool = False) -> StreamInfo:
    """What a video file says of itself, and that it is not cut short. The first frame is decoded.

    With `resilient`, that is the first one that is not damaged.

    In MP4 and MOV the index tells the number of frames, and whether all of them are in the file; other containers are
    read through once, without decoding.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, cut short, interlaced, or of an unsupported pixel format.
    """
    with open_video(path, resilient=resilient) as (container, stream):
        frame = next(decode_past_damage(container, stream) if resilient else decode(container, stream, path), None)
        if frame is None:
            raise VideoDecodeError(f"{path}: the video stream holds no frame")
        if frame.interlaced_frame:
            raise VideoDecodeError(f"{path}: interlaced video is not supported: deinterlace it first")
        try:
            layout = pixel_layout(frame.format.name)
        except VideoDecodeError as error:
            raise VideoDecodeError(f"{path}: {error}") from error
        rotation = -round(frame.rotation or 0) % 360
        if rotation % 90:
            raise VideoDecodeError(f"{path}: rotated by {rotation} degrees: only multiples of 90 are supported")
        size = (frame.width, frame.height)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        if rotation % 180:
            size, aspect = size[::-1], 1 / aspect
        rgb = layout.chroma == "rgb"
        fps = stream.average_rate or stream.guessed_rate
        max_cll, max_fall = _content_light(frame)
        return StreamInfo(
            path=path,
            kind="video",
            width=size[0],
            height=size[1],
            n_frames=_count_by_index(container, stream, path) or len(packet_table(path).pts),
            fps=Fraction(fps) if fps else None,
            bit_depth=layout.bits,
            pixel_format=frame.format.name,
            chroma=layout.chroma,
            chroma_location=_chroma_location(stream) if layout.subsampling != (1, 1) else None,
            matrix="rgb" if rgb else tag_name(MATRICES, int(frame.colorspace)),
            full_range=layout.always_full or RANGES.get(int(frame.color_range), True if rgb else None),
            transfer=tag_name(TRANSFERS, int(frame.color_trc)),
            primaries=tag_name(PRIMARIES, int(frame.color_primaries)),
            sample_aspect_ratio=aspect,
            rotation=rotation,
            has_audio=bool(container.streams.audio),
            mastering_display=_mastering_display(frame),
            max_cll=max_cll,
            max_fall=max_fall,
        )


def packet_table(path: Path) -> PacketTable:
    """The time stamps of all frames, by reading the file through without decoding.

    Raises:
        VideoDecodeError: if the file is damaged, or ends before the time that its container declares.
    """
    pts, keys, last_end = [], [], 0
    with open_video(path) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.pts is None or packet.is_discard:
                    continue
                pts.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
                last_end = max(last_end, packet.pts + (packet.duration or 0))
        except av.FFmpegError as error:
            raise VideoDecodeError(f"{path}: damaged after {len(pts)} frames ({error.strerror})") from error
        if not pts:
            raise VideoDecodeError(f"{path}: the video stream holds no frame with a time stamp")
        first, declared = float(min(pts) * stream.time_base), _declared_end(container, stream)
        end = float(last_end * stream.time_base)
        if declared is not None and declared - max(end, end - first) > _SLACK_SECONDS:
            raise VideoDecodeError(
                f"{path}: cut short: {declared:.3f} s are declared, but the frames end at {end:.3f} s"
            )
    return PacketTable(np.sort(np.array(pts)), np.sort(np.array(keys)))


def container_start(container: Any) -> Fraction:
    """The time at which a file starts, in seconds; 0 where it starts before 0."""
    return Fraction(max(0, container.start_time or 0), 1_000_000)


def _count_by_index(container: Any, stream: Any, path: Path) -> int | None:
    """The number of shown frames of an MP4 or MOV with a complete index; None if there is none."""
    entries = stream.index_entries
    if "mov" not in container.format.name or not stream.frames or len(entries) < stream.frames:
        return None
    size, shown = path.stat().st_size, 0
    for entry in entries:
        if entry.pos + entry.size > size:
            raise VideoDecodeError(
                f"{path}: cut short: {len(entries)} frames are declared, but the file ends in the frame of "
                f"{float(entry.timestamp * stream.time_base):.3f} s"
            )
        shown += not entry.is_discard
    return shown


def _declared_end(container: Any, stream: Any) -> float | None:
    """The end of the stream in seconds, as its container declares it."""
    for key, value in stream.metadata.items():
        if key.startswith("DURATION") and (m := re.fullmatch(r"(\d+):(\d+):([\d.]+)", value.strip())):  # Matroska
            return 3600 * int(m[1]) + 60 * int(m[2]) + float(m[3])
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def _chroma_location(stream: Any) -> str:
    """Where the chroma samples sit; "left" where nothing is signalled (in H.264 and H.265, the inferred value).

    PyAV has no attribute for it, but FFmpeg writes it into the header of a Matroska file: write one to memory, and read
    ChromaSitingHorz and ChromaSitingVert (RFC 9559, 5.1.4.1.28.23 and .24; 1: on the luma sample, 2: half way).
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.FFmpegError, ValueError):  # a codec that Matroska does not hold
        return "left"
    siting = re.search(rb"\x55\xb7\x81([\x01\x02])\x55\xb8\x81([\x01\x02])", header.getvalue())
    return _LOCATIONS[siting[1][0], siting[2][0]] if siting else "left"


def _side_data(frame: Any, kind: Any) -> bytes | None:
    return next((bytes(data) for data in frame.side_data if data.type == kind), None)


def _content_light(frame: Any) -> tuple[int | None, int | None]:
    """MaxCLL and MaxFALL."""
    data = _side_data(frame, SideDataType.CONTENT_LIGHT_LEVEL)
    return struct.unpack("<2I", data[:8]) if data else (None, None)


def _mastering_display(frame: Any) -> MasteringDisplay | None:
    data = _side_data(frame, SideDataType.MASTERING_DISPLAY_METADATA)
    if data is None:
        return None
    numbers = struct.unpack("<22i", data[:88])
    if not (numbers[20] and numbers[21]):  # has primaries, has luminance
        return None
    v = [numbers[i] / (numbers[i + 1] or 1) for i in range(0, 20, 2)]
    return MasteringDisplay((v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]), v[8], v[9])
