"""The camera of VITM-TC against its equation 14 in NumPy, and the exposure walk against its anchors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vitm.data.sequences.exposure import ANCHOR_SPACING, base_gain, expose, exposure_walk


def test_expose_is_equation_14_in_eight_bits(rng: torch.Generator) -> None:
    light = torch.rand(2, 3, 3, 16, 16, generator=rng) * 3
    light[0, 0, 0, 0, :3] = torch.tensor([0.0, 1e-9, 1.0])
    ev = torch.tensor([[0.0, 1.0, 2.5], [-1.0, 0.3, 1.7]])
    ldr, target = expose(light, ev)
    exposed = light.numpy().astype(np.float64) * 2 ** ev.numpy().astype(np.float64)[..., None, None, None]
    np.testing.assert_allclose(target.numpy(), exposed, rtol=1e-6)  # not clipped
    code = np.clip(exposed, 0, 1) ** (1 / 2.2) * 255
    stored = ldr.double().numpy() * 255
    np.testing.assert_allclose(stored, np.round(stored), atol=1e-4)  # 8-bit codes
    assert np.abs(stored - code).max() <= 0.5 + 1e-4
    assert (stored[exposed >= 1] > 254.999).all()


def test_what_is_not_clipped_is_the_linearised_input(rng: torch.Generator) -> None:
    ldr, target = expose(torch.rand(4, 3, 8, 8, generator=rng), torch.full((4,), 1.5))
    free = ldr < 1
    code_step = 2.2 / 255  # the largest slope of x ** 2.2 is 2.2
    assert ((ldr**2.2 - target).abs()[free] <= code_step / 2 + 1e-5).all()
    assert (target[~free] > 0.99).all()


def test_walk_joins_seeded_anchors_by_half_cosines() -> None:
    walk = exposure_walk((3, 7))
    anchors = [np.random.default_rng((3, 7, k)).uniform(0, 2.5) for k in range(4)]
    for k, anchor in enumerate(anchors):
        assert float(walk(15 * k)) == pytest.approx(anchor)
    for t in range(45):
        k, u = divmod(t, 15)
        mean, half = (anchors[k] + anchors[k + 1]) / 2, (anchors[k] - anchors[k + 1]) / 2
        assert float(walk(t)) == pytest.approx(mean + half * np.cos(np.pi * u / 15))


def test_walk_is_a_smooth_function_of_key_and_time() -> None:
    values = np.array([float(exposure_walk((0, 1))(t)) for t in range(600)])
    assert values.min() >= 0
    assert values.max() <= 2.5
    assert np.ptp(values) > 2  # it uses its range
    assert np.abs(np.diff(values)).max() <= 2.5 * np.pi / 2 / ANCHOR_SPACING  # the steepest cosine from end to end
    again = exposure_walk((0, 1))
    for t in (599, 3, 100_000_000, 3):  # in any order, at any time
        assert t >= 600 or float(again(t)) == values[t]
    assert float(exposure_walk((0, 2))(7)) != values[7]
    assert float(exposure_walk((0, 1), (1.0, 1.0))(7)) == 1.0


def test_base_gain_sets_the_99th_percentile_to_white(rng: torch.Generator) -> None:
    light = np.exp(np.random.default_rng(0).normal(0, 1.2, (100, 100, 3)))
    gain = base_gain(light)
    top = light.max(-1) * gain
    assert (top > 1).mean() == pytest.approx(0.01, abs=2e-3)
    assert base_gain(light * 37.0) == pytest.approx(gain / 37.0)  # any scale


@pytest.mark.parametrize(("window", "median"), [(1e4, 0.02), (1.5, 0.1)])
def test_base_gain_keeps_the_median_in_range(window: float, median: float) -> None:
    light = np.ones((100, 100, 3))
    light[:20] = window
    assert np.median(light.max(-1)) * base_gain(light) == pytest.approx(median)


def test_black_light_has_no_gain() -> None:
    with pytest.raises(ValueError, match="black"):
        base_gain(np.zeros((8, 8, 3)))
