"""Writing a video in segments, so that a run that was stopped, even by force, goes on at its last finished segment."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal

from vitm.files import LockedError, WriteError, check_folder, is_locked, lock, replace_when_whole, temporary_beside
from vitm.video.codecs.base import Codec
from vitm.video.write.parts import Part
from vitm.video.write.writer import Stored, VideoWriter

State = Literal["there", "taken", "free"]  # of a segment: finished, being written by a process, or neither


class SegmentedWriter(VideoWriter):
    """A `VideoWriter` that keeps finished segments in a folder until the last frame is written.

    Each segment begins with a key frame and refers to no other one. `close` joins their packets, without encoding
    again, with continuous times and the light levels of all segments, and removes them. With a lossless codec the
    frames are those of a `VideoWriter`; otherwise the coded frames differ a little, since each segment is encoded by
    itself.

        with SegmentedWriter("out.mp4", "work", HEVC(), 1920, 1080, 24, streams_from="in.mp4") as writer:
            for i in range(writer.finished_frames, n):
                writer.write(hdr_pq(i), pts=times[i])

    After an exception, or `abort`, the finished segments stay; the same call with the same folder goes on from them.

    Args:
        path: output; the suffix chooses the container.
        work_dir: folder of the segments; made if it is missing. One output a folder.
        codec: how to encode.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
        fps: frames a second.
        segment_frames: frames a segment.
        sample_aspect_ratio: aspect ratio of the pixels; None for square ones.
        streams_from: as in `VideoWriter`.
        audio: as in `VideoWriter`.
        span: as in `VideoWriter`.

    Raises:
        ValueError: as `VideoWriter`, or if the folder holds segments of other settings.
        FileNotFoundError: if `streams_from` does not exist.
        VideoDecodeError: if `streams_from` cannot be read.
        WriteError: as `VideoWriter`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        work_dir: str | PathLike[str],
        codec: Codec,
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        segment_frames: int = 240,
        sample_aspect_ratio: Fraction | None = None,
        streams_from: str | PathLike[str] | None = None,
        audio: str = "copy",
        span: tuple[Fraction, Fraction | None] | None = None,
    ) -> None:
        if segment_frames < 1:
            raise ValueError(f"segment_frames={segment_frames}: expected at least 1")
        self.work_dir = Path(work_dir)
        self._segment_frames = segment_frames
        super().__init__(
            path,
            codec,
            width,
            height,
            fps,
            sample_aspect_ratio=sample_aspect_ratio,
            streams_from=streams_from,
            audio=audio,
            span=span,
        )

    def _begin(self) -> None:
        self._claim = claim_folder(self.work_dir, self._settings)
        while (path := self._part_path(len(self._parts))).is_file():
            facts = json.loads(path.with_suffix(".json").read_text())
            self._parts.append(Part(path, facts["frames"], facts["start"], facts["last"]))
            self.max_cll, self.max_fall = max(self.max_cll, facts["max_cll"]), max(self.max_fall, facts["max_fall"])
            self._last_ticks = facts["last"]
        self.n_frames = self.finished_frames = sum(part.frames for part in self._parts)

    @property
    def _settings(self) -> dict[str, str]:
        picture = {k: str(v) for k, v in dataclasses.asdict(self._picture).items()}
        return {"codec": repr(self.codec), **picture}

    def _part_path(self, number: int) -> Path:
        return self.work_dir / f"part_{number:05d}{self.codec.part_suffix}"

    @property
    def _number(self) -> int:
        """Return the number of the segment that is written now."""
        return len(self._parts)

    def _put(self, stored: Stored, ticks: int) -> None:
        if self._encoder is None:
            self._open_part(temporary_beside(self._part_path(self._number)))
        super()._put(stored, ticks)
        if self._full():
            self._end_part()

    def _full(self) -> bool:
        """Return whether the segment that is written now has all its frames."""
        return self._encoder is not None and self._encoder.frames == self._segment_frames

    def _end_part(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        path = self._part_path(self._number)
        try:
            part = encoder.finish()
            facts = {"frames": part.frames, "start": part.start, "last": part.last}
            with replace_when_whole(path.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps({**facts, "max_cll": self.max_cll, "max_fall": self.max_fall}))
            with part.path.open("rb") as file:
                os.fsync(file.fileno())
            part.path.replace(path)  # now the segment counts
        except BaseException:
            encoder.discard()
            raise
        self._parts.append(dataclasses.replace(part, path=path))

    def _finish(self) -> None:
        self._end_part()
        self._join(self._parts)
        for part in self._parts:
            part.path.unlink()
            part.path.with_suffix(".json").unlink()
        release_folder(self.work_dir)

    def _clean_up(self) -> None:
        super()._clean_up()
        self._claim.close()


class SharedWriter(SegmentedWriter):
    """A `SegmentedWriter` for one of several processes that write the segments of one video.

    Each claims a segment, writes its frames and ends it, until all are there. A segment whose process was killed is
    free again. A `SegmentedWriter` with the same folder then joins all of them, when no process has the folder open:

        with SharedWriter("out.mp4", "work", HEVC(), 1920, 1080, 24, segment_frames=120) as writer:
            while (number := writer.claim_segment(n)) is not None:
                for i in range(120 * number, min(120 * (number + 1), n)):
                    writer.write(hdr_pq(i), pts=times[i])
                writer.end_segment()

    Raises:
        ValueError: as `SegmentedWriter`, or if segments of another length are there.
    """

    def _begin(self) -> None:
        self._claim = claim_folder(self.work_dir, self._settings, shared=True)
        self._segment, self._segment_claim = -1, self._claim
        for facts in sorted(self.work_dir.glob("part_*.json"))[:-1]:  # the last one may be shorter
            if (frames := json.loads(facts.read_text())["frames"]) != self._segment_frames:
                self._claim.close()
                raise ValueError(f"{self.work_dir} holds segments of {frames} frames: give segment_frames={frames}")

    @property
    def _number(self) -> int:
        return self._segment

    def claim_segment(self, n_frames: int) -> int | None:
        """Claim a segment that is not there, and return its number: the next one, where it is free.

        It waits while other processes have all that are missing, since they may be killed.

        Args:
            n_frames: number of frames of the video.

        Returns:
            The number; None when all segments are there.
        """
        count = -(-n_frames // self._segment_frames)
        while True:
            states = [self._state(number) for number in range(count)]
            if all(state == "there" for state in states):
                return None
            number = choose_segment(states, self._segment + 1)
            if number is not None and self._take(number):
                self._segment, self.n_frames, self._last_ticks = number, number * self._segment_frames, -1
                self.max_cll = self.max_fall = 0.0
                return number
            time.sleep(0.2)

    def end_segment(self) -> None:
        """Finish the claimed segment with the frames that were written; without any it is there too."""
        if self._encoder is None:
            self._segment_claim.write("no frames\n")
        self._end_part()
        self._parts.clear()
        self._segment_claim.close()

    def close(self) -> None:
        """Give back what is claimed; segments that are there stay."""
        self.abort()

    def _full(self) -> bool:
        return False  # `end_segment` says so

    def _clean_up(self) -> None:
        super()._clean_up()
        self._segment_claim.close()

    def _claim_path(self, number: int) -> Path:
        return self.work_dir / f".part_{number:05d}.claim"

    def _state(self, number: int) -> State:
        claim = self._claim_path(number)
        if self._part_path(number).is_file() or (claim.is_file() and claim.stat().st_size):
            return "there"
        return "taken" if is_locked(claim) else "free"

    def _take(self, number: int) -> bool:
        """Claim a segment unless another process was faster."""
        try:
            claim = lock(self._claim_path(number))
        except LockedError:
            return False
        if self._part_path(number).is_file() or claim.tell():
            claim.close()
            return False
        self._segment_claim = claim
        return True


def choose_segment(states: Sequence[State], following: int) -> int | None:
    """Return the segment that a process should write, so that all seldom begin in the middle of a scene.

    Args:
        states: states of all segments.
        following: the one after that which it has written.

    Returns:
        `following` where it is free. Otherwise one of the longest run of free ones: the first, or its middle where the
        process before it will go on into it. None where none is free.

    Example:
        >>> choose_segment(["there", "taken", "free", "free", "free"], 1), choose_segment(["free", "free"], 5)
        (3, 0)
    """
    if following < len(states) and states[following] == "free":
        return following
    runs = [
        (state, [number for number, _ in run]) for state, run in groupby(enumerate(states), key=lambda pair: pair[1])
    ]
    free = max((run for state, run in runs if state == "free"), key=len, default=None)
    if free is None:
        return None
    return free[len(free) // 2] if free[0] > 0 and states[free[0] - 1] == "taken" else free[0]


def claim_folder(folder: Path, settings: dict[str, Any], shared: bool = False) -> IO[str]:
    """Make a folder for unfinished work, or go on with that of a run with the same settings.

    Args:
        folder: the folder.
        settings: what must be the same, as JSON has it.
        shared: whether other processes may claim it too that share its work.

    Returns:
        An open file; until it is closed, or the process ends, no other run can claim the folder.

    Raises:
        ValueError: if the folder holds the work of other settings, or anything else.
        WriteError: if it cannot be made or written to, or another run is using it.
    """
    check_folder(folder)
    settings = json.loads(json.dumps(settings))
    file = folder / "settings.json"
    if not file.is_file():
        if stray := sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")):
            raise ValueError(f"{folder} holds {stray[0]} and is no folder of unfinished work: choose an empty one")
        with replace_when_whole(file) as temporary:
            temporary.write_text(json.dumps(settings, indent=1))
    before = json.loads(file.read_text())
    if before != settings:
        changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
        raise ValueError(
            f"{folder} holds unfinished work with other settings ({', '.join(changed)}): "
            "use the same settings, or remove the folder to begin anew"
        )
    try:
        claim = lock(file, shared=shared)
    except LockedError as error:
        raise WriteError(f"{folder}: another run is using this folder") from error
    if not shared:
        for left_over in (*folder.glob(".*.partial*"), *folder.glob(".*.claim")):
            left_over.unlink()
    return claim


def release_folder(folder: Path) -> None:
    """Remove a folder of finished work, if nothing else is in it."""
    (folder / "settings.json").unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
