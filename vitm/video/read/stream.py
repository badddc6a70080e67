"""What a video file says of itself, and that it is whole."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vitm.video.errors import VideoDecodeError
from vitm.video.photographs import ALPHA_IS_LEFT_OUT
from vitm.video.planes import pixel_layout
from vitm.video.read.changes import Look
from vitm.video.read.container import container_start, display_matrix, side_data
from vitm.video.read.decoder import Decoder
from vitm.video.read.interlaced import refusal
from vitm.video.read.table import FrameTable, frame_table, is_countable
from vitm.video.read.whole import what_is_missing
from vitm.video.tags import MATRICES, PRIMARIES, RANGES, TRANSFERS, MasteringDisplay, StreamInfo, tag_name

_VIEW_ID = 29  # AV_FRAME_DATA_VIEW_ID
_LOCATIONS = {(1, 1): "topleft", (1, 2): "left", (2, 1): "top", (2, 2): "center"}


@dataclass(frozen=True)
class Video:
    """A video file as it was probed.

    Attributes:
        info: what it says of itself.
        start: the time in seconds at which the file starts.
        table: its frames, if they had to be listed in order to count them.
        look: size, format and colour of its first frame.
    """

    info: StreamInfo
    start: Fraction
    table: FrameTable | None
    look: Look


def probe_video(path: Path, past_damage: bool = False, interlaced: bool = False) -> Video:
    """Return what a video file says of itself, if it is not cut short. The first frame is decoded.

    In MP4 and MOV the index tells the number of frames, and whether all of them are in the file. Other containers are
    read through once; where their packets are not frames one by one, they are decoded.

    Args:
        path: a video file.
        past_damage: go by the first frame that is not damaged, and count damaged ones.
        interlaced: whether the first frame may be marked as interlaced.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, cut short, interlaced, or of an unsupported pixel format.
    """
    packets: list[tuple[int, Any]] = []
    with Decoder(path, threads=not past_damage, strict=not past_damage, past_damage=past_damage) as decoder:
        container, stream = decoder.container, decoder.stream
        n_frames = _count_by_index(container, stream, path)
        if missing := what_is_missing(path):
            raise VideoDecodeError(f"{path}: cut short: {missing}")
        frame = next(decoder.frames(on_packet=lambda *packet: packets.append(packet)), None)
        if frame is None:
            raise VideoDecodeError(
                f"{path}: the video stream holds no frame: it is empty, or damaged from its beginning on"
            )
        if frame.interlaced_frame and not interlaced:
            raise refusal(path, "its first frame")
        table = None
        countable = is_countable(container, stream) and not frame.interlaced_frame  # a packet may be a field
        if n_frames is None or not countable or _begins_within_a_group(packets, frame):
            table = frame_table(path, past_damage, decode=not countable)
            n_frames = len(table)
        info = _describe(path, container, stream, frame, n_frames, table)
        return Video(info, container_start(container), table, Look.of(frame))


def _describe(
    path: Path, container: Any, stream: Any, frame: Any, n_frames: int, table: FrameTable | None
) -> StreamInfo:
    facts = facts_of(Look.of(frame), path)
    layout = pixel_layout(frame.format.name)
    rotation, mirrored = _orientation(frame, path)
    size = (frame.width, frame.height)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if rotation % 180:
        size, aspect = size[::-1], 1 / aspect
    fps = stream.average_rate or stream.guessed_rate
    max_cll, max_fall = content_light(frame)
    return StreamInfo(
        path=path,
        kind="video",
        width=size[0],
        height=size[1],
        n_frames=n_frames,
        fps=Fraction(fps) if fps else None,
        **facts,
        chroma_location=_chroma_location(stream) if layout.subsampling != (1, 1) else None,
        sample_aspect_ratio=aspect,
        rotation=rotation,
        mirrored=mirrored,
        has_audio=bool(container.streams.audio),
        mastering_display=mastering_of(frame),
        max_cll=max_cll,
        max_fall=max_fall,
        notes=(
            *(table.notes if table is not None else ()),
            *_views(stream, frame),
            *((ALPHA_IS_LEFT_OUT,) if layout.alpha or stream.metadata.get("alpha_mode") == "1" else ()),
        ),
    )


def facts_of(look: Look, path: Path) -> dict[str, Any]:
    """Return what the look of a frame says of its format and colour, as fields of `StreamInfo`.

    Raises:
        VideoDecodeError: for an unsupported pixel format.
    """
    try:
        layout = pixel_layout(look.pixel_format)
    except VideoDecodeError as error:
        raise VideoDecodeError(f"{path}: {error}") from error
    rgb = layout.is_rgb
    return {
        "bit_depth": layout.bits,
        "pixel_format": look.pixel_format,
        "chroma": layout.chroma,
        "matrix": "rgb" if rgb else tag_name(MATRICES, look.matrix),
        "full_range": layout.always_full or RANGES.get(look.color_range, True if rgb else None),
        "transfer": tag_name(TRANSFERS, look.transfer),
        "primaries": tag_name(PRIMARIES, look.primaries),
    }


def _orientation(frame: Any, path: Path) -> tuple[int, bool]:
    """Return by how many degrees clockwise the stored picture is turned, and whether it is mirrored before that."""
    a, b, c, d = display_matrix(frame)
    along, across = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(along, across) > 0.01 * max(along, across):
        degrees = -round(frame.rotation) % 360
        raise VideoDecodeError(
            f"{path}: rotated by {degrees} degrees, but only multiples of 90 are supported: rotate it first"
        )
    if along >= across:  # x and y stay
        return (0 if d >= 0 else 180), (a >= 0) != (d >= 0)
    return (90 if c < 0 else 270), (b > 0) == (c > 0)


def _views(stream: Any, frame: Any) -> tuple[str, ...]:
    """Note what is read of spatial video (MV-HEVC), of which FFmpeg gives the base view."""
    profile = str(stream.codec_context.profile or "")
    of_views = any(int(data.type.value) == _VIEW_ID for data in frame.side_data)
    return ("it is spatial video: the base view is read",) if of_views or "multiview" in profile.lower() else ()


def _begins_within_a_group(packets: list[tuple[int, Any]], first: Any) -> bool:
    """Return whether frames at the beginning refer to what is not in the file, as the first packets show."""
    shown = [p.pts for _, p in packets if p.size and not p.is_discard and p.pts is not None]
    return packets[0][0] > 0 or (first.pts is not None and min(shown, default=first.pts) < first.pts)


def _count_by_index(container: Any, stream: Any, path: Path) -> int | None:
    """Return the number of shown frames of an MP4 or MOV with a complete index; None if there is none."""
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


def _chroma_location(stream: Any) -> str:
    """Return where the chroma samples sit; "left" where nothing is signalled (H.264 and H.265 infer that).

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


def content_light(frame: Any) -> tuple[int | None, int | None]:
    """Return MaxCLL and MaxFALL in cd/m2; None where they are not told."""
    data = side_data(frame, "CONTENT_LIGHT_LEVEL")
    return struct.unpack("<2I", data[:8]) if data else (None, None)


def mastering_of(frame: Any) -> MasteringDisplay | None:
    """Return the ST 2086 metadata of a decoded frame; None where it has none."""
    data = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    numbers = struct.unpack("<22i", data[:88])
    if not (numbers[20] and numbers[21]):  # has primaries, has luminance
        return None
    v = [numbers[i] / (numbers[i + 1] or 1) for i in range(0, 20, 2)]
    return MasteringDisplay((v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]), v[8], v[9])
