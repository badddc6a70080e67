"""What can be wrong with a video file."""

from __future__ import annotations


class VideoTagError(ValueError):
    """A colour tag is missing, unsupported, or contradicts the role that the file was given."""


class VideoDecodeError(ValueError):
    """A file cannot be read, is cut short or damaged, or holds values that no picture has."""


class StreamWarning(UserWarning):
    """Something of a source does not go along into an output, because its container cannot hold it."""
