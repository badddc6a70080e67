"""Which frames a video has: their times, the packets they come from, and where decoding can begin."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vitm.video.errors import VideoDecodeError
from vitm.video.read.container import open_video
from vitm.video.read.decoder import Decoder, Start, decodable, first_key

# in these containers each packet of these codecs, or of one without reference frames, is one shown frame, with its time
_COUNTABLE_FORMATS = {"mov", "matroska", "flv"}
_ENDLESS_FORMATS = {"mpegts", "mpeg"}  # recordings, which may end anywhere
_CUT = 2  # such an end shows in so many packets, the last ones
_COUNTABLE_CODECS = {"h264", "hevc", "vvc", "av1"}


@dataclass(frozen=True)
class FrameTable:
    """All frames of a video, in the order in which they are shown.

    Attributes:
        pts: their times in stream units, ascending.
        packets: the numbers of the packets that they come from.
        starts: where decoding can begin, ascending; empty if only at the beginning.
        timed: whether decoded frames have these times. If not, they are known by their packets alone.
        cut_end: whether the file ends within a frame, which does not count, and at which a strict decoder would stop.
        notes: what is unusual, in words.
    """

    pts: npt.NDArray[np.int64]
    packets: npt.NDArray[np.int64]
    starts: tuple[Start, ...]
    timed: bool = True
    cut_end: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pts)

    def find(self) -> Callable[[Any], int]:
        """Return a function that gives the number of a decoded frame; -1 for one that is not in the table.

        Unless the table is `timed`, the frame must have been decoded in one thread.
        """
        if self.timed:
            by_time = {int(time): index for index, time in enumerate(self.pts)}
            return lambda frame: by_time.get(frame.pts, -1)
        by_packet = {int(packet): index for index, packet in enumerate(self.packets)}
        return lambda frame: by_packet.get(frame.opaque, -1)

    def starts_before(self, index: int) -> list[Start]:
        """Return where decoding can begin to reach a frame, the nearest first: the last two places, and the first."""
        reaching = [start for start in self.starts if start.index <= index]
        return list(dict.fromkeys([*reaching[:-3:-1], *reaching[:1]]))


def frame_table(path: Path, past_damage: bool = False, decode: bool = False) -> FrameTable:
    """Return the frames of a video: from its packets where each of them is a frame, or else by decoding it once.

    The last tables are remembered.

    Args:
        path: a video file.
        past_damage: whether damaged frames count; otherwise they are an error where the video is decoded.
        decode: decode it in any case.

    Raises:
        VideoDecodeError: if there is no frame, or at damage.
    """
    facts = path.stat()
    return _table(path, past_damage, decode, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4)
def _table(path: Path, past_damage: bool, decode: bool, *_: int) -> FrameTable:
    with open_video(path) as (container, stream):
        by_packets = not decode and is_countable(container, stream)
    return table_of_packets(path) if by_packets else table_of_frames(path, past_damage)


def is_countable(container: Any, stream: Any) -> bool:
    """Return whether each packet is one shown frame: not where frames may be hidden, packed, or split in fields."""
    codec = stream.codec_context.codec
    formats = set(container.format.name.split(","))
    return bool(formats & _COUNTABLE_FORMATS) and (codec.intra_only or codec.canonical_name in _COUNTABLE_CODECS)


def table_of_packets(path: Path) -> FrameTable:
    """Read a file through without decoding it.

    Raises:
        VideoDecodeError: if the file is damaged, or holds no frame with a time.
    """
    pts, numbers, keys, first = [], [], [], None
    with open_video(path) as (container, stream):
        try:
            for number, packet in decodable(container.demux(stream), first_key=first_key(container, stream)):
                if packet.size == 0 or packet.pts is None:
                    continue
                first = number if first is None else first
                if packet.is_keyframe:
                    keys.append((number, packet.pts, packet.dts, packet.size))
                if not packet.is_discard:  # an edit list leaves it out
                    pts.append(packet.pts)
                    numbers.append(number)
        except av.FFmpegError as error:
            raise VideoDecodeError(f"{path}: damaged after {len(pts)} frames ({error.strerror})") from error
    if not pts:
        raise VideoDecodeError(f"{path}: the video stream holds no frame with a time stamp")
    order = np.argsort(pts, kind="stable")
    times = np.array(pts, np.int64)[order]
    starts = tuple(
        Start(packet=number, index=int(np.searchsorted(times, time)), pts=time, dts=dts, size=size)
        for number, time, dts, size in keys
    )
    return FrameTable(times, np.array(numbers, np.int64)[order], starts, notes=_beginning(first))


def table_of_frames(path: Path, past_damage: bool = False) -> FrameTable:
    """Decode a file once, in one thread, so that nothing is lost without a word.

    Args:
        path: a video file.
        past_damage: count the frames that the decoder loses to damage, instead of stopping at them.

    Raises:
        VideoDecodeError: if there is no frame, or at damage.
    """
    frames: list[tuple[int, int | None]] = []  # packet and time
    lost: dict[int, int | None] = {}
    packets: list[tuple[int, int | None, int | None, int, bool]] = []

    def note(number: int, packet: Any) -> None:
        if packet.size:
            packets.append((number, packet.pts, packet.dts, packet.size, packet.is_keyframe))

    with Decoder(path, threads=False, strict=not past_damage, past_damage=True) as decoder:
        for frame in decoder.frames(on_packet=note, on_damage=lost.__setitem__):
            frames.append((frame.opaque, frame.pts))
        tick = decoder.stream.time_base
        step = 1 / (decoder.stream.average_rate or decoder.stream.guessed_rate or 25) / tick
        packed = decoder.stream.codec_context.name == "mpeg4"  # perhaps: then a packet holds what belongs to the next
        endless = bool(set(decoder.container.format.name.split(",")) & _ENDLESS_FORMATS)
    if not frames:
        raise VideoDecodeError(f"{path}: no frame of the video stream can be decoded")
    for number in {number for number, _ in frames} & set(lost):
        del lost[number]
    notes = _beginning(packets[0][0])
    cut_end = endless and bool(lost) and min(lost) > packets[-1][0] - _CUT
    if cut_end:
        notes += ("it ends within a frame, which is left out",)
        lost.clear()
    if lost and not past_damage:
        time = next((t for t in lost.values() if t is not None), None)
        at = "" if time is None else f" at {float(time * tick):.3f} s"
        raise VideoDecodeError(f"{path}: damaged{at}: {len(lost)} frames cannot be decoded")
    times = [time for _, time in frames]
    timed = _ascend(times)
    if timed:
        shown = sorted(
            [*frames, *((n, t) for n, t in lost.items() if t not in (None, *times))], key=lambda f: f[1] or 0
        )
        pts = np.array([time for _, time in shown], np.int64)
        index_of = {number: int(np.searchsorted(pts, time)) for number, time, *_ in packets if time is not None}
    else:  # times are guessed (AVI), or missing (no container): the k-th frame has the decoding time of the k-th packet
        shown = list(frames)
        for number in sorted(lost):
            shown.insert(sum(n < number for n, _ in frames), (number, None))
        slots = [dts for _, _, dts, *_ in packets]
        if not (_ascend(slots) and len(slots) >= len(shown)):
            begin = next((time for time in times if time is not None), 0)
            slots = [begin + round(i * step) for i in range(len(shown))]
            notes += ("its frames have no times of their own: they are shown at the nominal rate",)
        pts = np.array(slots[: len(shown)], np.int64)
        numbers = [number for number, _ in shown]
        index_of = {number: index for index, number in enumerate(numbers)} if len(set(numbers)) == len(numbers) else {}
    starts = tuple(
        Start(packet=number, index=index_of[number], pts=time, dts=dts, size=size, ordered=timed)
        for number, time, dts, size, is_key in packets
        if is_key and number in index_of and (timed or not packed)
    )
    return FrameTable(pts, np.array([number for number, _ in shown], np.int64), starts, timed, cut_end, notes)


def _ascend(times: list[int | None]) -> bool:
    return None not in times and all(b > a for a, b in itertools.pairwise(times))  # type: ignore[operator]


def _beginning(first: int | None) -> tuple[str, ...]:
    if not first:
        return ()
    return (f"its first {first} packets refer to frames that are not in the file: it begins at its first key frame",)
