"""The progress bar of a training."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar


class EpochBar(RichProgressBar):
    """Lightning's bar, which counts the epochs of a training without a last one as "Epoch 3", not as "Epoch 3/-2"."""

    def _get_train_description(self, current_epoch: int) -> str:
        return super()._get_train_description(current_epoch).replace("/-2", "")
