"""Learned inverse tone mapping of video: SDR in, HDR10 out."""

__version__ = "0.1.0"
