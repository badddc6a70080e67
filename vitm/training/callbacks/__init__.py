"""Callbacks of every run: pictures, histograms, baselines, throughput, whole checkpoints, and stops in good order."""

from vitm.training.callbacks.bar import EpochBar
from vitm.training.callbacks.baselines import AnalyticBaselines
from vitm.training.callbacks.checkpoints import BestCheckpoint, WholeCheckpointIO
from vitm.training.callbacks.finite import StopAtNonFinite
from vitm.training.callbacks.histograms import Histograms
from vitm.training.callbacks.last import LastCheckpoint
from vitm.training.callbacks.previews import Previews
from vitm.training.callbacks.stop import StopWhenTold
from vitm.training.callbacks.throughput import Throughput

__all__ = [
    "AnalyticBaselines",
    "BestCheckpoint",
    "EpochBar",
    "Histograms",
    "LastCheckpoint",
    "Previews",
    "StopAtNonFinite",
    "StopWhenTold",
    "Throughput",
    "WholeCheckpointIO",
]
