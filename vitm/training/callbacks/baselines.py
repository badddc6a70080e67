"""The analytic operators, measured on the same test frames as the network."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torchmetrics import MetricCollection

from vitm.color import DIFFUSE_WHITE_NITS, METHODS
from vitm.metrics import frame_metrics
from vitm.nets.analytic import Analytic, Gain

Measured = tuple[nn.Module, MetricCollection]
STOPS = [i / 4 for i in range(-8, 9)]


class AnalyticBaselines(Callback):
    """Measure every analytic operator, the best single gain, and earlier stages of the network, during `test`.

    The gain is the one with the best PSNR on the test set itself (an oracle: no method without the truth can choose
    it), of 17 within two stops of diffuse white at 203 cd/m2. After the test, `results` maps a name to its metrics.
    """

    def __init__(self) -> None:
        self.results: dict[str, dict[str, float]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the operators and their metrics."""

        def measured(networks: dict[Any, nn.Module], by: MetricCollection) -> dict[Any, Measured]:
            return {k: (network, _fresh(by)) for k, network in networks.items()}

        self._metrics: MetricCollection = pl_module.test_metrics  # type: ignore[assignment]
        earlier: dict[str, nn.Module] = pl_module.earlier_stages()  # type: ignore[operator]
        self._operators = measured({m: Analytic(m) for m in METHODS} | earlier, self._metrics)
        psnr = frame_metrics(["psnr"]).to(pl_module.device)
        self._gains = measured({s: Gain(DIFFUSE_WHITE_NITS * 2**s) for s in STOPS}, psnr)

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
        for network, metrics in (*self._operators.values(), *self._gains.values()):
            metrics.update(network(batch["sdr"]), batch["hdr_pq"])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the results, and measure the best gain once more by all metrics."""
        psnr = {stops: float(metrics.compute()["psnr"]) for stops, (_, metrics) in self._gains.items()}
        best = max(psnr, key=lambda stops: psnr[stops])
        gain, metrics = self._gains[best][0], _fresh(self._metrics)
        count = trainer.num_test_batches[0]
        loader: Any = trainer.test_dataloaders
        for batch in islice(loader, None if count == float("inf") else int(count)):
            sdr, hdr_pq = (batch[k].to(pl_module.device) for k in ("sdr", "hdr_pq"))
            metrics.update(gain(sdr), hdr_pq)
        self._operators[f"best gain ({best:+.2f} stops, oracle)"] = gain, metrics
        self.results = {
            name: {k: float(v) for k, v in metrics.compute().items()} for name, (_, metrics) in self._operators.items()
        }
        self.results["gamut + PQ, 203 cd/m2"] = self.results.pop("clip")


def _fresh(metrics: MetricCollection) -> MetricCollection:
    """Return the same metrics, which have measured nothing yet."""
    fresh = copy.deepcopy(metrics)
    fresh.reset()
    return fresh
