"""CycleGAN: Pixel2Pixel's generator twice, there and back, and a pool of what was generated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitm.baselines.pixel2pixel import Pixel2Pixel


class CycleGAN(Pixel2Pixel):
    """Pixel2Pixel's generator without dropout, which CycleGAN trains without pairs.

    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017. HDCFM's
    table counts one of the two generators, the one that makes HDR: 11,378,179 parameters.

    Args:
        width: see `Pixel2Pixel`.
        blocks: see `Pixel2Pixel`.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__(width, blocks, dropout=False)


class ImagePool(nn.Module):
    """A history of generated pictures, half of which a discriminator sees anew (Shrivastava et al., CVPR 2017).

    It is a module so that checkpoints hold its pictures, and a resumed run goes on like an undisturbed one.

    Args:
        size: number of pictures that are kept (section 4: 50).
    """

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size
        self._pictures: list[Tensor] = []

    def forward(self, generated: Tensor) -> Tensor:
        """Give pictures for a discriminator in exchange for new ones.

        A picture is kept and returned until the pool is full; from then on, with probability 1/2, it takes the place of
        a kept one, which is returned instead.

        Args:
            generated: new pictures (B, C, H, W).

        Returns:
            Pictures of the same shape, without gradients.
        """
        chosen = []
        for picture in generated.detach().clone().unbind():
            if len(self._pictures) < self.size:
                self._pictures.append(picture)
            elif torch.rand(()) < 0.5:
                i = int(torch.randint(self.size, ()))
                self._pictures[i], picture = picture, self._pictures[i].to(picture.device)
            chosen.append(picture)
        return torch.stack(chosen)

    def get_extra_state(self) -> Tensor:
        """Return the pictures (N, C, H, W), for a checkpoint, which holds tensors alone."""
        return torch.stack([p.cpu() for p in self._pictures]) if self._pictures else torch.empty(0)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the pictures of a checkpoint."""
        self._pictures = [*state.unbind()]
