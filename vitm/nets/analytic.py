"""Analytic inverse tone mapping as networks: what a user has without any training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from vitm.color import (
    DIFFUSE_WHITE_NITS,
    bt709_to_bt2020,
    bt1886_eotf,
    inverse_tone_map,
    luminance,
    pq_inverse_eotf,
)
from vitm.ops.bilateral_grid import bilateral_grid_filter
from vitm.ops.tiling import map_rows

_BAND = 2**18  # pixels that are converted at once on the CPU: steps of the operator then meet in its cache
_EXPOSED, _EDGE = bt1886_eotf(torch.tensor([230 / 255, 25 / 255])).tolist()  # of Kovaleski and Oliveira, in light
_DARK = 1e-6  # what the HDR Toolbox adds to luminance before logarithms, and where it divides by it


class Analytic(nn.Module):
    """An operator of `vitm.color.inverse_tone_map` with the calling convention of the networks.

    Args:
        method: a name of `vitm.color.METHODS`.
        peak_nits: display peak that the operator expands to, cd/m2.
        gain: factor on the light that comes out.
    """

    colors_by_scene = False

    def __init__(self, method: str, peak_nits: float = 1000.0, gain: float = 1.0) -> None:
        super().__init__()
        self.method, self.peak_nits, self.gain = method, peak_nits, gain

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert sdr (..., 3, H, W), BT.709 gamma code in [0, 1], to hdr_pq of the same shape, BT.2020 PQ code."""
        if sdr.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._convert(sdr)
        return map_rows(self._convert, [sdr], halo=0, band=max(1, _BAND // sdr.shape[-1]))

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the operator itself, see `vitm.nets.interface.ColorMapNetwork`."""
        return self

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


class HuoPhysEO(nn.Module):
    """Inverse tone mapping by the inverse of the retina's local adaptation.

    Huo et al., "Physiological inverse tone mapping based on retina response", The Visual Computer 2014, as the HDR
    Toolbox has it (`HuoPhysEO`): L' = L / L_max (S^n + sigma^n)^(1 / n), with S the luminance after two passes of the
    bilateral filter, 16 pixels and 0.3, then 10 and 0.1, and sigma its logarithmic mean, both times the peak.

    Convention: L is relative light of a BT.1886 display (the toolbox leaves its gamma to the caller); colours keep the
    ratios of R, G and B. White lies above `peak_nits` by the share of sigma. L_max and sigma are those of the frame.

    Args:
        peak_nits: luminance that the operator expands to, cd/m2.
        exponent: n.
    """

    def __init__(self, peak_nits: float = 1000.0, exponent: float = 0.86) -> None:
        super().__init__()
        self.peak_nits, self.exponent = peak_nits, exponent

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert sdr (..., 3, H, W), BT.709 gamma code in [0, 1], to hdr_pq of the same shape, BT.2020 PQ code."""
        rgb = bt1886_eotf(sdr.reshape(-1, *sdr.shape[-3:])).clamp(0, 1)
        y = luminance(rgb, "bt709")
        smooth = bilateral_grid_filter(y, y, sigma_px=16, sigma_edges=0.3)
        smooth = bilateral_grid_filter(smooth, smooth, sigma_px=10, sigma_edges=0.1)
        mean = (y + _DARK).log().mean((1, 2, 3), keepdim=True).exp()
        n, most = self.exponent, y.amax((1, 2, 3), keepdim=True)
        gain = (smooth.clamp(min=0) ** n + mean**n) ** (1 / n) / most.clamp(min=_DARK)  # L' / (L peak)
        return pq_inverse_eotf(self.peak_nits * bt709_to_bt2020(gain * rgb)).view_as(sdr)


class KovaleskiOliveira(nn.Module):
    """Inverse tone mapping that enhances the surroundings of what is over-exposed, up to its edges.

    Kovaleski and Oliveira, "High-Quality Reverse Tone Mapping for a Wide Range of Exposures", SIBGRAPI 2014, as the HDR
    Toolbox has it (`KovaleskiOliveiraEO`, "video"): pixels with a channel above 230 / 255 are 1, others 0; the cross
    bilateral filter spreads this along the luminance, 150 pixels and 25 / 255; light is scaled to the display's range
    and multiplied by 1 + 3 times the result.

    Convention: as the toolbox does, the threshold and the filter's deviation are raised to the display's exponent
    (here BT.1886's 2.4) together with the frame. Over-exposed white comes to 4 times `white_nits`.

    Args:
        white_nits: luminance of SDR white before enhancement, cd/m2.
        black_nits: luminance of SDR black, cd/m2.
        sigma_px: the filter's deviation over pixels, made for frames of 1920 x 1080.
    """

    def __init__(self, white_nits: float = 1200.0, black_nits: float = 0.3, sigma_px: float = 150.0) -> None:
        super().__init__()
        self.white_nits, self.black_nits, self.sigma_px = white_nits, black_nits, sigma_px

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert sdr (..., 3, H, W), BT.709 gamma code in [0, 1], to hdr_pq of the same shape, BT.2020 PQ code."""
        rgb = bt1886_eotf(sdr.reshape(-1, *sdr.shape[-3:])).clamp(0, 1)
        y = luminance(rgb, "bt709")
        exposed = (rgb.amax(1, keepdim=True) > _EXPOSED).float()
        enhancement = 1 + 3 * bilateral_grid_filter(exposed, y, self.sigma_px, _EDGE)
        nits = (y * (self.white_nits - self.black_nits) + self.black_nits) * enhancement
        return pq_inverse_eotf(bt709_to_bt2020(nits / y.clamp(min=_DARK) * rgb)).view_as(sdr)
