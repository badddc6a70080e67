"""Histograms of the luminance of test frames, predicted and true: what HDCFM's Figure 12 shows of each system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vitm.color import luminance, pq_eotf, pq_inverse_eotf
from vitm.files import write_json

BINS = 72  # the "histogram density" of Figure 12


def luminance_histogram(hdr_pq: Tensor) -> list[float]:
    """Return the share of the pixels in each of 72 equal steps of PQ-coded luminance, from 0 to 10,000 cd/m2.

    Args:
        hdr_pq: (3, H, W), BT.2020 PQ code in [0, 1].

    Example:
        >>> luminance_histogram(torch.full((3, 2, 2), 0.51))[36:38]  # 0.51 x 72 = 36.72
        [1.0, 0.0]
    """
    y_pq = pq_inverse_eotf(luminance(pq_eotf(hdr_pq.detach().float().cpu())))
    shares = torch.histc(y_pq.clamp(0, 1), BINS, 0, 1) / y_pq.numel()
    return [round(share, 6) for share in shares.tolist()]


class Histograms(Callback):
    """Write the histograms of the first test samples, of a clip of its middle frame, to a JSON file.

    Args:
        path: file: name of a sample -> `prediction` and `target` -> share of each bin.
        samples: number of batches.
    """

    def __init__(self, path: Path, samples: int = 4) -> None:
        self.path, self.samples = path, samples
        self._shares: dict[str, dict[str, list[float]]] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the pixels of one sample."""
        if batch_idx < self.samples and trainer.is_global_zero:
            _, hdr_pq, target, name = pl_module.preview(batch, outputs)  # type: ignore[operator]
            both = {"prediction": hdr_pq, "target": target}
            self._shares[name] = {side: luminance_histogram(frame) for side, frame in both.items()}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        if self._shares:
            write_json(self.path, self._shares, indent=None)
