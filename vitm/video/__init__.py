"""Video and frames with the right colour: reading, and writing HDR10, HLG and linear light."""

from vitm.files import WriteError
from vitm.video.errors import StreamWarning, VideoDecodeError, VideoTagError
from vitm.video.frame_folder import FrameFolderWriter
from vitm.video.images import read_image, write_exr, write_image, write_png16
from vitm.video.outputs import open_writer
from vitm.video.reader import Frame, FrameReader, probe, verify
from vitm.video.segments import SegmentedWriter
from vitm.video.tags import BT2020_1000_NITS, P3_D65_1000_NITS, MasteringDisplay, StreamInfo
from vitm.video.writer import HDR10Writer, VideoWriter, Writer

__all__ = [
    "BT2020_1000_NITS",
    "P3_D65_1000_NITS",
    "Frame",
    "FrameFolderWriter",
    "FrameReader",
    "HDR10Writer",
    "MasteringDisplay",
    "SegmentedWriter",
    "StreamInfo",
    "StreamWarning",
    "VideoDecodeError",
    "VideoTagError",
    "VideoWriter",
    "WriteError",
    "Writer",
    "open_writer",
    "probe",
    "read_image",
    "verify",
    "write_exr",
    "write_image",
    "write_png16",
]
