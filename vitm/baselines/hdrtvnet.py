"""HDRTVNet: global colour mapping, then a residual network."""

from __future__ import annotations

from torch import Tensor, nn

from vitm.baselines.hdrtvnet_plus import AGCM
from vitm.baselines.srresnet import SRResNet


class HDRTVNet(nn.Module):
    """AGCM and the first version's local enhancement, an SRResNet, as the papers' tables have it.

    Chen et al., "A New Journey from SDRTV to HDRTV", ICCV 2021, without its third stage, which fills highlights. With
    the default arguments 1,405,110 parameters.

    Convention: any height and width of at least 32.

    Args:
        width: number of channels of the local enhancement.
        blocks: number of its residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.agcm, self.le = AGCM(), SRResNet(width=width, blocks=blocks)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 32.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        hdr_pq: Tensor = self.le(self.agcm(sdr))
        return hdr_pq
