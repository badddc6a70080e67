"""Measurement of the analytic operators that have rows in the papers' tables: there is nothing to train."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from vitm.baselines.task import FrameTask
from vitm.nets.analytic import HuoPhysEO, KovaleskiOliveira


class OperatorTask(FrameTask):
    """An operator without parameters; a run measures it, and makes no step.

    Args:
        **recipe: see `vitm.training.task.L1Task`; only `test_metrics` matters.
    """

    trains: ClassVar[bool] = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Raise an error: there is nothing to train."""
        raise TypeError(f"{self.name} has no parameters and cannot be trained")

    def macs_per_frame(self) -> None:
        """Return None: the papers give operators no multiply-adds."""


class HuoPhysEOTask(OperatorTask):
    """HuoPhysEO.

    Args:
        peak_nits: see `HuoPhysEO`.
        exponent: see `HuoPhysEO`.
        **recipe: see `OperatorTask`.
    """

    name: ClassVar[str] = "huo"
    network_class = HuoPhysEO

    def __init__(self, peak_nits: float = 1000.0, exponent: float = 0.86, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(peak_nits=peak_nits, exponent=exponent)


class KovaleskiOliveiraTask(OperatorTask):
    """Kovaleski and Oliveira's operator.

    Args:
        white_nits: see `KovaleskiOliveira`.
        black_nits: see `KovaleskiOliveira`.
        sigma_px: see `KovaleskiOliveira`.
        **recipe: see `OperatorTask`.
    """

    name: ClassVar[str] = "kovaleski"
    network_class = KovaleskiOliveira

    def __init__(
        self, white_nits: float = 1200.0, black_nits: float = 0.3, sigma_px: float = 150.0, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.configure_networks(white_nits=white_nits, black_nits=black_nits, sigma_px=sigma_px)
