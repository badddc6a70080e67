"""Video and frames with the right colour: reading, and writing HDR10."""

from vitm.video.errors import VideoDecodeError, VideoTagError, VideoWriteError
from vitm.video.images import read_image, write_exr, write_image, write_png16
from vitm.video.reader import Frame, FrameReader, probe, verify
from vitm.video.tags import MasteringDisplay, StreamInfo
from vitm.video.writer import BT2020_1000_NITS, P3_D65_1000_NITS, HDR10Writer

__all__ = [
    "BT2020_1000_NITS",
    "P3_D65_1000_NITS",
    "Frame",
    "FrameReader",
    "HDR10Writer",
    "MasteringDisplay",
    "StreamInfo",
    "VideoDecodeError",
    "VideoTagError",
    "VideoWriteError",
    "probe",
    "read_image",
    "verify",
    "write_exr",
    "write_image",
    "write_png16",
]
