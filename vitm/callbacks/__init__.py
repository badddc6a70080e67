"""Lightning callbacks: previews, baselines, throughput, and a checkpoint when the run is told to stop."""

from vitm.callbacks.baselines import AnalyticBaselines
from vitm.callbacks.previews import Previews
from vitm.callbacks.termination import SaveOnTermination
from vitm.callbacks.throughput import Throughput

__all__ = ["AnalyticBaselines", "Previews", "SaveOnTermination", "Throughput"]
