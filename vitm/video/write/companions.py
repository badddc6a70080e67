"""What travels with the picture: sound, subtitles, chapters, attachments, titles and languages of another file."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av

from vitm.video.errors import VideoDecodeError
from vitm.video.read.container import container_start, is_cover, open_container, readable, readable_texts
from vitm.video.tags import check_choice

AudioChoice = Literal["copy", "transcode", "drop"]
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
SUBTITLES = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "srt"}
_TEXT = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
_STYLED = ("ass", "ssa", "webvtt")
COVERS = {"mjpeg": "jpeg", "png": "png"}  # codecs of cover pictures, and the second half of their MIME types
_FLAC_CHANNELS = 8  # at most
_COVER_HOLDERS = (".mp4", ".mkv")
CONTAINER_FACTS = ("major_brand", "minor_version", "compatible_brands", "encoder", "software")


@dataclass(frozen=True)
class Span:
    """The part of a file that goes along.

    Attributes:
        start: the time in seconds that becomes 0.
        end: the time in seconds at which it ends; None for the end of the file.
        from_beginning: whether what begins a little before the start goes along too, as sound may.
    """

    start: Fraction
    end: Fraction | None
    from_beginning: bool

    def holds(self, packet: Any) -> bool:
        """Return whether a packet goes along: sound that begins in the span, and subtitles that are shown in it."""
        begin = (packet.dts if packet.pts is None else packet.pts) * packet.time_base
        end = begin + (packet.duration or 0) * packet.time_base if packet.stream.type == "subtitle" else begin
        after_start = self.from_beginning or begin >= self.start or end > self.start
        return after_start and (self.end is None or begin < self.end)

    def seconds(self, stream: Any, time: int) -> Fraction:
        """Return a time of a stream in seconds from the span's start on."""
        return Fraction(time * stream.time_base - self.start)

    def shows(self, chapter: Any) -> bool:
        """Return whether some of a chapter is in the span."""
        begin, end = (chapter[key] * chapter["time_base"] for key in ("start", "end"))
        return end > self.start and (self.end is None or begin < self.end)

    def moved(self, chapter: Any) -> Any:
        """Return a chapter with its times from the span's start on, and a title that can be written."""
        shift = round(self.start / chapter["time_base"])
        begin, end = max(0, chapter["start"] - shift), chapter["end"] - shift
        return {**chapter, "start": begin, "end": end, "metadata": readable_texts(chapter["metadata"])}


@dataclass
class Companions:
    """What of a file goes along into an output.

    Attributes:
        source: the file.
        copied: the numbers of its streams that are copied as they are.
        converted: the numbers of its text subtitles that the container holds in another coding only.
        transcoded: the numbers of its sound tracks that become AAC or FLAC, and which of the two.
        covers: the numbers of its cover pictures, which are copied.
        dropped: what does not go along as it was, in words.
        since: the time at which the output begins, in seconds from the file's start.
        until: the time at which it ends; None for the end of the file.
        lost: what turned out to be damaged while it was copied, in words.
    """

    source: Path
    copied: list[int] = field(default_factory=list)
    converted: list[int] = field(default_factory=list)
    transcoded: dict[int, str] = field(default_factory=dict)
    covers: list[int] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    since: Fraction = Fraction(0)
    until: Fraction | None = None
    lost: list[str] = field(default_factory=list)

    def span(self, source: Any) -> Span:
        """Return the part of the open file that goes along, in its own times."""
        start = container_start(source)
        return Span(start + self.since, None if self.until is None else start + self.until, self.since == 0)

    @property
    def described(self) -> list[int]:
        """Return the numbers of the streams whose titles and languages go along, in the output's order."""
        return sorted((*self.copied, *self.converted, *self.transcoded))


def audio_choices(audio: str) -> list[AudioChoice]:
    """Return the words of a choice for sound: one for all tracks, or one a track, as "copy,drop".

    Raises:
        ValueError: for another word.

    Example:
        >>> audio_choices("copy,drop")
        ['copy', 'drop']
    """
    words = audio.split(",")
    for word in words:
        check_choice("audio", word, AudioChoice)
    return cast("list[AudioChoice]", words)


