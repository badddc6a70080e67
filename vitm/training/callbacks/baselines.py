"""The analytic operators, measured on the same test frames as the network."""

from __future__ import annotations

from itertools import islice
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torchmetrics import MetricCollection

from vitm.color import DIFFUSE_WHITE_NITS, METHODS
from vitm.metrics import frame_metrics
from vitm.nets.analytic import Analytic, Gain
from vitm.training.kept_sums import KeptSums, add_sums, batch_digest, get_sums, values_of

STOPS = [i / 4 for i in range(-8, 9)]


class Yardstick:
    """An operator, and the metrics that measure it.

    Args:
        name: name under which its numbers are kept; None for a network, which is measured again each time.
        operator: operator on SDR frames.
        metrics: metrics, which are copied.
    """

    def __init__(self, name: str | None, operator: nn.Module, metrics: MetricCollection) -> None:
        self.name, self.operator = name, operator
        self._metrics, self._of_batch = _fresh(metrics), _fresh(metrics)
        self._additive = all(metric.additive for metric in metrics.values())

    def add(self, batch: Any, key: str, kept: KeptSums) -> None:
        """Measure a batch, unless its numbers are kept.

        Args:
            batch: batch with `sdr` and `hdr_pq`; None if `knows` is true.
            key: digest of the batch.
            kept: numbers of earlier tests.
        """
        if self.name is None or not self._additive:
            self._metrics.update(self.operator(batch["sdr"]), batch["hdr_pq"])
            return
        sums = kept.get(key, self.name)
        if sums is None:
            self._of_batch.update(self.operator(batch["sdr"]), batch["hdr_pq"])
            sums = get_sums(self._of_batch)
            self._of_batch.reset()
            kept.put(key, self.name, sums)
        add_sums(self._metrics, sums)

    def knows(self, key: str, kept: KeptSums) -> bool:
        """Return whether the numbers of a batch are kept."""
        return self.name is not None and self._additive and kept.get(key, self.name) is not None

    def values(self) -> dict[str, float]:
        """Return the values of the metrics."""
        return values_of(self._metrics)


class AnalyticBaselines(Callback):
    """Measure every analytic operator, the best single gain, and earlier stages of the network, during `test`.

    The gain is the one with the best PSNR on the test set itself (an oracle: no method without the truth can choose
    it), of 17 within two stops of diffuse white at 203 cd/m2. After the test, `results` maps a name to its metrics.

    What does not depend on the network is measured once for a test set and kept in the cache folder, see `KeptSums`.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[str, float]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the operators and their metrics."""
        metrics: Any = pl_module.test_metrics
        earlier: dict[str, nn.Module] = pl_module.earlier_stages()  # type: ignore[operator]
        psnr = frame_metrics(["psnr"]).to(pl_module.device)
        self._operators = {m: Yardstick(m, Analytic(m), metrics) for m in METHODS}
        self._operators |= {name: Yardstick(None, network, metrics) for name, network in earlier.items()}
        self._gains = {s: Yardstick(f"PSNR at {s} stops", _gain(s), psnr) for s in STOPS}
        self._kept = KeptSums(metrics, pl_module.device)
        self._batches: list[str] = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure one batch."""
        key = batch_digest(batch)
        self._batches.append(key)
        self._kept.open(key)
        for yardstick in (*self._operators.values(), *self._gains.values()):
            yardstick.add(batch, key, self._kept)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the results, and measure the best gain once more by all metrics."""
        psnr = {stops: gain.values()["psnr"] for stops, gain in self._gains.items()}
        best = max(psnr, key=lambda stops: psnr[stops])
        metrics: Any = pl_module.test_metrics
        gain = Yardstick(f"all metrics at {best} stops", _gain(best), metrics)
        if all(gain.knows(key, self._kept) for key in self._batches):
            for key in self._batches:
                gain.add(None, key, self._kept)
        else:
            count = trainer.num_test_batches[0]
            loader: Any = trainer.test_dataloaders
            batches = islice(loader, None if count == float("inf") else int(count))
            for key, batch in zip(self._batches, batches, strict=True):
                moved = trainer.strategy.batch_to_device(batch, pl_module.device)  # the data's hooks may make its SDR
                gain.add(moved, key, self._kept)
        self._operators[f"best gain ({best:+.2f} stops, oracle)"] = gain
        self._kept.save()
        self.results = {name: yardstick.values() for name, yardstick in self._operators.items()}
        self.results["gamut + PQ, 203 cd/m2"] = self.results.pop("clip")


def _gain(stops: float) -> Gain:
    return Gain(DIFFUSE_WHITE_NITS * 2**stops)


def _fresh(metrics: MetricCollection) -> MetricCollection:
    """Return a copy of metrics that have measured nothing."""
    copy = metrics.clone()
    copy.reset()
    return copy
