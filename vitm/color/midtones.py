"""The level of a picture: where its mid-tones lie, against SDR shown with its white at 203 cd/m2 (BT.2408)."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color.gamut import luminance
from vitm.color.tone import DIFFUSE_WHITE_NITS
from vitm.color.transfer import bt1886_eotf, pq_eotf, pq_inverse_eotf

_MIDTONES = 0.05, 0.5  # light relative to SDR white: neither noise nor compressed highlights
_CLIPS = 0.95  # code from which a channel may clip


def midtone_stops(hdr_pq: Tensor, sdr: Tensor) -> Tensor:
    """Return how bright mid-tones came out, against SDR with its white at 203 cd/m2: log2 of the ratio of light.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 PQ code.
        sdr: the same shape, BT.709 gamma code in [0, 1].

    Returns:
        (N,), stops, of the pixels whose SDR luminance is 5 to 50 % of white and of which no channel clips.
    """
    before, after, usable = _midtones(hdr_pq, sdr)
    return (after[usable] / before[usable]).log2()


def level_normalised(hdr_pq: Tensor, sdr: Tensor, stride: int = 1) -> Tensor:
    """Return the HDR picture with its mid-tones where those of the SDR lie when its white is shown at 203 cd/m2.

    SDR does not tell the level of a scene, so a network that learns from such targets spends nothing on it.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 PQ code; all leading dimensions are frames of one clip and share the gain.
        sdr: the same shape, BT.709 gamma code in [0, 1].
        stride: distance of the rows and columns that the level is measured on; 1 for all.

    Returns:
        The same shape, PQ code in [0, 1]; a picture without mid-tones is returned as it is.
    """
    before, after, usable = _midtones(hdr_pq[..., ::stride, ::stride], sdr[..., ::stride, ::stride])
    stops = torch.where(usable, (after / before).log2(), torch.nan).flatten()
    # Of one dimension: the median of a whole tensor asks the host how many are nan. Without mid-tones it is nan itself.
    gain = torch.exp2(-stops.nanmedian(0).values.nan_to_num())
    return pq_inverse_eotf((gain * pq_eotf(hdr_pq)).clamp(max=10_000))


def _midtones(hdr_pq: Tensor, sdr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return luminance of the SDR and of the HDR, both relative to white, and whether a pixel is a mid-tone."""
    before = luminance(bt1886_eotf(sdr), "bt709")
    after = luminance(pq_eotf(hdr_pq)) / DIFFUSE_WHITE_NITS
    low, high = _MIDTONES
    usable = (before > low) & (before < high) & (sdr.amax(dim=-3, keepdim=True) < _CLIPS) & (after > 0)
    return before, after, usable
