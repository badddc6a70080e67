"""One way to open any output."""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from typing import Any, Literal, get_args

from vitm.video.codecs import CodecName, make_codec
from vitm.video.frame_folder import FrameFolderWriter, FrameKind
from vitm.video.segments import SegmentedWriter
from vitm.video.writer import VideoWriter, Writer

OutputKind = Literal["hevc", "hlg", "prores", "av1", "png", "tiff", "exr"]


def open_writer(
    path: str | PathLike[str],
    width: int,
    height: int,
    fps: Fraction | int,
    codec: OutputKind = "hevc",
    *,
    work_dir: str | PathLike[str] | None = None,
    segment_frames: int = 240,
    sample_aspect_ratio: Fraction | None = None,
    streams_from: str | PathLike[str] | None = None,
    **options: Any,
) -> Writer:
    """A writer of PQ frames for any kind of output.

    =======  ============================================================  ==================  ======================
    codec    output                                                        container           options
    =======  ============================================================  ==================  ======================
    hevc     HDR10: H.265 Main 10                                          .mp4 .mov .mkv      crf, preset, lossless,
                                                                                               mastering, x265_params
    hlg      HLG: H.265 Main 10                                            .mp4 .mov .mkv      the same, no mastering
    prores   ProRes 422 HQ, PQ                                             .mov                mastering
    av1      HDR10: AV1 Main, 10 bit                                       .mp4 .mkv           crf, preset, lossless,
                                                                                               mastering
    png      16-bit PQ codes                                               a folder            none
    tiff     16-bit PQ codes                                               a folder            none
    exr      linear light, BT.2020, 1.0 = 100 cd/m2                        a folder            none
    =======  ============================================================  ==================  ======================

    Args:
        path: the output; it appears when the writer is closed.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        fps: frames a second; folders of frames do not keep it.
        codec: the kind of output.
        work_dir: keep finished work here, so that the same call goes on after an interruption: write the frames from
            `finished_frames` on.
        segment_frames: frames that are finished together, for videos with a `work_dir`.
        sample_aspect_ratio: of the pixels; None for square ones. Not for folders of frames.
        streams_from: a file whose sound, subtitles, chapters and so on go along: see `VideoWriter`. Not for folders of
            frames.
        **options: of the codec.

    Raises:
        ValueError: for an unknown codec or option, or one out of range.
        FileNotFoundError: if `streams_from` does not exist.
        VideoDecodeError: if `streams_from` cannot be read.
        WriteError: if the output cannot be written.
    """
    if codec in get_args(FrameKind):
        refused = {"streams_from": streams_from, "sample_aspect_ratio": sample_aspect_ratio, **options}
        if given := [name for name, value in refused.items() if value is not None]:
            raise ValueError(f"{path}: a folder of frames takes no {', '.join(given)}")
        return FrameFolderWriter(path, width, height, codec, work_dir=work_dir)  # type: ignore[arg-type]
    if codec not in get_args(CodecName):
        raise ValueError(f"codec={codec!r}: expected one of {', '.join(get_args(OutputKind))}")
    made = make_codec(codec, **options)
    extras: dict[str, Any] = {"sample_aspect_ratio": sample_aspect_ratio, "streams_from": streams_from}
    if work_dir is None:
        return VideoWriter(path, made, width, height, fps, **extras)
    return SegmentedWriter(path, work_dir, made, width, height, fps, segment_frames=segment_frames, **extras)
