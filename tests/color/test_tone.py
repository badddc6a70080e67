"""Tone operators against oracles that follow the reports step by step, and against their own promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.reference import color as reference
from vitm import color
from vitm.color import METHODS, inverse_tone_map, tone_map
from vitm.color.tone import method_c_parameters

PEAKS = [400.0, 1000.0, 4000.0]


def row(pixels: np.ndarray) -> Tensor:
    """(N, 3) -> (3, 1, N)."""
    return torch.tensor(pixels.T).unsqueeze(1)


def pixels(x: Tensor) -> np.ndarray:
    """(3, 1, N) -> (N, 3)."""
    return x.squeeze(1).T.numpy()


@pytest.fixture
def sdr(rng: torch.Generator) -> Tensor:
    """Every 1/8 of the BT.709 cube, and random colours."""
    lattice = torch.cartesian_prod(*[torch.linspace(0, 1, 9, dtype=torch.float64)] * 3).T
    return torch.cat((lattice, torch.rand(3, 2000, generator=rng, dtype=torch.float64)), dim=1).unsqueeze(1)


@pytest.fixture
def hdr_nits(rng: torch.Generator) -> np.ndarray:
    """Random BT.2020 colours of up to 1000 cd/m2, black and greys."""
    colours = 1000 * torch.rand(2000, 3, generator=rng, dtype=torch.float64) ** 4
    greys = torch.linspace(0, 1000, 101, dtype=torch.float64).unsqueeze(1).expand(-1, 3)
    return torch.cat((colours, greys)).numpy()


def displayed(code2020: np.ndarray) -> np.ndarray:
    """SDR R'G'B' in BT.2020 -> the BT.709 code that `tone_map` gives."""
    linear = color.bt2020_to_bt709(row(np.maximum(code2020, 0) ** 2.4)).clamp(0, 1)
    return pixels(linear ** (1 / 2.4))


@pytest.mark.parametrize("peak", PEAKS)
def test_bt2446a_follows_the_report(hdr_nits: np.ndarray, peak: float) -> None:
    hdr_nits = hdr_nits * (peak / 1000)
    ours = tone_map(color.pq_inverse_eotf(row(hdr_nits)), "bt2446a", peak)
    # The root near code 0 magnifies the printed five digits of BT.2020's chroma matrix: compare light.
    np.testing.assert_allclose(pixels(ours) ** 2.4, displayed(reference.bt2446a(hdr_nits, peak)) ** 2.4, atol=5e-5)


def test_bt2446a_inverse_follows_the_report(sdr: Tensor) -> None:
    code2020 = pixels(color.bt709_to_bt2020(sdr**2.4) ** (1 / 2.4))
    ours = pixels(color.pq_eotf(inverse_tone_map(sdr, "bt2446a")))
    np.testing.assert_allclose(ours, reference.bt2446a_inverse(code2020), rtol=1e-4, atol=1e-2)


def test_bt2446c_parameters_are_the_printed_ones() -> None:
    k1, k2, k3, k4, inflection = method_c_parameters(1000.0)
    assert (round(k2, 4), round(k3, 5), round(k4, 5)) == (15.0997, 0.74204, 78.99439)
    assert k1 == pytest.approx(0.83802, abs=5e-6)
    assert k1 * inflection == pytest.approx(58.5, abs=0.05)


def test_bt2446c_follows_the_report(hdr_nits: np.ndarray) -> None:
    hdr_nits = hdr_nits[hdr_nits.sum(-1) > 0]  # x and y of black are undefined
    expected = color.bt2020_to_bt709(row(reference.bt2446c(hdr_nits, alpha=0.05) / 100)).clamp(0, 1)
    ours = tone_map(color.pq_inverse_eotf(row(hdr_nits)), "bt2446c")
    np.testing.assert_allclose(pixels(ours) ** 2.4, pixels(expected), atol=6e-4)  # 58.5 is 58.535 rounded


def test_hable_and_reinhard_on_grey() -> None:
    grey = np.linspace(0, 1000, 1001)
    pq = color.pq_inverse_eotf(row(np.stack([grey] * 3, axis=-1)))
    np.testing.assert_allclose(
        pixels(tone_map(pq, "hable"))[:, 0] ** 2.4, reference.hable(grey / 1000 * 11.2), atol=1e-9
    )
    expected = reference.reinhard(grey / 203, white=1000 / 203)
    np.testing.assert_allclose(pixels(tone_map(pq, "reinhard"))[:, 1] ** 2.4, expected, atol=1e-9)


