"""Analytic inverse tone mapping as networks: what a user has without any training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitm.color import DIFFUSE_WHITE_NITS, bt709_to_bt2020, bt1886_eotf, inverse_tone_map, pq_inverse_eotf
from vitm.ops.tiling import map_rows

_BAND = 2**18  # pixels that are converted at once on the CPU: steps of the operator then meet in its cache


class Analytic(nn.Module):
    """An operator of `vitm.color.inverse_tone_map` with the calling convention of the networks.

    Args:
        method: a name of `vitm.color.METHODS`.
        peak_nits: display peak that the operator expands to, cd/m2.
        gain: factor on the light that comes out.
    """

    def __init__(self, method: str, peak_nits: float = 1000.0, gain: float = 1.0) -> None:
        super().__init__()
        self.method, self.peak_nits, self.gain = method, peak_nits, gain

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert sdr (..., 3, H, W), BT.709 gamma code in [0, 1], to hdr_pq of the same shape, BT.2020 PQ code."""
        if sdr.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._convert(sdr)
        return map_rows(self._convert, [sdr], halo=0, band=max(1, _BAND // sdr.shape[-1]))

    def _convert(self, sdr: Tensor) -> Tensor:
        return inverse_tone_map(sdr.contiguous(), method=self.method, peak_nits=self.peak_nits, gain=self.gain)


class Gain(nn.Module):
    """BT.1886 light times one gain, BT.2020 primaries, PQ: no expansion, only a level.

    Args:
        white_nits: luminance of SDR white, cd/m2.
    """

    def __init__(self, white_nits: float = DIFFUSE_WHITE_NITS) -> None:
        super().__init__()
        self.white_nits = white_nits

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert sdr (..., 3, H, W), BT.709 gamma code in [0, 1], to hdr_pq of the same shape, BT.2020 PQ code."""
        return pq_inverse_eotf(self.white_nits * bt709_to_bt2020(bt1886_eotf(sdr)))
