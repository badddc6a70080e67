"""The last step of a file: the encoded video, with its true light levels, and the audio of another file."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av

from vitm.video.errors import VideoDecodeError, VideoWriteError
from vitm.video.sei import nal_length_size, patch_packet, patch_record
from vitm.video.stream import container_start

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


def check_audio(audio: Path, output: Path) -> None:
    """Before any work: the audio must be readable, and the output's container able to hold it.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it cannot be read.
        VideoWriteError: if the container cannot hold the audio.
    """
    if not audio.is_file():
        raise FileNotFoundError(f"audio_from={audio}: no such file")
    try:
        with av.open(str(audio)) as source:
            codecs = ", ".join(s.codec_context.name for s in source.streams.audio)
            if not codecs:
                return
            try:
                with av.open(io.BytesIO(), "w", format=_FORMATS[output.suffix.lower()]) as trial:
                    for stream in source.streams.audio:
                        trial.add_stream_from_template(stream)
                    trial.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                way_out = "convert the audio to AAC" if output.suffix.lower() == ".mkv" else "write an .mkv"
                raise VideoWriteError(
                    f"{output.suffix} cannot hold the audio of {audio} ({codecs}): {way_out}"
                ) from error
    except av.FFmpegError as error:
        raise VideoDecodeError(f"audio_from={audio}: cannot be read ({error.strerror})") from error


def finish(encoded: Path, output: Path, audio: Path | None, levels: tuple[int, int]) -> None:
    """Copy an encoded H.265 stream into its final container.

    Args:
        encoded: an MP4 with the video alone.
        output: the final file; its suffix chooses the container.
        audio: a file whose audio streams are copied, with their times relative to that file's start.
        levels: MaxCLL and MaxFALL in cd/m2, which replace those in the stream.
    """
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(encoded)))
        sound = None if audio is None else stack.enter_context(av.open(str(audio)))
        target = stack.enter_context(av.open(str(output), "w"))
        packets = [_video_packets(source, target, output, levels)]
        if sound is not None and sound.streams.audio:
            packets.append(_audio_packets(sound, target))
        for packet in heapq.merge(*packets, key=lambda p: p.dts * p.time_base):
            target.mux(packet)


def _video_packets(source: Any, target: Any, output: Path, levels: tuple[int, int]) -> Iterator[Any]:
    stream = source.streams.video[0]
    record = bytes(stream.codec_context.extradata)
    copy = target.add_stream_from_template(stream, opaque=True)
    copy.codec_context.extradata = patch_record(record, *levels)
    if output.suffix.lower() != ".mkv":
        copy.codec_context.codec_tag = "hvc1"

    def packets() -> Iterator[Any]:
        for packet in source.demux(stream):
            if packet.size == 0:
                continue
            patched: Any = av.Packet(patch_packet(bytes(packet), nal_length_size(record), *levels))
            for name in ("pts", "dts", "duration", "time_base", "is_keyframe"):
                setattr(patched, name, getattr(packet, name))
            patched.stream = copy
            yield patched

    return packets()


def _audio_packets(audio: Any, target: Any) -> Iterator[Any]:
    copies = {}
    for stream in audio.streams.audio:
        copies[stream.index] = target.add_stream_from_template(stream)
        copies[stream.index].metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
    start = container_start(audio)

    def packets() -> Iterator[Any]:
        for packet in audio.demux(*audio.streams.audio):
            if packet.size == 0 or packet.dts is None:
                continue
            shift = round(start / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            packet.stream = copies[packet.stream.index]
            yield packet

    return packets()
