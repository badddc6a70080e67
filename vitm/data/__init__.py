"""Data: LightningDataModules, the layouts they read, videos to data sets, demo and fake data."""

from vitm.data.batch import FrameBatch, FrameSample, TripletBatch, TripletSample
from vitm.data.frames import HDR10Frames
from vitm.data.triplets import HDR10Triplets

__all__ = ["FrameBatch", "FrameSample", "HDR10Frames", "HDR10Triplets", "TripletBatch", "TripletSample"]
