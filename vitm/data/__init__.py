"""Data: LightningDataModules, the layouts they read, videos to data sets, demo and fake data."""

from vitm.data.batch import (
    ClipBatch,
    ClipSample,
    FrameBatch,
    FrameSample,
    SequenceBatch,
    SequenceSample,
    TripletBatch,
    TripletSample,
)
from vitm.data.demo.walks import DemoWalks
from vitm.data.paired.clips import HDR10Clips
from vitm.data.paired.frames import HDR10Frames
from vitm.data.paired.triplets import HDR10Triplets
from vitm.data.sequences.long_sequences import LongSequences

__all__ = [
    "ClipBatch",
    "ClipSample",
    "DemoWalks",
    "FrameBatch",
    "FrameSample",
    "HDR10Clips",
    "HDR10Frames",
    "HDR10Triplets",
    "LongSequences",
    "SequenceBatch",
    "SequenceSample",
    "TripletBatch",
    "TripletSample",
]
