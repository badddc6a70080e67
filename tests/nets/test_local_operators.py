"""HuoPhysEO and Kovaleski and Oliveira's operator, written out in NumPy as the HDR Toolbox has them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from vitm.color import bt709_to_bt2020, pq_eotf
from vitm.metrics.functional import psnr
from vitm.nets.analytic import HuoPhysEO, KovaleskiOliveira
from vitm.ops.bilateral_grid import bilateral_grid_filter
from vitm.video import FrameReader


def smoothed(data, edge, sigma_px, sigma_edges):
    """The bilateral grid with dictionaries for cells: nearest cell in, Gaussian of 27 cells, trilinear out."""
    sums = {}
    places = np.stack([*np.indices(data.shape) / sigma_px, edge / sigma_edges], -1)
    for at, value in zip(places.reshape(-1, 3), data.ravel(), strict=True):
        cell = sums.setdefault(tuple(np.floor(at + 0.5).astype(int)), np.zeros(2))
        cell += (value, 1)

    def blurred(cell):
        total = np.zeros(2)
        for step in product((-1, 0, 1), repeat=3):
            neighbour = sums.get(tuple(np.add(cell, step)), np.zeros(2))
            total += np.exp(-0.5 * np.sum(np.square(step))) * neighbour
        return total[0] / total[1] if total[1] else 0.0

    out = np.zeros(data.size)
    for i, at in enumerate(places.reshape(-1, 3)):
        low = np.floor(at)
        for step in product((0, 1), repeat=3):
            weight = np.prod(np.where(step, at - low, 1 - at + low))
            out[i] += weight * blurred((low + step).astype(int)) if weight else 0
    return out.reshape(data.shape)


@pytest.fixture
def sdr(rng):
    """A frame with edges, white and black."""
    coarse = torch.rand(1, 3, 5, 6, generator=rng)
    frame = torch.nn.functional.interpolate(coarse, size=(19, 23)) + 0.05 * torch.rand(1, 3, 19, 23, generator=rng)
    frame[..., :6, :7], frame[..., -4:, -3:] = 1, 0
    return frame.clamp(0, 1)


def light(sdr):
    rgb = sdr[0].double().numpy() ** 2.4
    return rgb, np.tensordot([0.2126, 0.7152, 0.0722], rgb, 1)


def assert_light(hdr_pq, rgb_nits):
    expected = bt709_to_bt2020(torch.from_numpy(rgb_nits))
    torch.testing.assert_close(pq_eotf(hdr_pq[0].double()), expected, rtol=2e-3, atol=2e-3)


def test_grid_filter(sdr, rng):
    x, edges = torch.rand(2, 1, 1, 11, 14, generator=rng)
    for sigma_px, sigma_edges in ((3.5, 0.23), (40.0, 0.5), (2.0, 1.5)):
        expected = smoothed(x[0, 0].double().numpy(), edges[0, 0].double().numpy(), sigma_px, sigma_edges)
        out = bilateral_grid_filter(x, edges, sigma_px, sigma_edges)
        np.testing.assert_allclose(out[0, 0].numpy(), expected, atol=1e-5)
    with pytest.raises(ValueError, match="positive deviations"):
        bilateral_grid_filter(x, edges, 0, 1)


@pytest.mark.slow
def test_huo(sdr):
    rgb, y = light(sdr)
    smooth = smoothed(y, y, 16, 0.3)
    smooth = smoothed(smooth, smooth, 10, 0.1)
    sigma = 1000 * np.exp(np.log(y + 1e-6).mean())
    expanded = y / y.max() * ((1000 * smooth) ** 0.86 + sigma**0.86) ** (1 / 0.86)
    assert_light(HuoPhysEO()(sdr), np.where(y > 0, expanded / np.maximum(y, 1e-12), 0) * rgb)


def test_kovaleski(sdr):
    rgb, y = light(sdr)
    exposed = (rgb.max(0) > (230 / 255) ** 2.4).astype(float)
    assert 0 < exposed.mean() < 1
    enhancement = 1 + 3 * smoothed(exposed, y, 5.0, (25 / 255) ** 2.4)
    nits = (y * (1200 - 0.3) + 0.3) * enhancement
    out = KovaleskiOliveira(sigma_px=5.0)(sdr)
    assert_light(out, nits / np.maximum(y, 1e-6) * rgb)
    assert float(pq_eotf(out[..., 0, 0]).max()) == pytest.approx(4800, rel=0.01)


@pytest.mark.parametrize("operator", [HuoPhysEO(), KovaleskiOliveira()])
def test_any_shape(operator, sdr):
    """Frames of clips one by one, a frame alone, all black."""
    clip = torch.stack((sdr, 0.5 * sdr), 1)
    out = operator(clip)
    torch.testing.assert_close(out[:, 0], operator(sdr), rtol=0, atol=1e-5)
    torch.testing.assert_close(out[0, 1], operator(0.5 * sdr[0]), rtol=0, atol=1e-5)
    assert float(operator(torch.zeros(3, 1, 1)).abs().max()) < 1e-6


def test_on_a_real_pair(shared):
    """About 26.5 and 18.7 dB on pair `a`, which were measured elsewhere with the toolbox's constants."""
    readers = [FrameReader(shared / f"data/pairs/a_{side}.mp4") for side in ("sdr", "hdr10")]
    values = []
    for pair in zip(*(reader.read([0, 48, 96, 144]) for reader in readers), strict=True):
        sdr, hdr_pq = (torch.from_numpy(frame.rgb).movedim(2, 0)[None] for frame in pair)
        values.append([float(psnr(f(sdr).clamp(0, 1), hdr_pq)) for f in (HuoPhysEO(), KovaleskiOliveira())])
    assert np.mean(values, 0).tolist() == pytest.approx([26.5, 18.7], abs=0.7)
