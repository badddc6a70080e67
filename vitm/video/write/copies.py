"""Copying what travels with the picture from an open file to an open output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vitm.video.read.container import open_container, readable_texts
from vitm.video.write.companions import (
    CONTAINER_FACTS,
    COVERS,
    SUBTITLES,
    Companions,
    Span,
    codec_name,
    description,
    main_picture,
)

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LAYOUTS = {1: "mono", 2: "stereo"}  # some files tell the number of channels alone
_AAC_LAYOUTS = ("mono", "stereo", "5.1", "7.1")
# QuickTime's own list of languages has some under their other ISO 639-2 code
_QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "fre": "fra", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb"},
    **{"rum": "ron", "cze": "ces", "slo": "slk", "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur"},
}


def add_companions(plan: Companions, source: Any, target: Any, video: Any, suffix: str) -> list[Iterator[Any]]:
    """Add the streams, chapters and metadata of an open file to an open output.

    Args:
        plan: from `plan_companions`.
        source: the open file of the plan.
        target: the open output, whose header is not yet written.
        video: the output's video stream; it gets the language, title and dispositions of the source's.
        suffix: suffix of the output.

    Returns:
        The packets of copied streams, and of converted ones, to be muxed after the header is written.
    """
    span = plan.span(source)
    titles = readable_texts(source.metadata)
    target.metadata.update({key: text for key, text in titles.items() if key.lower() not in CONTAINER_FACTS})
    target.set_chapters([span.moved(chapter) for chapter in source.chapters() if span.shows(chapter)])
    main = main_picture(source)
    if main is not None:
        _describe(main, video, suffix)
        if (
            "timecode" in main.metadata and plan.since == 0
        ):  # FFmpeg makes a timecode track of it in MP4 and MOV, and a tag in Matroska
            video.metadata["timecode"] = main.metadata["timecode"]
    copies = {}
    for index in plan.described:
        stream = source.streams[index]
        if index in plan.copied:
            copies[index] = target.add_stream_from_template(stream)
        elif index in plan.transcoded:
            copies[index] = _sound_stream(target, stream, plan.transcoded[index])
        else:
            copies[index] = target.add_stream(SUBTITLES[suffix], time_base=Fraction(1, 1000))
            decoder, encoder = stream.codec_context, copies[index].codec_context
            decoder.open(strict=False)
            encoder.time_base, encoder.subtitle_header = Fraction(1, 1000), decoder.subtitle_header
        _describe(stream, copies[index], suffix)
    covers = [packet for index in plan.covers for packet in _cover(plan.source, index, target, suffix)]
    moving = [source.streams[i] for i in copies if source.streams[i].type != "attachment"]
    return [iter(covers), *([_packets(plan, source, moving, copies, span)] if moving else [])]


def _packets(plan: Companions, source: Any, streams: list[Any], copies: dict[int, Any], span: Span) -> Iterator[Any]:
    last: dict[int, int] = {}
    ends: dict[int, int] = {}
    try:
        for packet in source.demux(*streams):
            index = packet.stream.index
            if packet.size == 0 or packet.dts is None or not span.holds(packet):
                continue
            if packet.stream.type == "audio" and packet.dts <= last.get(index, packet.dts - 1):
                continue  # damaged sources repeat time stamps, which containers refuse
            last[index] = packet.dts
            if index in plan.transcoded:
                yield from _in_time(_transcoded(packet.stream, packet, copies[index], span.start), ends)
                continue
            shift = round(span.start / packet.time_base)
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts -= shift
            if packet.stream.type == "subtitle":  # one that was shown already when the output begins
                packet.pts, packet.dts = max(0, packet.pts), max(0, packet.dts)
            if index in plan.converted:
                subtitles = packet.stream.codec_context.decode2(packet)
                if not subtitles:
                    continue  # MP4 fills the pauses with empty texts
                packet = _like(packet, bytes(copies[index].codec_context.encode_subtitle(subtitles)))
            packet.stream = copies[index]
            yield packet
        for index in plan.transcoded:
            yield from _in_time(_transcoded(source.streams[index], None, copies[index], span.start), ends)
            yield from _in_time(copies[index].encode(None), ends)
    except av.FFmpegError as error:  # the picture is whole: what came until here goes along
        seconds = float(max((span.seconds(source.streams[i], time) for i, time in last.items()), default=0))
        plan.lost.append(f"sound and subtitles after {seconds:.1f} s: they are damaged ({error.strerror})")


def _like(packet: Any, data: bytes) -> Any:
    """Return a packet with other data at the same time."""
    new: Any = av.Packet(data)
    for name in ("pts", "dts", "duration", "time_base", "is_keyframe"):
        setattr(new, name, getattr(packet, name))
    return new


def _sound_stream(target: Any, stream: Any, codec: str) -> Any:
    """Add a stream of AAC or FLAC, of the same rate and layout where AAC has them."""
    rate, layout = stream.rate, _LAYOUTS.get(stream.channels, stream.layout.name)
    if codec == "aac":
        rate = rate if rate in _AAC_RATES else 48_000
        layout = layout if layout in _AAC_LAYOUTS else "stereo"
    copy = target.add_stream(codec, rate=rate)
    copy.layout, copy.time_base = layout, Fraction(1, rate)
    if codec == "flac":
        copy.format = "s32" if stream.format.name.startswith("s32") else "s16"
    return copy


def _transcoded(stream: Any, packet: Any, copy: Any, start: Fraction) -> Iterator[Any]:
    """Decode a packet (None: what the decoder holds back) and encode what comes out; damaged ones are passed over."""
    try:
        frames = stream.codec_context.decode(packet)
    except av.FFmpegError:
        return
    for frame in frames:
        if frame.pts is not None:
            frame.pts -= round(start / frame.time_base)
        yield from copy.encode(frame)


def _in_time(packets: Iterable[Any], ends: dict[int, int]) -> Iterator[Any]:
    """Give the packets of an encoder, which knows no time of what it held back: it goes on where the last one ends.

    Args:
        packets: packets of one stream; empty ones are passed over.
        ends: time at which the last packet of each stream ends, which is kept here.
    """
    for packet in packets:
        if packet.size:
            if packet.dts is None:
                packet.pts = packet.dts = ends.get(packet.stream.index, 0)
            ends[packet.stream.index] = packet.dts + packet.duration
            yield packet


def _cover(source: Path, index: int, target: Any, suffix: str) -> Iterator[Any]:
    """Add a cover picture: an attachment in Matroska, a stream of one packet in MP4."""
    with open_container(source) as container:
        stream = container.streams[index]
        packet = next((packet for packet in container.demux(stream) if packet.size), None)
        if packet is None:
            return
        if suffix == ".mkv":
            kind = COVERS[codec_name(stream)]
            name = readable_texts(stream.metadata).get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
            target.add_attachment(name, f"image/{kind}", bytes(packet))
            return
        copy = target.add_stream_from_template(stream)
        copy.disposition = stream.disposition
        packet.stream, packet.pts, packet.dts = copy, 0, 0
        yield packet


def _describe(original: Any, copy: Any, suffix: str) -> None:
    copy.disposition = original.disposition
    words = description(original)
    if suffix == ".mov" and "language" in words:
        words["language"] = _QUICKTIME_LANGUAGES.get(words["language"], words["language"])
    copy.metadata.update({**readable_texts(copy.metadata), **words})
