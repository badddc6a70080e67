"""Video and frames with the right colour: reading, and writing HDR10, HLG and linear light.

Names are loaded when they are first used, so that importing this package loads no codec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitm.files import WriteError
    from vitm.video.errors import StreamWarning, VideoDecodeError, VideoTagError
    from vitm.video.images import read_image, write_exr, write_image, write_png16
    from vitm.video.read.reader import Frame, FrameReader, probe, verify
    from vitm.video.tags import BT2020_1000_NITS, P3_D65_1000_NITS, MasteringDisplay, StreamInfo
    from vitm.video.write.frame_folder import FrameFolderWriter
    from vitm.video.write.outputs import open_writer
    from vitm.video.write.segments import SegmentedWriter
    from vitm.video.write.writer import HDR10Writer, VideoWriter, Writer

_HOMES = {
    "vitm.files": ("WriteError",),
    "vitm.video.errors": ("StreamWarning", "VideoDecodeError", "VideoTagError"),
    "vitm.video.images": ("read_image", "write_exr", "write_image", "write_png16"),
    "vitm.video.read.reader": ("Frame", "FrameReader", "probe", "verify"),
    "vitm.video.tags": ("BT2020_1000_NITS", "P3_D65_1000_NITS", "MasteringDisplay", "StreamInfo"),
    "vitm.video.write.frame_folder": ("FrameFolderWriter",),
    "vitm.video.write.outputs": ("open_writer",),
    "vitm.video.write.segments": ("SegmentedWriter",),
    "vitm.video.write.writer": ("HDR10Writer", "VideoWriter", "Writer"),
}

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


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
