"""Sums of metrics that do not depend on the network, kept from one test to the next."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

import vitm
from vitm.files import cache_folder, digest, replace_when_whole
from vitm.metrics import VideoMetric

ROOMS = ("color", "ops", "nets", "metrics")  # whose code makes the numbers


class KeptSums:
    """What batches add to the states of metrics, by the batches' content, in a file of the cache folder.

    A test set is recognised by its first batch: it has a file for each way to measure it, which is metrics, code,
    device and version of torch. A batch counts as known if each of its bits is.

    Args:
        metrics: metrics that are measured.
        device: device that measures.
    """

    def __init__(self, metrics: MetricCollection, device: torch.device) -> None:
        self._way = "\n".join([_code(), torch.__version__, device.type, *map(_described, metrics.values())])
        self._path: Path | None = None
        self._sums: dict[str, dict[str, list[float]]] = {}
        self._changed = False

    def open(self, first: str) -> None:
        """Read what is kept of the test set that begins with this batch, if that is not done yet."""
        if self._path is None:
            name = digest(self._way + first)[:32]
            self._path = cache_folder() / "yardsticks" / f"{name}.json"
            if self._path.is_file():
                self._sums = json.loads(self._path.read_text())

    def get(self, batch: str, name: str) -> list[float] | None:
        """Return what a batch adds, measured under a name; None if that is not known."""
        return self._sums.get(batch, {}).get(name)

    def put(self, batch: str, name: str, sums: list[float]) -> None:
        """Keep what a batch adds."""
        self._sums.setdefault(batch, {})[name] = sums
        self._changed = True

    def save(self) -> None:
        """Write the file, if there is anything new. A cache that cannot be written is no error."""
        if self._path is not None and self._changed:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with replace_when_whole(self._path) as part:
                    part.write_text(json.dumps(self._sums))
            except OSError:
                return
            self._changed = False


def batch_digest(batch: Mapping[str, Any]) -> str:
    """Return the digest of a batch's frames: of every bit of `sdr` and `hdr_pq`."""
    frames = [batch[key].detach().contiguous().cpu() for key in ("sdr", "hdr_pq")]
    shapes = [f"{tuple(x.shape)} {x.dtype}" for x in frames]
    return digest("\n".join([*shapes, *(digest(memoryview(x.view(torch.uint8).numpy()).cast("B")) for x in frames)]))


def get_sums(metrics: MetricCollection) -> list[float]:
    """Return the states of metrics as one list. All states must be sums, see `VideoMetric.additive`."""
    return [float(x) for metric in metrics.values() for state in _states(metric).values() for x in state.flatten()]


def add_sums(metrics: MetricCollection, sums: list[float]) -> None:
    """Add to the states of metrics what `get_sums` gave."""
    rest = iter(sums)
    for metric in metrics.values():
        for name, state in _states(metric).items():
            added = torch.tensor([next(rest) for _ in range(state.numel())], dtype=torch.float64)
            setattr(metric, name, state + added.view(state.shape).to(state))


def values_of(metrics: MetricCollection) -> dict[str, float]:
    """Return the values of metrics, also of those whose states were all added."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was called before the ``update``", category=UserWarning)
        return {name: float(value) for name, value in metrics.compute().items()}


def _states(metric: Any) -> dict[str, Tensor]:
    return dict(metric.metric_state)


def _described(metric: Any) -> str:
    assert isinstance(metric, VideoMetric)
    file = inspect.getsourcefile(type(metric))
    own = "" if file is None or type(metric).__module__.startswith("vitm.") else digest(Path(file))
    return f"{metric.names} {metric.protocol!r} {own}"


@cache
def _code() -> str:
    """Return the digest of the code that makes the numbers."""
    root = Path(vitm.__file__).parent
    return digest("\n".join(digest(file) for room in ROOMS for file in sorted((root / room).rglob("*.py"))))
