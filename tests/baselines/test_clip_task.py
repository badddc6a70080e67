"""The tasks of the networks that KPN-MFI plugs its interaction into."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vitm.baselines.clip_task import DeepHDRTask, HDRUNetTask, KPNiTMTask
from vitm.runs.entries import find_entry
from vitm.zoo import network_class

SMALL = {
    DeepHDRTask: {"widths": (8, 8)},
    HDRUNetTask: {"width": 8, "blocks": (1, 1, 1)},
    KPNiTMTask: {"widths": (8, 8)},
}


def made(kind, **arguments):
    torch.manual_seed(0)
    task = kind(**SMALL[kind], **arguments)
    task.log = lambda *args, **kwargs: None
    return task


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("mfi", [False, True])
def test_a_step_learns_all_frames(kind, mfi, rng):
    task = made(kind, mfi=mfi)
    batch = {"sdr": torch.rand(2, 3, 3, 12, 16, generator=rng), "hdr_pq": torch.rand(2, 3, 3, 12, 16, generator=rng)}
    before = task.training_step(batch, 0)
    with torch.no_grad():
        out = task.network(batch["sdr"]).numpy()
    assert float(before.detach()) == pytest.approx(np.abs(out - batch["hdr_pq"].numpy()).mean(), rel=1e-5)
    optimizer = torch.optim.Adam(task.network.parameters(), 1e-3)
    for _ in range(20):
        loss = task.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.9 * float(before.detach())
    prediction = task(batch["sdr"]).detach()
    assert prediction.shape == batch["sdr"].shape
    assert float(prediction.min()) >= 0
    assert float(prediction.max()) <= 1


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("mfi", [False, True])
def test_a_task_names_its_network_and_counts_it(kind, mfi):
    """Its name and arguments rebuild the network, and it is counted with the frames of a clip."""
    task = made(kind, mfi=mfi)
    again = network_class(task.name)(**task.arguments)
    again.load_state_dict(task.network.state_dict())
    assert (again.mfi is not None) is mfi
    plain = made(kind).macs_per_frame()
    h = 256 // task.network.stride
    interaction = h * h * (6 * 8 * 9 + 8 * 17) + 2 * 8 * 9  # projections (V for each neighbour), fusion; two layers
    assert task.macs_per_frame() == plain + mfi * interaction


@pytest.mark.parametrize(
    ("name", "millions", "width"), [("deephdr", 25.771, 512), ("hdrunet", 1.6515, 64), ("kpn_itm", 35.877, 512)]
)
def test_rows_of_table_2_are_those_of_table_1_with_mfi(name, millions, width):
    """MFI adds five 1x1 convolutions, one of twice the width, and two linear layers."""
    plain, row = find_entry(f"kpn_mfi/table1/{name}"), find_entry(f"kpn_mfi/table2/mfi_{name}")
    assert find_entry(f"kpn_mfi/table2/{name}").runs.name == plain.name
    assert row.runs is row
    assert row.base.name == plain.name
    recipe, change = plain.recipe["model"], row.change["model"]
    assert row.recipe == plain.recipe | {"model": recipe | change}
    assert row.demo_recipe == plain.demo_recipe | {"model": plain.demo_recipe["model"] | change}
    task = row.load_task()
    parameters = [sum(p.numel() for p in task(**made).network.parameters()) for made in (recipe, recipe | change)]
    assert parameters[0] / 1e6 == pytest.approx(millions, abs=1e-3)
    assert parameters[1] - parameters[0] == 9 * width**2 + 8 * width
