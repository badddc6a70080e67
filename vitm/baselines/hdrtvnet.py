"""HDRTVNet: global colour mapping, then a residual network, then perhaps highlights."""

from __future__ import annotations

from torch import Tensor, nn

from vitm.baselines.hdrtvnet_plus import AGCM
from vitm.baselines.highlights import HighlightGeneration, over_exposure
from vitm.baselines.srresnet import SRResNet


class HDRTVNet(nn.Module):
    """AGCM and the first version's local enhancement, an SRResNet; then highlight generation where it is asked for.

    Chen et al., "A New Journey from SDRTV to HDRTV", ICCV 2021. With the default arguments 1,405,110 parameters, which
    most tables print; with `highlights=64` all three stages, 38,199,310. KPN-MFI's table prints 38.1977 M, of three
    conditions instead of six and without the instance normalisations.

    Convention: any height and width of at least 32.

    Args:
        width: number of channels of the local enhancement.
        blocks: number of its residual blocks.
        highlights: number of channels of the highlight generation, 64 as published; 0: none.
    """

    def __init__(self, width: int = 64, blocks: int = 16, highlights: int = 0) -> None:
        super().__init__()
        self.agcm, self.le = AGCM(), SRResNet(width=width, blocks=blocks)
        self.hg = HighlightGeneration(highlights) if highlights else None

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
        return hdr_pq if self.hg is None else self.hg(hdr_pq, over_exposure(sdr))
