"""What rides along with a run: previews, baselines, throughput, and checkpoints that are whole."""

from vitm.callbacks.baselines import AnalyticBaselines
from vitm.callbacks.checkpoints import WholeCheckpointIO
from vitm.callbacks.last import LastCheckpoint
from vitm.callbacks.previews import Previews
from vitm.callbacks.stop import StopWhenTold
from vitm.callbacks.throughput import Throughput

__all__ = ["AnalyticBaselines", "LastCheckpoint", "Previews", "StopWhenTold", "Throughput", "WholeCheckpointIO"]
