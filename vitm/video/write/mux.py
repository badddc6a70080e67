"""The last step of a file: encoded parts joined into one, with their true light levels and what travels along."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av

from vitm.files import WriteError
from vitm.video.boxes import stream_header
from vitm.video.codecs.base import Codec, Levels
from vitm.video.read.container import open_container
from vitm.video.write.companions import Companions
from vitm.video.write.copies import add_companions
from vitm.video.write.parts import Part, Picture, Timeline


def finish(
    parts: list[Part], output: Path, codec: Codec, picture: Picture, levels: Levels, companions: Companions | None
) -> None:
    """Join encoded parts into the final container; nothing is encoded again.

    Args:
        parts: finished parts, in order.
        output: the final file; its suffix chooses the container.
        codec: codec of the parts.
        picture: picture of the parts.
        levels: MaxCLL and MaxFALL in cd/m2, which replace those in the stream.
        companions: what to copy of another file, with its times relative to that file's start.

    Raises:
        WriteError: if the parts do not belong together, or the container refuses a packet.
        VideoDecodeError: if the companions' file is damaged.
    """
    timeline = Timeline.of(parts, picture)
    suffix = output.suffix.lower()
    # MP4 and MOV tell the time of a late first frame in whole ticks of the movie: make them those of the frames
    late = suffix != ".mkv" and timeline.pts[0] > 0
    options = {"movie_timescale": str(picture.clock.denominator)} if late else {}
    with ExitStack() as stack:
        first = stack.enter_context(av.open(str(parts[0].path)))
        record = bytes(first.streams.video[0].codec_context.extradata or b"")
        header = stream_header(first.streams.video[0], codec, codec.patch_record(record, levels), levels)
        template = stack.enter_context(av.open(io.BytesIO(header)))
        target = stack.enter_context(av.open(str(output), "w", container_options=options))
        copy = target.add_stream_from_template(template.streams.video[0], opaque=True)
        copy.codec_context.framerate = picture.fps
        if suffix != ".mkv":
            copy.codec_context.codec_tag = codec.fourcc
        packets = [_video_packets(parts, copy, timeline, codec, picture, record, levels)]
        if companions is not None:
            source = stack.enter_context(open_container(companions.source))
            packets += add_companions(companions, source, target, copy, suffix)
        for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
            target.mux(packet)


def _video_packets(
    parts: list[Part], copy: Any, timeline: Timeline, codec: Codec, picture: Picture, record: bytes, levels: Levels
) -> Iterator[Any]:
    count = 0
    for part in parts:
        with av.open(str(part.path)) as container:
            stream = container.streams.video[0]
            if bytes(stream.codec_context.extradata or b"") != record:
                raise WriteError(f"{part.path} was encoded otherwise than the parts before it: encode all anew")
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                new: Any = av.Packet(codec.patch_packet(bytes(packet), record, levels))
                new.pts = part.start + round(packet.pts * packet.time_base / picture.clock)
                new.dts, new.duration = timeline.dts(count), timeline.duration(new.pts)
                new.time_base, new.is_keyframe, new.stream = picture.clock, packet.is_keyframe, copy
                count += 1
                if count == len(timeline.pts) and copy.container.format.name != "matroska":
                    new.duration = timeline.last_step  # readers of MP4 and MOV take the sum of all steps for the length
                yield new
