"""Pictures of the network's results: SDR, prediction, target, and where these two differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from torch import Tensor

from vitm.color import tone_map
from vitm.metrics.functional import delta_e_itp
from vitm.training.lightning_internals import logged_step

ERROR_SCALE = 20.0  # delta E_ITP shown as the last colour of the map


def preview(sdr: Tensor, hdr_pq: Tensor, target: Tensor, side: int | None = None) -> NDArray[np.uint8]:
    """Draw SDR, prediction, target (both tone-mapped by BT.2446 A) and their delta E_ITP side by side, with captions.

    Args:
        sdr: (3, H, W), BT.709 gamma code in [0, 1].
        hdr_pq: prediction (3, H, W), BT.2020 PQ code.
        target: ground truth (3, H, W), BT.2020 PQ code.
        side: longest side of each of the four in pixels, to which larger ones are scaled down; None: any.

    Returns:
        (H + 24, 4 W, 3), RGB, 8 bit.
    """
    sdr, hdr_pq, target = (x.detach().float().cpu() for x in (sdr, hdr_pq, target))
    error = delta_e_itp(hdr_pq[None], target[None], reduction="none")
    mean = float(error.mean())
    sdr, hdr_pq, target, error = (_bounded(x, side) for x in (sdr, hdr_pq, target, error))
    colours = cv2.applyColorMap(_to_uint8(error[0] / ERROR_SCALE), cv2.COLORMAP_TURBO)[..., ::-1]
    shown = [sdr, tone_map(hdr_pq), tone_map(target)]
    panels = [_to_uint8(x.permute(1, 2, 0)) for x in shown] + [colours]
    titles = ("SDR", "prediction", "target", f"dE_ITP {mean:.1f} (0..{ERROR_SCALE:.0f})")
    return np.concatenate([_caption(p, t) for p, t in zip(panels, titles, strict=True)], axis=1)


def _bounded(x: Tensor, side: int | None) -> Tensor:
    """Return a picture (C, H, W) as it is, or scaled down to a longest side by the mean of what each pixel covers."""
    longest = max(x.shape[-2:])
    if side is None or longest <= side:
        return x
    return F.interpolate(x[None], size=[max(1, round(n * side / longest)) for n in x.shape[-2:]], mode="area")[0]


def _to_uint8(x: Tensor) -> NDArray[np.uint8]:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _caption(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    bar = np.zeros((24, picture.shape[1], 3), np.uint8)
    cv2.putText(bar, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([bar, picture])


class Previews(Callback):
    """Write the previews of a task for the first batches of validation and test, as PNG and to W&B.

    Args:
        folder: folder of the PNG files.
        side: longest side of each of the four in pixels; None: as large as the frames.
        samples: number of batches that are shown.
    """

    def __init__(self, folder: Path, side: int | None = None, samples: int = 4) -> None:
        self.folder, self.samples, self.side = folder, samples, side
        self._tested: dict[str, NDArray[np.uint8]] = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write `val_<i>.png`, overwritten by the next validation."""
        if not trainer.sanity_checking:
            self._write("val", trainer, pl_module, outputs, batch, batch_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write `test_<i>.png`."""
        self._write("test", trainer, pl_module, outputs, batch, batch_idx)

    def _write(
        self, stage: str, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx >= self.samples or not trainer.is_global_zero:
            return
        sdr, hdr_pq, target, name = pl_module.preview(batch, outputs)  # type: ignore[operator]
        picture = preview(sdr, hdr_pq, target, self.side)
        self.folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.folder / f"{stage}_{batch_idx}.png"), picture[..., ::-1])
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                key = f"{stage}/preview_{batch_idx}"
                logger.log_image(key, [picture], step=logged_step(trainer), caption=[name])
        if stage == "test":
            self._tested[name] = picture

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the previews of the test as one table, whose rows have the samples' names: so runs can be compared."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and self._tested:
                from wandb import Image

                rows = [[name, Image(picture)] for name, picture in self._tested.items()]
                logger.log_table("test/previews", columns=["name", "preview"], data=rows, step=logged_step(trainer))
