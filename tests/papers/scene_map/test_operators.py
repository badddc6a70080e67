"""The inverses that SceneMap mixes: each undoes the production that `vitm.data.production` makes, up to one gain."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vitm.color import luminance, pq_eotf
from vitm.data.production import PRODUCTIONS, produce
from vitm.ops.color_table import apply_color_table
from vitm.papers.scene_map import SceneMap
from vitm.papers.scene_map.operators import OPERATORS, Method, Operator, operator_tables

UNDONE = {
    "clip": Operator("clip", "channel", "bt1886", 1.0),
    "mobius": Operator("mobius", "maximum", "bt709", 10.0, 0.3),
    "hable": Operator("hable", "maximum", "bt709", 10.0),
    "bt2390": Operator("bt2390", "maximum", "bt1886", 5.0),
    "filmic": Operator("filmic", "channel", "srgb", 30.0),
    "reinhard": Operator("reinhard", "luminance", "gamma22", 12.0),
    "bt2446a": Method("bt2446a", 1000.0),
    "bt2446c": Method("bt2446c", 1000.0),
}


@pytest.mark.parametrize("name", UNDONE)
def test_an_inverse_undoes_its_production(name, rng):
    """Mid-tones come back with one gain for all of them, to what 8 bits leave, and the operator is in the list."""
    assert UNDONE[name] in OPERATORS
    nits = 15 + 65 * torch.rand(3, 1, 600, generator=rng)
    sdr = produce(
        nits,
        replace(
            PRODUCTIONS[name], exposure="white", level=PRODUCTIONS[name].level if PRODUCTIONS[name].level > 1 else 150.0
        ),
    )
    light = UNDONE[name].inverse(sdr[:, 0])
    ratio = luminance(light.unsqueeze(-1)) / luminance(nits.movedim(1, -1))
    stops = (ratio / ratio.median()).log2().abs()
    assert float(stops.quantile(0.95)) < 0.1


def test_all_inverses_leave_one_grey_and_rise(rng):
    tables = operator_tables(9, torch.device("cpu"))
    assert tables.shape == (len(OPERATORS), 3, 9, 9, 9)
    greys = pq_eotf(tables.diagonal(dim1=2, dim2=3).diagonal(dim1=2, dim2=3)).mean(1)  # (operators, 9)
    assert (greys.diff(dim=1) > -1e-3).all()
    fine = operator_tables(33, torch.device("cpu")).flatten(0, 1)[None]
    grey = pq_eotf(apply_color_table(torch.full((1, 3, 1, 1), 0.455), fine))
    torch.testing.assert_close(grey, torch.full_like(grey, 203 * 0.455**2.4), rtol=2e-2, atol=0)


def test_a_recognised_operator_is_the_whole_map(rng):
    """With all of the share on one operator, the picture is its inverse; with all on the free map, it is that."""
    torch.manual_seed(0)
    network = SceneMap(operators=True).eval()
    sdr = torch.rand(1, 3, 24, 32, generator=rng)
    last = network.recognise[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[4] = 40.0  # BT.2446 A
        table = operator_tables(33, torch.device("cpu"))[4:5]
        torch.testing.assert_close(network(sdr), apply_color_table(sdr, table), atol=1e-5, rtol=0)
        last.bias[-1] = 90.0
        free = network.free_map(sdr.flatten(2).mT, network.describe(sdr)[:, : network.code_size]).mT.view_as(sdr)
        exact = network.color_map(sdr.flatten(2).mT, network.describe(sdr)).mT.view_as(sdr)
        torch.testing.assert_close(exact, free, atol=1e-6, rtol=0)