def test_clip_puts_white_at_203_nits() -> None:
    """BT.2408: HDR Reference White is 58 % PQ."""
    white = inverse_tone_map(torch.ones(3, 1, 1), "clip")
    torch.testing.assert_close(white, torch.full((3, 1, 1), 0.58), atol=1e-3, rtol=0)
    assert torch.equal(tone_map(torch.full((3, 1, 1), 0.9), "clip"), torch.ones(3, 1, 1))


@pytest.mark.parametrize("peak", PEAKS)
@pytest.mark.parametrize("method", METHODS)
def test_round_trip(method: str, peak: float, sdr: Tensor) -> None:
    """1e-8 in fp64 where the inverse is exact, on light.

    BT.2446 A at 1000 cd/m2 is a fit; solved at other peaks it has the gap of 6e-4 between the printed pieces.
    """
    error = (tone_map(inverse_tone_map(sdr, method, peak), method, peak) ** 2.4 - sdr**2.4).abs()
    if method != "bt2446a":
        assert error.max() < 1e-8
    elif peak == 1000:
        assert error.mean() < 0.03
    else:
        assert error.max() < 2e-3
        assert error.mean() < 1e-5


@pytest.mark.parametrize("peak", PEAKS)
@pytest.mark.parametrize("method", METHODS)
def test_grey_stays_grey_and_rises(method: str, peak: float) -> None:
    grey = torch.linspace(0, 1, 1025, dtype=torch.float64).expand(3, 1, -1)
    hdr_pq = inverse_tone_map(grey, method, peak)
    back = tone_map(hdr_pq, method, peak)
    for x in (hdr_pq, back):
        assert (x - x[:1]).abs().max() < 1e-9
        assert (x.diff(dim=-1) > 0).all()
    assert (back - grey).abs().max() < (0.012 if method == "bt2446a" else 1e-6)
    compressed = tone_map(grey, method, peak)
    assert (compressed.diff(dim=-1) >= 0).all()
    assert compressed.max() == 1


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("bt2446c", "clip")])
@pytest.mark.parametrize("peak", PEAKS)
def test_peak_is_sdr_white(method: str, peak: float) -> None:
    nits = color.pq_eotf(inverse_tone_map(torch.ones(3, 1, 1, dtype=torch.float64), method, peak))
    torch.testing.assert_close(nits, torch.full_like(nits, peak), rtol=1e-3, atol=0)
    white = tone_map(color.pq_inverse_eotf(torch.full((3, 1, 1), peak, dtype=torch.float64)), method, peak)
    torch.testing.assert_close(white, torch.ones_like(white))


@pytest.mark.parametrize("function", [tone_map, inverse_tone_map])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("peak", [100.0, 400.0, 1000.0, 10_000.0])
def test_values_and_gradients_are_finite(function: object, method: str, peak: float, rng: torch.Generator) -> None:
    assert callable(function)
    edge = torch.tensor([-10.0, -1e-45, 0.0, 1e-45, 1e-38, 1e-6, 0.5, 1.0, 1.5, 1e6])
    cube = torch.cartesian_prod(edge, edge, edge).T
    x = torch.cat((cube, torch.rand(3, 500, generator=rng)), dim=1).unsqueeze(1).requires_grad_()
    y = function(x, method, peak)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all()
    assert y.min() >= 0
    assert y.max() <= 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_shapes_and_precision(method: str, rng: torch.Generator) -> None:
    clip = torch.rand(2, 3, 3, 4, 5, generator=rng)
    hdr_pq = inverse_tone_map(clip, method)
    assert hdr_pq.shape == clip.shape
    torch.testing.assert_close(hdr_pq[1, 2], inverse_tone_map(clip[1, 2], method))
    torch.testing.assert_close(hdr_pq.double(), inverse_tone_map(clip.double(), method), atol=1e-5, rtol=0)
    assert tone_map(clip.bfloat16(), method).dtype == torch.float32


def test_errors() -> None:
    with pytest.raises(ValueError, match="reinhard"):
        tone_map(torch.zeros(3, 1, 1), "drago")
    with pytest.raises(ValueError, match="peak_nits"):
        inverse_tone_map(torch.zeros(3, 1, 1), "hable", 20_000)
    with pytest.raises(ValueError, match="3, H, W"):
        inverse_tone_map(torch.zeros(1, 1, 4, 4))
    with pytest.raises(TypeError, match="floating point"):
        tone_map(torch.zeros(3, 1, 1, dtype=torch.uint16))