def plan_companions(
    source: Path, output: Path, audio: str = "copy", span: tuple[Fraction, Fraction | None] | None = None
) -> Companions:
    """Decide before any work what can go along; what cannot is dropped, with a word, and never fails the film.

    Args:
        source: the file.
        output: the file to be written; its suffix chooses the container.
        audio: "copy" to copy the sound tracks that the container holds; in Matroska the others become FLAC. "transcode"
            to make AAC of the others, where they can be decoded; "drop" to leave all sound out. Or such a word for each
            track, as "copy,drop".
        span: the part of the file that goes along, in seconds from its start; None for all of it.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it cannot be read.
        ValueError: for another `audio`, or one of more or fewer words than there are tracks.
    """
    if not source.is_file():
        raise FileNotFoundError(f"streams_from={source}: no such file")
    since, until = span or (Fraction(0), None)
    plan, suffix = Companions(source, since=since, until=until), output.suffix.lower()
    try:
        with open_container(source) as container:
            choices = _choice_of_each_track(container, audio, source)
            main = main_picture(container)
            for stream in container.streams:
                if stream is main or _is_chapter_track(container, stream) or "timecode" in stream.metadata:
                    continue
                if stream.type == "video":
                    _plan_picture(plan, stream, suffix)
                elif stream.type == "audio":
                    _plan_sound(plan, stream, suffix, choices[stream.index])
                elif stream.type == "data":
                    plan.dropped.append(f"{_name(stream)}: data streams are not copied")
                else:
                    _plan_text(plan, stream, suffix)
    except (av.FFmpegError, VideoDecodeError) as error:
        raise VideoDecodeError(f"streams_from={source}: cannot be read ({error})") from error
    return plan


def _choice_of_each_track(container: Any, audio: str, source: Path) -> dict[int, AudioChoice]:
    """Return what becomes of each sound track, by the number of its stream."""
    words, tracks = audio_choices(audio), container.streams.audio
    if len(words) not in (1, len(tracks)):
        raise ValueError(
            f"audio={audio!r}: {len(words)} words, but {source} has {len(tracks)} sound tracks: "
            "give one word for all, or one for each"
        )
    return dict(zip((track.index for track in tracks), words * len(tracks) if len(words) == 1 else words, strict=True))


def _plan_picture(plan: Companions, stream: Any, suffix: str) -> None:
    if not is_cover(stream):
        plan.dropped.append(f"{_name(stream)}: a second video is not copied")
    elif suffix not in _COVER_HOLDERS:
        plan.dropped.append(f"{_name(stream)}: {suffix} cannot hold a cover picture; an .mp4 or an .mkv can")
    elif codec_name(stream) not in COVERS:
        plan.dropped.append(f"{_name(stream)}: a cover picture that is neither JPEG nor PNG is not copied")
    else:
        plan.covers.append(stream.index)


def _plan_sound(plan: Companions, stream: Any, suffix: str, choice: AudioChoice) -> None:
    known = stream.codec_context is not None
    if choice == "drop":
        plan.dropped.append(f"{_name(stream)}: left out, as asked")
    elif not known:
        plan.dropped.append(f"{_name(stream)}: FFmpeg does not know its codec, so it is left out")
    elif _can_hold(suffix, plan.source, stream):
        plan.copied.append(stream.index)
    elif choice == "transcode":
        plan.transcoded[stream.index] = "aac"
        plan.dropped.append(f"{_name(stream)}: {suffix} cannot hold it; it becomes AAC")
    elif suffix == ".mkv" and stream.channels <= _FLAC_CHANNELS:  # PyAV does not write the names of Windows' codecs
        plan.transcoded[stream.index] = "flac"
        plan.dropped.append(f"{_name(stream)}: it is not copied into {suffix}; it becomes FLAC, which keeps all of it")
    else:
        plan.dropped.append(_refusal(plan, stream, suffix, "audio='transcode' makes it AAC"))


