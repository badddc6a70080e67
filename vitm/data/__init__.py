"""Data: LightningDataModules, the layouts they read, videos to data sets, demo and fake data."""

from vitm.data.batch import TripletBatch, TripletSample
from vitm.data.triplets import HDR10Triplets

__all__ = ["HDR10Triplets", "TripletBatch", "TripletSample"]
