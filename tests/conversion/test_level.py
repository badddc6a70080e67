"""Level controls, against what they promise in light."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from vitm.color import METHODS, inverse_tone_map, pq_inverse_eotf
from vitm.conversion.level import LevelControl, choose_level, midtone_white, operator_white, usual_white, with_gain
from vitm.nets.analytic import Analytic, Gain


@pytest.fixture
def sdr() -> Tensor:
    return torch.from_numpy(data.coffee()[::4, ::4].copy()).permute(2, 0, 1)[None] / 255


@pytest.fixture
def hdr_pq(sdr: Tensor) -> Tensor:
    return inverse_tone_map(sdr, method="bt2446a", peak_nits=4000.0)


def nits(code: Tensor) -> np.ndarray:
    return colour.models.eotf_ST2084(code.double().numpy().clip(0, 1))


def test_the_default_changes_nothing(hdr_pq: Tensor, sdr: Tensor) -> None:
    assert LevelControl()(hdr_pq, sdr) is hdr_pq


def test_gain_multiplies_light(hdr_pq: Tensor, sdr: Tensor) -> None:
    out = LevelControl(gain=1.7)(hdr_pq, sdr)
    assert nits(out) == pytest.approx(1.7 * nits(hdr_pq), rel=1e-3, abs=1e-3)


def test_strength_goes_from_plain_sdr_to_the_conversion(hdr_pq: Tensor, sdr: Tensor) -> None:
    plain = Gain(100.0)(sdr)
    torch.testing.assert_close(LevelControl(strength=0.0, white_nits=100.0)(hdr_pq, sdr), plain)
    half = LevelControl(strength=0.5, white_nits=100.0)(hdr_pq, sdr)
    torch.testing.assert_close(half, (plain + hdr_pq) / 2)


def test_saturation_scales_chroma_at_equal_intensity(hdr_pq: Tensor, sdr: Tensor) -> None:
    def ictcp(code: Tensor) -> np.ndarray:
        return colour.RGB_to_ICtCp(np.moveaxis(nits(code), 1, -1), method="ITU-R BT.2100-2 PQ")

    before, after = ictcp(hdr_pq), ictcp(LevelControl(saturation=0.5)(hdr_pq, sdr))
    assert after == pytest.approx(before * [1, 0.5, 0.5], abs=1e-4)


def test_highlights_roll_off_below_the_peak(hdr_pq: Tensor, sdr: Tensor) -> None:
    out, before = nits(LevelControl(peak_nits=1000.0)(hdr_pq, sdr)), nits(hdr_pq)
    assert before.max() > 1500
    assert out.max() < 1000.1
    brightest = before.max(axis=1, keepdims=True)
    untouched = np.broadcast_to(brightest < 600, before.shape)
    assert out[untouched] == pytest.approx(before[untouched], rel=1e-6)
    ratio = out / before
    assert (ratio.max(axis=1) - ratio.min(axis=1)).max() < 1e-3  # the hue stays
    order = brightest.ravel().argsort()
    assert (np.diff(out.max(axis=1).ravel()[order]) > -0.01).all()


def test_out_of_range_codes_stay_finite(sdr: Tensor) -> None:
    wild = torch.linspace(-0.2, 1.3, sdr.numel()).view_as(sdr)
    out = LevelControl(gain=2.0, strength=0.7, saturation=1.2, peak_nits=500.0)(wild, sdr)
    assert out.isfinite().all()


def test_bands_change_nothing(hdr_pq: Tensor, sdr: Tensor) -> None:
    control = LevelControl(gain=1.2, strength=0.8, saturation=1.1, peak_nits=800.0)
    with torch.no_grad():
        banded = control(hdr_pq, sdr)
    torch.testing.assert_close(banded, control(hdr_pq, sdr), rtol=0, atol=1e-6)


@pytest.mark.parametrize("white", [61.0, 203.0, 400.0])
def test_mid_tones_tell_the_level(sdr: Tensor, white: float) -> None:
    assert midtone_white([(Gain(white)(sdr), sdr)]) == pytest.approx(white, rel=1e-3)


def test_what_highlights_and_shadows_do_is_no_level(sdr: Tensor) -> None:
    plain = Gain()(sdr)
    expanded = torch.where(plain > plain.quantile(0.9), plain * 1.2, plain)
    assert midtone_white([(expanded, sdr)]) == pytest.approx(203, rel=0.01)
    assert midtone_white([(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))]) is None


@pytest.mark.parametrize("method", METHODS)
def test_operators_put_mid_grey_where_sdr_with_its_white_at_203_has_it(method: str) -> None:
    grey = torch.full((3, 1, 1), 0.18 ** (1 / 2.4))
    for asked, white in (("auto", 203.0), (100.0, 100.0)):
        level = choose_level(Analytic(method), None, LevelControl(), asked)
        network, control = with_gain(Analytic(method), level.control)
        assert control == LevelControl(white_nits=white)
        assert nits(network(grey)) == pytest.approx(0.18 * white, rel=1e-4)
        assert level.midtone_white == pytest.approx(nits(Analytic(method)(grey)).mean() / 0.18, rel=1e-4)
        torch.testing.assert_close(level.control(Analytic(method)(grey), grey), network(grey), atol=1e-5, rtol=0)
    assert choose_level(Analytic(method), None, LevelControl(), "keep").control == LevelControl()
    assert operator_white(Gain(150.0)) == pytest.approx(150)


def test_black_stays_black_and_the_rest_stays_the_model_s() -> None:
    ramp = torch.linspace(0, 0.2, 201).view(1, 1, -1).expand(3, 8, -1).contiguous()
    lifted = pq_inverse_eotf(0.8 + 203 * ramp**2.4)  # black at 0.8 cd/m2
    out = LevelControl(anchor_black=True)(lifted, ramp)
    assert nits(out)[..., 0].max() < 1e-9
    assert (np.diff(nits(out), axis=-1) > -1e-6).all()  # no darker step above a brighter one
    above = ramp >= 0.06
    torch.testing.assert_close(out[above], lifted[above], atol=1e-7, rtol=0)


def test_graphics_are_plain_sdr(hdr_pq: Tensor, sdr: Tensor) -> None:
    control = LevelControl(gain=2.0)
    torch.testing.assert_close(control(hdr_pq, sdr, graphics=1.0), Gain()(sdr), atol=1e-6, rtol=0)
    half = (Gain()(sdr) + control(hdr_pq, sdr)) / 2
    torch.testing.assert_close(control(hdr_pq, sdr, graphics=0.5), half, atol=1e-6, rtol=0)


def test_usual_levels_stay() -> None:
    assert [usual_white(w) for w in (100.0, 203.0, 300.0, 406.0, 900.0)] == [203.0, 203.0, 300.0, 406.0, 406.0]


@pytest.mark.parametrize(
    "wrong", [{"gain": -1.0}, {"strength": float("nan")}, {"peak_nits": 0.0}, {"white_nits": 20_000.0}]
)
def test_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LevelControl(**wrong)
