"""The family of SDR productions, against formulas written again from their sources."""

from __future__ import annotations

import math

import pytest
import torch

from vitm.color import bt709_to_bt2020, bt1886_eotf, luminance, pq_inverse_eotf, tone_map
from vitm.data.production import PRODUCTIONS, Production, produce, random_production


def ramp(top=4.0, count=256):
    """Grey of 0 to `top` times 203 cd/m2, (3, 1, count)."""
    return (torch.linspace(0, top, count) * 203).expand(3, 1, count).contiguous()


def test_clipping_is_bt1886_of_light_below_white():
    nits = ramp()
    expected = ((nits / 203).clamp(0, 1) ** (1 / 2.4) * 255).round() / 255
    torch.testing.assert_close(produce(nits, PRODUCTIONS["clip"]), expected, atol=1 / 255 + 1e-6, rtol=0)


def test_mobius_is_ffmpegs():
    """vf_tonemap.c's formula: straight to j, then (b^2 + 2bj + j^2)/(b - a) * (x + a)/(x + b)."""
    nits, peak, j = ramp(4.9), 1000.0, 0.3
    x, top = nits / 100, peak / 100
    a = -j * j * (top - 1) / (j * j - 2 * j + top)
    b = (j * j - 2 * j * top + top) / max(top - 1, 1e-6)
    y = torch.where(x <= j, x, (b * b + 2 * b * j + j * j) / (b - a) * (x + a) / (x + b))
    code = torch.where(y < 0.018, 4.5 * y, 1.099 * y.clamp(min=1e-9) ** 0.45 - 0.099)
    assert float((produce(nits, PRODUCTIONS["mobius"], peak) - code).abs().max()) <= 0.5 / 255 + 1e-4


def test_methods_of_bt2446_are_those_of_color():
    nits = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1)) * 900
    for name in ("bt2446a", "bt2446c"):
        expected = tone_map(pq_inverse_eotf(nits), name, peak_nits=1000.0)
        assert float((produce(nits, PRODUCTIONS[name], 1000.0) - expected).abs().max()) <= 0.5 / 255 + 2e-3


@pytest.mark.parametrize("name", PRODUCTIONS)
def test_greys_stay_in_order_and_grey(name):
    sdr = produce(ramp(), PRODUCTIONS[name])
    assert sdr.shape == (3, 1, 256)
    assert float(sdr.min()) >= 0
    assert float(sdr.max()) <= 1
    assert (sdr.diff(dim=-1) >= 0).all()
    assert float((sdr - sdr[:1]).abs().max()) <= 1.01 / 255
    assert torch.equal((sdr * 255).round() / 255, sdr)


def test_the_exposure_belongs_to_the_clip():
    """A key puts the log-average of all frames at its level; a frame alone would be brighter."""
    nits = torch.stack([torch.full((3, 4, 4), 10.0), torch.full((3, 4, 4), 1000.0)])
    production = Production("clip", exposure="key", level=0.1)
    light = bt1886_eotf(produce(nits, production))
    assert float(light[0, 0, 0, 0]) == pytest.approx(0.1 * 10 / 100, rel=0.1)
    assert float(light[1].max()) == 1.0
    share = Production("clip", exposure="percentile", level=0.9)
    clipped = produce(torch.arange(1.0, 101).view(1, 10, 10).expand(3, 10, 10).contiguous(), share)
    assert int((clipped[0] == 1).sum()) == 10


def test_local_operator_flattens_areas_and_keeps_detail():
    left, right = torch.full((3, 64, 64), 5.0), torch.full((3, 64, 64), 500.0)
    nits = torch.cat([left, right], dim=-1)
    plain = Production("log", bend=1.0)
    flat = Production("log", bend=1.0, base_contrast=0.5)
    spread = [float(s[0, 32, 120] - s[0, 32, 8]) for s in (produce(nits, plain), produce(nits, flat))]
    assert spread[1] < 0.8 * spread[0]


@pytest.mark.slow
def test_random_productions_repeat_and_differ():
    draws = [random_production(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    generator = torch.Generator().manual_seed(0)
    drawn = [random_production(generator) for _ in range(300)]
    assert {p.curve for p in drawn} == {
        "clip",
        "reinhard",
        "mobius",
        "hable",
        "filmic",
        "sigmoid",
        "log",
        "bt2390",
        "bt2446a",
        "bt2446c",
    }
    nits = bt709_to_bt2020(torch.rand(3, 12, 16, generator=generator) ** 4 * 1500)
    for production in drawn:
        sdr = produce(nits, production, 1000.0, generator)
        assert torch.isfinite(sdr).all(), production
        assert float(sdr.std()) > 0.01, production


def test_compressed_colours_keep_their_luminance():
    red = bt709_to_bt2020(torch.tensor([400.0, 20.0, 20.0]).view(3, 1, 1))
    kept = bt1886_eotf(produce(red, Production(signal="luminance", compress_gamut=True)))
    clipped = bt1886_eotf(produce(red, Production(signal="luminance")))
    wanted = 0.2126 * 400 / 203 + 0.7874 * 20 / 203
    assert float(luminance(kept, "bt709")) == pytest.approx(wanted, rel=0.02)
    assert float(luminance(clipped, "bt709")) < 0.7 * wanted
    assert math.isclose(float(kept.max()), 1.0, abs_tol=1e-3) or float(kept.max()) < 1
