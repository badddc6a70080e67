"""One stretch of a video that changes in the middle, read as a video by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Self

from vitm.video.read.changes import Stretch
from vitm.video.read.reader import Frame, FrameReader
from vitm.video.tags import StreamInfo


class StretchReader:
    """The frames of one stretch of a video, as if they were a video by themselves.

    Args:
        whole: a reader of the video that gives each frame in its own size (`on_change="split"`).
        stretch: one of its stretches.

    Attributes:
        info: what the stretch is.
        stretch: its place in the video.
    """

    def __init__(self, whole: FrameReader, stretch: Stretch) -> None:
        self._whole, self.stretch = whole, stretch
        self.info: StreamInfo = replace(whole.info_of(stretch.look), n_frames=stretch.count)

    def __len__(self) -> int:
        return self.stretch.count

    @property
    def damaged(self) -> list[tuple[int, Fraction | None]]:
        """Return number and time in seconds of the damaged frames of this stretch met so far."""
        first, start = self.stretch.first, self.stretch.start
        return [(i - first, None if t is None else t - start) for i, t in self._whole.damaged]

    @property
    def notes(self) -> list[str]:
        """Return what is unusual about the file and was settled, in words."""
        return self._whole.notes

    def __iter__(self) -> Iterator[Frame]:
        return self.read(range(len(self)))

    def read(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Give some frames, as `FrameReader.read` does."""
        first, start = self.stretch.first, self.stretch.start
        for frame in self._whole.read([first + i for i in indices]):
            pts = None if frame.pts_seconds is None else frame.pts_seconds - start
            yield replace(frame, index=frame.index - first, pts_seconds=pts)

    def close(self) -> None:
        """Close the iterations that are still open."""
        self._whole.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
