"""HDR metadata in the container: `mdcv` and `clli` boxes in MP4 and MOV, elements of Colour in Matroska.

PyAV cannot attach such data to a stream, but it hands on what it read: so the header of an MP4 without frames is made
in memory, the boxes are put into it, and the stream that it describes is the template of the output's stream.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import av

from vitm.video.codecs.base import Codec, Levels
from vitm.video.errors import VideoDecodeError
from vitm.video.tags import MasteringDisplay

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def stream_header(stream: Any, codec: Codec, record: bytes, levels: Levels) -> bytes:
    """Return the header of an MP4 or MOV of this stream, to be opened and used as a template.

    Args:
        stream: stream of an intermediate file.
        codec: codec of the stream; its display and the levels become boxes.
        record: the decoder configuration record to write; empty for codecs without one.
        levels: MaxCLL and MaxFALL.
    """
    header = io.BytesIO()
    kind = {".mp4": "mp4", ".mov": "mov"}[codec.part_suffix]
    with av.open(header, "w", format=kind, container_options={"movflags": "empty_moov"}) as container:
        copy = container.add_stream_from_template(stream, opaque=True)
        copy.codec_context.codec_tag = codec.fourcc
        if record:
            copy.codec_context.extradata = record
        container.start_encoding()
        data = header.getvalue()
    return data if codec.display is None else insert_in_sample_entry(data, hdr_boxes(codec.display, levels))


def hdr_boxes(display: MasteringDisplay, levels: Levels) -> bytes:
    """Return MasteringDisplayColourVolumeBox and ContentLightLevelBox (ISO/IEC 14496-12, 12.1.6 and 12.1.7)."""
    return _box(b"mdcv", display.record) + _box(b"clli", struct.pack(">2H", *levels))


def insert_in_sample_entry(data: bytes, boxes: bytes, path: tuple[bytes, ...] = _PATH) -> bytes:
    """Return the boxes of a header without frames, with others added at the end of each sample entry.

    Raises:
        VideoDecodeError: a box ends before its beginning, or behind the data.
    """
    out, position = bytearray(), 0
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position : position + 8].ljust(8, b"\0"))
        if not 8 <= size <= len(data) - position:
            raise VideoDecodeError(f"a damaged header: its box {kind!r} at byte {position} is {size} bytes long")
        body = data[position + 8 : position + size]
        if not path:
            body += boxes
        elif kind == path[0]:
            head = 8 if kind == b"stsd" else 0  # version, flags and number of entries
            body = body[:head] + insert_in_sample_entry(body[head:], boxes, path[1:])
        out += _box(kind, body)
        position += size
    return bytes(out)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body
