"""Decoding a video from its beginning or from any key frame, past damage or up to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av

from vitm.video.errors import VideoDecodeError
from vitm.video.read.container import Hardware, open_video

_COPY_OPAQUE = 1 << 7  # AV_CODEC_FLAG_COPY_OPAQUE: a decoded frame carries the mark of its packet
_INDEXED_FORMATS = {"mov", "matroska", "avi", "flv"}
_LEADING = 64  # after so many packets from a key frame on, no picture refers to what was before it
_WITHOUT_KEY = 300  # after so many packets without a key frame, decoding begins without it
_EARLIER_SECONDS = (0, 1, 10)  # a seek goes so much before a key frame; the next step is tried where it ends behind it
_LATE_SECONDS = 2  # the search for a key frame ends at packets that are decoded so much later than it

OnPacket = Callable[[int, Any], None]  # number of a packet, and the packet
OnDamage = Callable[[int, int | None], None]  # number and time of a packet


class _UnsettledError(Exception):
    """The decoder misses references of before the place where decoding began, which later frames do not need.

    Several threads would lose intact frames together with this complaint.
    """


class PacketNumber(int):
    """The number of a packet as the mark of the frames that come of it, `opaque`.

    PyAV keeps marks by the address of the object, and Python has one object for each small number: two decoders at once
    would take each other's marks away. Each of these is an object by itself.
    """


@dataclass(frozen=True)
class Start:
    """A key frame, where decoding can begin.

    Attributes:
        packet: the number of its packet in the stream.
        index: the number of the first frame that is shown from here on.
        pts: its time in stream units; None if the container has none.
        dts: its decoding time in stream units; None if the container has none.
        size: the bytes of its packet.
        ordered: whether times tell which frames are shown before it.
    """

    packet: int
    index: int
    pts: int | None
    dts: int | None
    size: int
    ordered: bool = True


class Decoder:
    """The decoded frames of a video.

    Args:
        path: a video file.
        threads: decode in several threads. Then some damaged frames lack their mark. In one thread, each frame carries
            the number of its packet as `opaque`. (FFmpeg's threads would wait for ever for Python's lock to free it.)
        strict: stop at damage that the decoder would hide.
        past_damage: go on after damage.
        hardware: what decodes instead of the CPU. Its frames have the same codes, Cb and Cr in turn.

    Attributes:
        container: the open file.
        stream: its picture stream.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, or has no video stream.
    """

    container: Any
    stream: Any

    def __init__(
        self,
        path: Path,
        *,
        threads: bool = True,
        strict: bool = True,
        past_damage: bool = False,
        hardware: Hardware | None = None,
    ) -> None:
        self.path, self.hardware = path, hardware
        self._strict, self._past_damage = strict, past_damage
        self._stack = ExitStack()
        self._open(threads)

    def _open(self, threads: bool) -> None:
        self._stack.close()
        self.container, self.stream = self._stack.enter_context(open_video(self.path, self.hardware))
        self._threads = threads
        if threads:
            self.stream.thread_type = "AUTO"
        else:
            self.stream.thread_type, self.stream.codec_context.thread_count = "NONE", 1
            self.stream.codec_context.flags |= _COPY_OPAQUE
        self._fresh = True

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(
        self,
        start: Start | None = None,
        *,
        on_packet: OnPacket = lambda number, packet: None,
        on_damage: OnDamage = lambda number, pts: None,
    ) -> Iterator[Any]:
        """Decode from a key frame, or from the first one; an earlier iteration of this decoder ends thereby.

        Args:
            start: where to begin.
            on_packet: called with the number of each packet and the packet, before it is decoded.
            on_damage: called with the number of each damaged packet and its time, if decoding goes past damage; frames
                that the decoder marks as damaged are left out.

        Raises:
            VideoDecodeError: at damage, naming the time.
        """
        count = 0
        try:
            for frame in self._frames(start, on_packet, on_damage):
                yield frame
                count += 1
        except _UnsettledError:
            self._open(threads=False)
            yield from itertools.islice(self._frames(start, on_packet, on_damage), count, None)

    def _frames(self, start: Start | None, on_packet: OnPacket, on_damage: OnDamage) -> Iterator[Any]:
        packets = self._packets(start)
        first = next(packets, None)
        if first is None:
            return
        first_number = first[0]
        h264 = self.stream.codec_context.name == "h264"  # its decoder marks damaged frames, in one thread all of them
        in_between = first_number > 0 and (h264 or not (start is None or start.ordered))
        lenient = not self._strict or in_between or (h264 and not self._threads)
        if not (lenient or self.stream.codec_context.is_open):
            self.stream.codec_context.options = {"err_detect": "explode"}
        shown = start is None or start.ordered
        place, settled = "at the beginning", not in_between
        for number, packet in itertools.chain((first,), packets):
            on_packet(number, packet)
            if packet.size and not self._threads:
                packet.opaque = PacketNumber(number)
            settled = settled or number - first_number > _LEADING
            try:
                if packet.is_corrupt and not self._past_damage:
                    raise VideoDecodeError(f"{self.path}: damaged {place}")
                frames = packet.decode()
            except av.FFmpegError as error:
                if not settled:
                    if self._threads:
                        raise _UnsettledError from error
                    continue
                if not self._past_damage:
                    raise VideoDecodeError(f"{self.path}: damaged {place} ({error.strerror})") from error
                on_damage(number, packet.pts)
                continue
            for frame in frames:
                shown = shown or (start is not None and frame.opaque == start.packet)
                if not shown:
                    continue
                if frame.is_corrupt:
                    if not settled:
                        continue
                    if not self._past_damage:
                        raise VideoDecodeError(f"{self.path}: damaged {_time_of(frame)}")
                    on_damage(frame.opaque, frame.pts)
                    continue
                place = f"after {_time_of(frame).removeprefix('at ')}"
                yield frame

    def _packets(self, start: Start | None) -> Iterator[tuple[int, Any]]:
        if start is None:
            if not self._fresh:
                self._open(self._threads)
            self._fresh = False
            return decodable(self.container.demux(self.stream), first_key=first_key(self.container, self.stream))
        self._fresh = False
        packets = self._seek(start)
        if packets is None:  # a container without an index, whose seeks come down anywhere: count from the beginning
            self._open(self._threads)
            self._fresh = False
            packets = self.container.demux(self.stream)
            for _ in itertools.islice((p for p in packets if p.size), start.packet):
                pass
        return decodable(packets, start)

    def _seek(self, start: Start) -> Iterator[Any] | None:
        """Return the packets from a key frame on; None if no seek comes down at it or before it."""
        times = [time for time in (start.pts, start.dts) if time is not None]
        if not times:
            return None
        second = round(1 / self.stream.time_base)
        for earlier in _EARLIER_SECONDS:
            try:
                self.container.seek(min(times) - earlier * second, stream=self.stream)
            except av.FFmpegError:
                return None
            packets = self.container.demux(self.stream)
            for packet in packets:
                if (packet.pts, packet.size) == (start.pts, start.size) and packet.is_keyframe:
                    return itertools.chain((packet,), packets)
                if None not in (packet.dts, start.dts) and packet.dts > start.dts + _LATE_SECONDS * second:
                    break
        return None


def first_key(container: Any, stream: Any) -> int | None:
    """Return the time of the first key frame in the index of a container; None if it has no index of its own."""
    if not _INDEXED_FORMATS & set(container.format.name.split(",")):
        return None
    return next((entry.timestamp for entry in stream.index_entries if entry.is_keyframe), None)


def decodable(
    packets: Iterable[Any], start: Start | None = None, first_key: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield the packets from a key frame on, each after its number; what nobody can decode is left out.

    Left out are the packets before the key frame, and its leading pictures, which are shown before it and refer to
    frames that were not decoded. A stream without any key frame near its beginning is left as it is.

    Args:
        packets: packets of one stream, from its beginning, or from the packet of `start` on. The last one may be empty:
            it makes the decoder give the frames that it holds back.
        start: the key frame; None: the first one.
        first_key: its time by the container's index. A packet of this time is a key frame even if damage hides that.
    """
    number = -1 if start is None else start.packet - 1
    waiting: list[tuple[int, Any]] | None = []  # for a key frame
    key: tuple[int, Any] | None = None
    for packet in packets:
        if packet.size == 0 and (packet.pts, packet.dts) != (None, None):
            continue  # the frame before is shown for longer
        number += packet.size > 0
        if waiting is None:
            if key is not None and _leads(packet, key[1]) and number - key[0] <= _LEADING:
                continue
            yield number, packet
        elif packet.size and (packet.is_keyframe or (first_key is not None and first_key in (packet.pts, packet.dts))):
            waiting, key = None, (number, packet.pts)
            yield number, packet
        else:
            waiting.append((number, packet))
            if packet.size == 0 or len(waiting) == _WITHOUT_KEY:
                yield from waiting
                waiting = None


def _leads(packet: Any, key_pts: int | None) -> bool:
    if packet.size == 0 or packet.is_keyframe or None in (packet.pts, key_pts):
        return False
    return bool(packet.pts < key_pts)


def _time_of(frame: Any) -> str:
    return "at an unknown time" if frame.pts is None else f"at {frame.time:.3f} s"