def _plan_text(plan: Companions, stream: Any, suffix: str) -> None:
    """Plan subtitles and attachments."""
    if _can_hold(suffix, plan.source, stream):
        plan.copied.append(stream.index)
    elif stream.type == "subtitle" and codec_name(stream) in _TEXT:
        plan.converted.append(stream.index)
        if codec_name(stream) in _STYLED:
            plan.dropped.append(f"{_name(stream)}: its text becomes {SUBTITLES[suffix]}; fonts and positions are lost")
    else:
        plan.dropped.append(_refusal(plan, stream, suffix))


def _refusal(plan: Companions, stream: Any, suffix: str, *ways: str) -> str:
    """Say that a container cannot hold a stream, and what to do."""
    matroska = ["an .mkv can"] if suffix != ".mkv" and _can_hold(".mkv", plan.source, stream) else []
    return f"{_name(stream)}: {'; '.join([f'{suffix} cannot hold it', *matroska, *ways])}"


def codec_name(stream: Any) -> str:
    """Return FFmpeg's name of a stream's codec."""
    return "unknown codec" if stream.codec_context is None else str(stream.codec_context.name)


def _name(stream: Any) -> str:
    return f"{stream.type} stream {stream.index} ({codec_name(stream)})"


def main_picture(container: Any) -> Any:
    """Return the first video stream that is no cover picture; None if there is none."""
    return next((stream for stream in container.streams.video if not is_cover(stream)), None)


def lost_descriptions(plan: Companions, output: Path) -> list[str]:
    """Return the titles, languages, dispositions and other metadata that a finished output does not hold, in words."""
    lost = list(plan.lost)
    with open_container(plan.source) as source, open_container(output) as result:
        kept = {k.lower() for k in result.metadata}
        for key in map(readable, source.metadata):
            if key.lower() not in (*CONTAINER_FACTS, *kept):
                lost.append(f"metadata {key!r}: {output.suffix} does not hold it")
        chapters = [chapter for chapter in source.chapters() if plan.span(source).shows(chapter)]
        if len(result.chapters()) != len(chapters):
            lost.append(f"{len(chapters) - len(result.chapters())} of {len(chapters)} chapters")
        originals = [source.streams[i] for i in plan.described]
        copies = [s for s in result.streams if s.type not in ("video", "data")]
        for original, copy in zip(originals, sorted(copies, key=lambda s: s.index), strict=False):
            name = f"{original.type} stream {original.index}"
            before, after = description(original), description(copy)
            for key, value in before.items():
                if key not in after:
                    lost.append(f"{key} {value!r} of {name}: {output.suffix} does not hold it")
            for flag in type(original.disposition):
                # "default" follows from the order of the streams in MP4 and MOV
                if flag.name != "default" and flag & original.disposition and not flag & copy.disposition:
                    lost.append(f"disposition {flag.name!r} of {name}: {output.suffix} does not hold it")
    return lost


def _can_hold(suffix: str, source: Path, stream: Any) -> bool:
    """Return whether a container takes a stream: its header, and for sound its first packet."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
            if stream.type == "attachment" and suffix != ".mkv":
                return False
            copy = trial.add_stream_from_template(stream)
            trial.start_encoding()
            if stream.type == "audio":
                with open_container(source) as container:
                    packets = container.demux(container.streams[stream.index])
                    for packet in itertools.islice((packet for packet in packets if packet.size), 1):
                        packet.stream = copy
                        trial.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_chapter_track(container: Any, stream: Any) -> bool:
    """Return whether a stream holds chapter titles: in MP4 and MOV FFmpeg shows them as chapters and as data."""
    return stream.type == "data" and stream.name == "bin_data" and bool(container.chapters())


def description(stream: Any) -> dict[str, str]:
    """Return the language and the title of a stream; FFmpeg calls the title "name" in MP4."""
    known = {key.lower(): text for key, text in readable_texts(stream.metadata).items()}
    title = known.get("title", known.get("name"))
    language = known.get("language", "und")
    return {k: v for k, v in (("language", language), ("title", title)) if v and v != "und"}
