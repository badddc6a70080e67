"""HDR-VQM: how unevenly the errors of log-Gabor bands spread over blocks and short runs of frames."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vitm.color import luminance, pq_eotf
from vitm.metrics.functional.code import check_clips, code_pair
from vitm.metrics.functional.pu08 import pu08
from vitm.ops.resize import resize_bicubic

_SIZE = (512, 896)  # every frame is brought to it
_BLOCK = 64
BLOCKS = (_SIZE[0] // _BLOCK) * (_SIZE[1] // _BLOCK)
_SCALES, _ORIENTATIONS = 5, 4
_LUMINANCE = (0.03, 4500.0)  # cd/m2, the SIM2 display of the experiments
_FIXATION_S = 0.6
_KEPT = 0.3


@lru_cache(maxsize=4)
def _gabor_bank(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the log-Gabor filters on the grid of `torch.fft.fft2`, (5, 4, 512, 896), real."""
    with torch.inference_mode(False):  # the cached tensor must serve graphs later
        y, x = (2 * torch.fft.fftfreq(size, dtype=torch.float64) for size in _SIZE)  # 1 = Nyquist
        radius = torch.hypot(y[:, None], x)
        radius[0, 0] = 1.0
        direction = torch.atan2(y[:, None], x)
        scales = torch.arange(_SCALES, dtype=torch.float64).view(-1, 1, 1, 1)
        centre = 2 / (3 * 3**scales)  # wavelengths of 3, 9, ... 243 pixels
        radial = torch.exp(-(torch.log(radius / centre) ** 2) / (2 * math.log(0.55) ** 2))
        radial[..., 0, 0] = 0.0
        angles = torch.arange(_ORIENTATIONS, dtype=torch.float64).view(-1, 1, 1) * (math.pi / _ORIENTATIONS)
        away = torch.remainder(direction - angles + math.pi, 2 * math.pi) - math.pi
        sigma = math.pi / _ORIENTATIONS / 1.5
        return (radial * torch.exp(-(away**2) / (2 * sigma**2))).to(device, dtype)


def _spectrum(frame: Tensor) -> Tensor:
    """Return the spectrum (512, 896) of what the display shows, in PU code, from PQ codes (3, H, W)."""
    shown = luminance(pq_eotf(frame)).clamp(*_LUMINANCE)
    encoded = resize_bicubic(pu08(shown), size=_SIZE).view(_SIZE)
    # No filter passes the mean; without it fp32 keeps the digits of the rest.
    spectrum: Tensor = torch.fft.fft2(encoded - encoded.mean())
    return spectrum


def _error_map(pred: Tensor, target: Tensor) -> Tensor:
    """Return 20 minus the similarity summed over the 20 bands, (512, 896), of two frames (3, H, W)."""
    # Each by itself: in one batch, equal frames would differ by the rounding of vector instructions.
    spectra = _spectrum(pred), _spectrum(target)
    error = torch.zeros(_SIZE, dtype=pred.dtype, device=pred.device)
    for filters in _gabor_bank(pred.dtype, pred.device):
        a, b = (torch.fft.ifft2(spectrum * filters).abs() for spectrum in spectra)
        # 1 - (2ab + 0.2) / (a^2 + b^2 + 0.2), without the cancellation
        error = error + ((a - b) ** 2 / (a**2 + b**2 + 0.2)).sum(dim=0)
    return error


def _lowest(values: Tensor, share: float) -> Tensor:
    """Return the mean of the lowest 1 + round(share * (K - 1)) values of dimension 0; nan where one is nan."""
    count = 1 + math.floor(share * (len(values) - 1) + 0.5)
    lowest = values.sort(dim=0).values[:count].mean(dim=0)
    return lowest.masked_fill(values.isnan().any(dim=0), math.nan)  # sorting puts nan last


