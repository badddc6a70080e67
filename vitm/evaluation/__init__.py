"""Predicted against true HDR files: opened in pairs, measured as a stream, written as tables and plots."""

from vitm.evaluation.files import overall_values, write_frames, write_plot, write_summary
from vitm.evaluation.measure import ClipState, clip_values, measure_clip
from vitm.evaluation.pairs import MismatchError, Pair, open_pair, read_pairs

__all__ = [
    "ClipState",
    "MismatchError",
    "Pair",
    "clip_values",
    "measure_clip",
    "open_pair",
    "overall_values",
    "read_pairs",
    "write_frames",
    "write_plot",
    "write_summary",
]
