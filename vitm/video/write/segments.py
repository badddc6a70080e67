"""Writing a video in segments, so that a run that was stopped, even by force, goes on at its last finished segment."""

from __future__ import annotations

import dataclasses
import json
import os
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import IO, Any

from vitm.files import LockedError, WriteError, check_folder, lock, replace_when_whole, temporary_beside
from vitm.video.codecs.base import Codec
from vitm.video.planes import Float
from vitm.video.write.parts import Part
from vitm.video.write.writer import VideoWriter


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
        picture = {k: str(v) for k, v in dataclasses.asdict(self._picture).items()}
        self._claim = claim_folder(self.work_dir, {"codec": repr(self.codec), **picture})
        while (path := self._part_path(len(self._parts))).is_file():
            facts = json.loads(path.with_suffix(".json").read_text())
            self._parts.append(Part(path, facts["frames"], facts["start"], facts["last"]))
            self.max_cll, self.max_fall = facts["max_cll"], facts["max_fall"]
            self._last_ticks = facts["last"]
        self.n_frames = self.finished_frames = sum(part.frames for part in self._parts)

    def _part_path(self, number: int) -> Path:
        return self.work_dir / f"part_{number:05d}{self.codec.part_suffix}"

    def _put(self, image: Float, ticks: int) -> None:
        if self._encoder is None:
            self._open_part(temporary_beside(self._part_path(len(self._parts))))
        super()._put(image, ticks)
        if self._encoder is not None and self._encoder.frames == self._segment_frames:
            self._end_part()

    def _end_part(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        path = self._part_path(len(self._parts))
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


def claim_folder(folder: Path, settings: dict[str, Any]) -> IO[str]:
    """Make a folder for unfinished work, or go on with that of a run with the same settings.

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
        claim = lock(file)
    except LockedError as error:
        raise WriteError(f"{folder}: another run is using this folder") from error
    for left_over in folder.glob(".*.partial*"):
        left_over.unlink()
    return claim


def release_folder(folder: Path) -> None:
    """Remove a folder of finished work, if nothing else is in it."""
    (folder / "settings.json").unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
