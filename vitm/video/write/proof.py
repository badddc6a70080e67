"""A finished video read back: whether its stream says of itself what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from vitm.files import WriteError
from vitm.video.codecs.base import Codec, Levels
from vitm.video.read.stream import content_light, mastering_of
from vitm.video.tags import MasteringDisplay

_WORDS = {
    "color_primaries": "the primaries",
    "color_trc": "the transfer function",
    "colorspace": "the matrix",
    "color_range": "the range",
}


def check_stream(path: Path, codec: Codec, levels: Levels) -> None:
    """Raise unless the coded stream itself has the colour tags and the HDR metadata that it was to be given.

    Its first frame is decoded without the container, whose boxes would hide what the stream lacks. Streams that say
    nothing of themselves by nature (`codec.in_stream`) are not read.

    Args:
        path: the file.
        codec: codec with the metadata of the finished video.
        levels: MaxCLL and MaxFALL in cd/m2.

    Raises:
        WriteError: an encoder left something out.
    """
    if not codec.in_stream:
        return
    frame = _first_frame(path)
    lost = [words for tag, words in _WORDS.items() if int(getattr(frame, tag)) != codec.tags[tag]]
    if codec.display is not None:
        display = mastering_of(frame)
        if display is None or not _alike(display, codec.display):
            lost.append("the mastering display")
        if content_light(frame) != levels:
            lost.append("MaxCLL and MaxFALL")
    if lost:
        raise WriteError(
            f"{codec.encoder} did not write {', '.join(lost)} into the stream: choose another encoder; "
            f"there is no {path.suffix} file"
        )


def _first_frame(path: Path) -> Any:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context: Any = av.CodecContext.create(stream.codec_context.codec.name, "r")
        if stream.codec_context.extradata:
            context.extradata = stream.codec_context.extradata
        for packet in container.demux(stream):
            coded = av.Packet(bytes(packet)) if packet.size else None  # without what the container says beside it
            if frames := context.decode(coded):
                return frames[0]
    raise WriteError(f"{path}: no frame of the finished file can be decoded")


def _alike(a: MasteringDisplay, b: MasteringDisplay) -> bool:
    """Return whether two displays are the same but for rounding: AV1 counts 1 / 256 and 1 / 16384 cd/m2 (6.7.4)."""
    of_a, of_b = ((*d.red, *d.green, *d.blue, *d.white) for d in (a, b))
    return (
        all(abs(x - y) <= 5e-5 for x, y in zip(of_a, of_b, strict=True))
        and abs(a.max_nits - b.max_nits) <= 1 / 256
        and abs(a.min_nits - b.min_nits) <= 1 / 16384
    )
