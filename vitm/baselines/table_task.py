"""Training of the networks that look colours up in learned tables."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from vitm.baselines.ada_3dlut import Ada3DLUT, falls, roughness
from vitm.baselines.adaint import AdaInt
from vitm.baselines.published import ada_3dlut, adaint
from vitm.baselines.task import FrameTask


class TableTask(FrameTask):
    """A network with tables, whose parts may learn at different rates.

    The tables' values are colours, and the head of `Ada3DLUT` adds up 8192 features: no one rate fits both for long.
    """

    rates: dict[str, float]
    """Beginning of a parameter's name -> its learning rate, as a factor of the others'."""

    def configure_optimizers(self) -> Any:
        """Return Adam with the schedule."""
        groups = []
        parameters = dict(self.learner.named_parameters())
        for start, factor in self.rates.items():
            chosen = [name for name in parameters if name.startswith(start)]
            groups.append({"params": [parameters.pop(name) for name in chosen], "lr": factor * self.lr})
        return self.optimize([{"params": list(parameters.values())}, *groups])


class Ada3DLUTTask(TableTask):
    """Ada-3DLUT, with its own loss: squared errors, tables that are smooth and monotonic, and small weights of them.

    Args:
        size: see `Ada3DLUT`.
        tables: see `Ada3DLUT`.
        smoothness: weight of the tables' total variation and of their squared weights.
        monotonicity: weight of where the tables fall.
        table_lr: learning rate of the tables, as a factor of the others'.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "ada_3dlut"
    network_class = Ada3DLUT
    published = staticmethod(ada_3dlut)
    network: Ada3DLUT

    def __init__(
        self,
        size: int = 33,
        tables: int = 3,
        smoothness: float = 1e-4,
        monotonicity: float = 10.0,
        table_lr: float = 1.0,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.smoothness, self.monotonicity = smoothness, monotonicity
        self.rates = {"values": table_lr}
        self.configure_networks(size=size, tables=tables)

    def frame_loss(self, sdr: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of PQ codes and what keeps the tables smooth and monotonic, and log it."""
        network: Ada3DLUT = self.learner
        weights, tables = network.weights(sdr), network.tables
        error = F.mse_loss(network.convert(sdr, weights).float(), target)
        smooth = roughness(tables) + weights.float().square().mean()
        loss = error + self.smoothness * smooth + self.monotonicity * falls(tables)
        self.log("train/loss", loss, sync_dist=True)
        self.log("train/mse", error, sync_dist=True)
        return loss


class AdaIntTask(TableTask):
    """AdaInt, with its own loss: squared errors, monotonic tables, and small weights of them.

    Args:
        size: see `AdaInt`.
        tables: see `AdaInt`.
        sparsity: weight of the tables' squared weights.
        monotonicity: weight of where the tables fall.
        interval_lr: learning rate of the intervals, as a factor of the others'; a tenth in the released code.
        table_lr: learning rate of the tables, as a factor of the others'.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "adaint"
    network_class = AdaInt
    published = staticmethod(adaint)
    network: AdaInt

    def __init__(
        self,
        size: int = 33,
        tables: int = 3,
        sparsity: float = 1e-4,
        monotonicity: float = 10.0,
        interval_lr: float = 0.1,
        table_lr: float = 1.0,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.sparsity, self.monotonicity = sparsity, monotonicity
        self.rates = {"values": table_lr, "intervals.": interval_lr}
        self.configure_networks(size=size, tables=tables)

    def frame_loss(self, sdr: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of PQ codes and what keeps the tables monotonic, and log it."""
        network: AdaInt = self.learner
        weights, vertices = network.describe(sdr)
        error = F.mse_loss(network.convert(sdr, weights, vertices).float(), target)
        sparse = weights.float().square().mean()
        loss = error + self.sparsity * sparse + self.monotonicity * falls(network.tables)
        self.log("train/loss", loss, sync_dist=True)
        self.log("train/mse", error, sync_dist=True)
        return loss
