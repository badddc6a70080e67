"""Training of the networks that look colours up in learned tables."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from vitm.baselines.ada_3dlut import Ada3DLUT, falls, roughness
from vitm.baselines.task import FrameTask


class Ada3DLUTTask(FrameTask):
    """Ada-3DLUT, with its own loss: squared errors, tables that are smooth and monotonic, and small weights of them.

    Args:
        size: see `Ada3DLUT`.
        tables: see `Ada3DLUT`.
        smoothness: weight of the tables' total variation and of their squared weights.
        monotonicity: weight of where the tables fall.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "ada_3dlut"
    network_class = Ada3DLUT
    network: Ada3DLUT

    def __init__(
        self, size: int = 33, tables: int = 3, smoothness: float = 1e-4, monotonicity: float = 10.0, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.smoothness, self.monotonicity = smoothness, monotonicity
        self.configure_networks(size=size, tables=tables)

    def frame_loss(self, sdr: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of PQ codes and what keeps the tables smooth and monotonic, and log it."""
        weights, tables = self.network.weights(sdr), self.network.tables
        error = F.mse_loss(self.network.convert(sdr, weights).float(), target)
        smooth = roughness(tables) + weights.float().square().mean()
        loss = error + self.smoothness * smooth + self.monotonicity * falls(tables)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        self.log("train/mse", error, sync_dist=True)
        return loss