def frame_statistics(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the statistics that HDR-VQM takes of each frame, the first half of `hdr_vqm`.

    Args:
        pred: (T, 3, H, W), BT.2020 PQ codes, fp32 or fp64.
        target: the same shape.

    Returns:
        Mean and centred sum of squares of the error map over each of its 64x64 blocks, (T, 2, 112), and the similarity
        of the frames, (T,), see `hdr_vqm_image`. Both in fp64.
    """
    blocks, images = [], []
    for error in map(_error_map, pred, target):  # one frame at a time: a scale of bands takes 30 MB
        tiles = error.double().view(_SIZE[0] // _BLOCK, _BLOCK, _SIZE[1] // _BLOCK, _BLOCK).transpose(1, 2).flatten(2)
        mean = tiles.mean(dim=-1, keepdim=True)
        blocks.append(torch.stack((mean, (tiles - mean).square().sum(dim=-1, keepdim=True))).view(2, BLOCKS))
        similarity = _SCALES * _ORIENTATIONS - error.double()
        images.append(_lowest(_lowest(similarity, 0.5), 0.5))
    return torch.stack(blocks), torch.stack(images)


def pool_runs(statistics: Tensor, frames: int) -> Tensor:
    """Return a clip's HDR-VQM from the statistics of its frames, the second half of `hdr_vqm`.

    Args:
        statistics: statistics that `frame_statistics` returns, (T, 2, 112).
        frames: length of a run.

    Returns:
        A scalar.
    """
    total = len(statistics)
    run = min(frames, total)
    starts = range(0, total - run, run) or range(1)
    spreads = []
    for start in starts:
        means, squares = statistics[start : start + run].unbind(dim=1)
        # Spread over the run's 64 x 64 x n values: within its frames and between them.
        between = _BLOCK**2 * (means - means.mean(dim=0)).square().sum(dim=0)
        variance = (squares.sum(dim=0) + between) / (_BLOCK**2 * run - 1)
        flat = variance <= 0
        spreads.append(variance.masked_fill(flat, 1.0).sqrt().masked_fill(flat, 0.0))  # slope 0, not infinite, at 0
    return _lowest(_lowest(torch.stack(spreads, dim=1), _KEPT), _KEPT)


def run_length(fps: float, frames: int | None) -> int:
    """Return the number of frames of a run: `frames`, or as many as last 0.6 s.

    Raises:
        ValueError: if the rate or the length is not positive.
    """
    if frames is None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be positive, got {fps}")
        return math.ceil(_FIXATION_S * fps - 1e-9)
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    return frames


def hdr_vqm(pred: Tensor, target: Tensor, fps: float = 25.0, frames: int | None = None) -> Tensor:
    """Return the HDR-VQM of each clip (Narwaria, Perreira Da Silva & Le Callet 2015; release 2, MIT licence).

    Luminance as shown, in [0.03, 4500] cd/m2; PU code; 512x896 pixels; log-Gabor bands of 5 scales and 4 orientations;
    similarity of their magnitudes, summed; standard deviation over tubes of 64x64 pixels and a run of frames; mean of
    the lowest 30 % of the blocks of a run, and of the runs.

    Convention:
        - Luminance has BT.2020 weights (the release computes it with BT.709's, for BT.709 files).
        - Runs are counted as the release counts them: a run that ends with the clip's last frame is left out, with
          whatever follows the last whole run. Where that leaves none, T <= n, the release fails; here the clip is one
          run of T frames, and its value should be named so.
        - The value hardly moves with uniform gain or flicker: report it beside others.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 (computed in fp32) or fp64.
        target: the same shape.
        fps: frames a second; a run lasts 0.6 s.
        frames: length of a run, in place of `fps`.

    Returns:
        (B,) in fp64. Lower is better, 0 for identical clips. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, and if `fps` or `frames` is not positive.

    Example:
        >>> import torch
        >>> clip = torch.rand(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> hdr_vqm(clip, clip).item()
        0.0
    """
    run = run_length(fps, frames)
    pred, target = code_pair(pred, target, keep_dtype=True)
    check_clips(pred, "HDR-VQM", least=1)
    clips = zip(pred, target, strict=True)
    return torch.stack([pool_runs(frame_statistics(x, y)[0], run) for x, y in clips])


def hdr_vqm_image(pred: Tensor, target: Tensor) -> Tensor:
    """Return HDR-VQM's similarity of single frames: its map pooled over rows, then columns, as the release does.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 (computed in fp32) or fp64.
        target: the same shape.

    Returns:
        (B,) or (B, T) in fp64. Higher is better, 20 for identical frames. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form.

    Example:
        >>> import torch
        >>> frame = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> hdr_vqm_image(frame, frame).item()
        20.0
    """
    pred, target = code_pair(pred, target, keep_dtype=True)
    return frame_statistics(pred.flatten(0, -4), target.flatten(0, -4))[1].view(pred.shape[:-3])
