"""What travels with the picture: sound, subtitles, chapters, attachments, titles and languages of another file."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from vitm.video.errors import VideoDecodeError
from vitm.video.read.container import container_start
from vitm.video.tags import check_choice

Audio = Literal["copy", "transcode", "drop"]
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_SUBTITLES = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "srt"}
_TEXT = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
_STYLED = ("ass", "ssa", "webvtt")
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_LAYOUTS = ("mono", "stereo", "5.1", "7.1")
_CONTAINER_FACTS = ("major_brand", "minor_version", "compatible_brands", "encoder")
# QuickTime's own list of languages has some under their other ISO 639-2 code
_QUICKTIME_LANGUAGES = {
    **{"deu": "ger", "fre": "fra", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb"},
    **{"rum": "ron", "cze": "ces", "slo": "slk", "mkd": "mac", "hye": "arm", "kat": "geo", "bod": "tib", "mya": "bur"},
}


@dataclass(frozen=True)
class Companions:
    """What of a file goes along into an output.

    Attributes:
        source: the file.
        copied: the numbers of its streams that are copied as they are.
        converted: the numbers of its text subtitles that the container holds in another coding only.
        transcoded: the numbers of its sound tracks that become AAC.
        dropped: what does not go along, in words.
    """

    source: Path
    copied: tuple[int, ...]
    converted: tuple[int, ...]
    dropped: tuple[str, ...]
    transcoded: tuple[int, ...] = ()


def plan_companions(source: Path, output: Path, audio: Audio = "copy") -> Companions:
    """Decide before any work what can go along; what cannot is dropped, with a word, and never fails the film.

    Args:
        source: the file.
        output: the file to be written; its suffix chooses the container.
        audio: "copy" to copy the sound tracks that the container holds; "transcode" to make AAC of the others, where
            they can be decoded; "drop" to leave all sound out.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it cannot be read.
        ValueError: for another `audio`.
    """
    if not source.is_file():
        raise FileNotFoundError(f"streams_from={source}: no such file")
    check_choice("audio", audio, Audio)
    copied, converted, transcoded, dropped = [], [], [], []
    suffix = output.suffix.lower()
    try:
        with av.open(str(source)) as container:
            main = next((s for s in container.streams.video if not _is_cover(s)), None)
            for stream in container.streams:
                codec = stream.codec_context.name if stream.codec_context is not None else "no decoder"
                name = f"{stream.type} stream {stream.index} ({codec})"
                if stream is main or _is_chapter_track(container, stream) or "timecode" in stream.metadata:
                    continue
                if stream.type == "video":
                    kind = "cover picture" if _is_cover(stream) else "second video"
                    dropped.append(f"{name}: a {kind} is not copied")
                elif stream.type == "data":
                    dropped.append(f"{name}: data streams are not copied")
                elif stream.type == "audio" and audio == "drop":
                    dropped.append(f"{name}: left out, as asked")
                elif _can_hold(suffix, source, stream):
                    copied.append(stream.index)
                elif stream.type == "audio" and audio == "transcode" and stream.codec_context is not None:
                    transcoded.append(stream.index)
                    dropped.append(f"{name}: {suffix} cannot hold it; it becomes AAC")
                elif stream.type == "subtitle" and codec in _TEXT:
                    converted.append(stream.index)
                    if codec in _STYLED:
                        dropped.append(f"{name}: its text becomes {_SUBTITLES[suffix]}; fonts and positions are lost")
                else:
                    ways = ["an .mkv can"] if suffix != ".mkv" and _can_hold(".mkv", source, stream) else []
                    if stream.type == "audio" and stream.codec_context is not None:
                        ways.append("audio='transcode' makes it AAC")
                    dropped.append(f"{name}: {'; '.join([f'{suffix} cannot hold it', *ways])}")
    except av.FFmpegError as error:
        raise VideoDecodeError(f"streams_from={source}: cannot be read ({error.strerror})") from error
    return Companions(source, tuple(copied), tuple(converted), tuple(dropped), tuple(transcoded))


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
    start = container_start(source)
    target.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _CONTAINER_FACTS})
    target.set_chapters([_shifted(chapter, start) for chapter in source.chapters()])
    main = next((s for s in source.streams.video if not _is_cover(s)), None)
    if main is not None:
        _describe(main, video, suffix)
        if "timecode" in main.metadata:  # FFmpeg makes a timecode track of it in MP4 and MOV, and a tag in Matroska
            video.metadata["timecode"] = main.metadata["timecode"]
    copies = {}
    for index in sorted((*plan.copied, *plan.converted, *plan.transcoded)):
        stream = source.streams[index]
        if index in plan.copied:
            copies[index] = target.add_stream_from_template(stream)
        elif index in plan.transcoded:
            copies[index] = _aac_stream(target, stream)
        else:
            copies[index] = target.add_stream(_SUBTITLES[suffix], time_base=Fraction(1, 1000))
            decoder, encoder = stream.codec_context, copies[index].codec_context
            decoder.open(strict=False)
            encoder.time_base, encoder.subtitle_header = Fraction(1, 1000), decoder.subtitle_header
        _describe(stream, copies[index], suffix)
    moving = [source.streams[i] for i in copies if source.streams[i].type != "attachment"]
    return [_packets(plan, source, moving, copies, start)] if moving else []


def lost_descriptions(plan: Companions, output: Path) -> list[str]:
    """The titles, languages, dispositions and other metadata that a finished output does not hold, in words."""
    lost = []
    with av.open(str(plan.source)) as source, av.open(str(output)) as result:
        kept = {k.lower() for k in result.metadata}
        for key in source.metadata:
            if key.lower() not in (*_CONTAINER_FACTS, *kept):
                lost.append(f"metadata {key!r}: {output.suffix} does not hold it")
        if len(result.chapters()) != len(source.chapters()):
            lost.append(f"{len(source.chapters()) - len(result.chapters())} of {len(source.chapters())} chapters")
        originals = [source.streams[i] for i in sorted((*plan.copied, *plan.converted, *plan.transcoded))]
        copies = [s for s in result.streams if s.type not in ("video", "data")]
        for original, copy in zip(originals, sorted(copies, key=lambda s: s.index), strict=False):
            name = f"{original.type} stream {original.index}"
            before, after = _description(original), _description(copy)
            for key, value in before.items():
                if key not in after:
                    lost.append(f"{key} {value!r} of {name}: {output.suffix} does not hold it")
            for flag in type(original.disposition):
                # "default" follows from the order of the streams in MP4 and MOV
                if flag.name != "default" and flag & original.disposition and not flag & copy.disposition:
                    lost.append(f"disposition {flag.name!r} of {name}: {output.suffix} does not hold it")
    return lost


def _packets(
    plan: Companions, source: Any, streams: list[Any], copies: dict[int, Any], start: Fraction
) -> Iterator[Any]:
    last: dict[int, int] = {}
    try:
        for packet in source.demux(*streams):
            index = packet.stream.index
            if packet.size == 0 or packet.dts is None:
                continue
            if packet.stream.type == "audio" and packet.dts <= last.get(index, packet.dts - 1):
                continue  # damaged sources repeat time stamps, which containers refuse
            last[index] = packet.dts
            if index in plan.transcoded:
                yield from _transcoded(packet.stream, packet, copies[index], start)
                continue
            shift = round(start / packet.time_base)
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts -= shift
            if index in plan.converted:
                subtitles = packet.stream.codec_context.decode2(packet)
                if not subtitles:
                    continue  # MP4 fills the pauses with empty texts
                packet = _like(packet, bytes(copies[index].codec_context.encode_subtitle(subtitles)))
            packet.stream = copies[index]
            yield packet
        for index in plan.transcoded:
            yield from _transcoded(source.streams[index], None, copies[index], start)
            yield from copies[index].encode(None)
    except av.FFmpegError as error:
        raise VideoDecodeError(f"streams_from={plan.source}: damaged, cannot be copied ({error.strerror})") from error


def _like(packet: Any, data: bytes) -> Any:
    """A packet with other data at the same time."""
    new: Any = av.Packet(data)
    for name in ("pts", "dts", "duration", "time_base", "is_keyframe"):
        setattr(new, name, getattr(packet, name))
    return new


def _aac_stream(target: Any, stream: Any) -> Any:
    """Add an AAC stream of the same rate and layout, where AAC has them."""
    rate = stream.rate if stream.rate in _AAC_RATES else 48_000
    copy = target.add_stream("aac", rate=rate)
    copy.layout = stream.layout.name if stream.layout.name in _AAC_LAYOUTS else "stereo"
    copy.time_base = Fraction(1, rate)
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


def _can_hold(suffix: str, source: Path, stream: Any) -> bool:
    """Return whether a container takes a stream: its header, and for sound its first packet."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
            if stream.type == "attachment" and suffix != ".mkv":
                return False
            copy = trial.add_stream_from_template(stream)
            trial.start_encoding()
            if stream.type == "audio":
                with av.open(str(source)) as container:
                    packets = container.demux(container.streams[stream.index])
                    for packet in itertools.islice((packet for packet in packets if packet.size), 1):
                        packet.stream = copy
                        trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _is_chapter_track(container: Any, stream: Any) -> bool:
    """In MP4 and MOV, chapter titles are a text track, which FFmpeg shows as chapters and as a data stream."""
    return stream.type == "data" and stream.name == "bin_data" and bool(container.chapters())


def _shifted(chapter: Any, start: Fraction) -> Any:
    shift = round(start / chapter["time_base"])
    return {**chapter, "start": max(0, chapter["start"] - shift), "end": chapter["end"] - shift}


def _description(stream: Any) -> dict[str, str]:
    """Language and title; FFmpeg calls the title "name" in MP4."""
    known = {k.lower(): v for k, v in stream.metadata.items()}
    title = known.get("title", known.get("name"))
    language = known.get("language", "und")
    return {k: v for k, v in (("language", language), ("title", title)) if v and v != "und"}


def _describe(original: Any, copy: Any, suffix: str) -> None:
    copy.disposition = original.disposition
    description = _description(original)
    if suffix == ".mov" and "language" in description:
        description["language"] = _QUICKTIME_LANGUAGES.get(description["language"], description["language"])
    copy.metadata.update(description)
