"""Published weights reproduce what the authors' networks gave; parameters and operations are theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vitm.baselines.csrnet import CSRNet
from vitm.baselines.hdrtvdm import LSN
from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.hdrtvnet_plus import AGCM, HDRTVNetPlus, LocalEnhancement
from vitm.checkpoints import CheckpointError
from vitm.ops.resize import resize_bicubic
from vitm.zoo import load_network

FILES = {  # the goldens' names of what ../shared/weights calls otherwise
    "HDRTVNetplus_AGCM": ("hdrtvnet_plus", "hdrtvnet_plus_AGCM", ("96x128", "135x240")),
    "HDRTVNetplus_LE": ("hdrtvnet_plus", "hdrtvnet_plus_LE", ("96x128", "128x240", "135x240_reflectpad")),
    "HDRTVNetplus_Ensemble_AGCM_LE": (
        "hdrtvnet_plus",
        "hdrtvnet_plus_Ensemble_AGCM_LE",
        ("96x128", "128x240", "135x240_reflectpad"),
    ),
    "HDRTVNetplus_HR": ("hdrtvnet_plus", "hdrtvnet_plus_HR", ("96x128", "128x240", "135x240_reflectpad")),
    "HDRTVDM": ("hdrtvdm", "hdrtvdm", ("96x128", "132x240", "135x240_reflectpad")),
    "HDRTVDM_3DM": ("hdrtvdm", "hdrtvdm_3DM", ("96x128", "132x240")),
    "HDRTVDM_DaVinci": ("hdrtvdm", "hdrtvdm_DaVinci", ("96x128", "132x240")),
}


@pytest.mark.slow
@pytest.mark.parametrize("golden", FILES)
def test_goldens(golden: str, shared: Path) -> None:
    """To 1e-5, without gradients (in bands) and with them (whole); values are below 1."""
    name, weights, sizes = FILES[golden]
    network = load_network(name, shared / f"weights/{weights}.pth")
    for size in sizes:
        file = np.load(shared / f"goldens/{golden}_{size}.npz")
        x, expected = (torch.from_numpy(file[k]) for k in ("input", "output"))
        assert float(expected.std()) > 0.05
        with torch.no_grad():
            torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-5)
        if size == sizes[-1]:
            torch.testing.assert_close(network(x).detach(), expected, rtol=0, atol=1e-5)


def test_condition_of_agcm(shared: Path) -> None:
    """A quarter by MATLAB's rules, sizes rounded up: 135 rows give 34."""
    file = np.load(shared / "goldens/HDRTVNetplus_AGCM_135x240.npz")
    quarter = resize_bicubic(torch.from_numpy(file["input"]), scale=0.25)
    np.testing.assert_allclose(quarter, file["cond"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (AGCM, 35_251),
        (LocalEnhancement, 555_907),
        (HDRTVNetPlus, 591_158),
        (HDRTVNet, 1_405_110),
        (LSN, 401_741),
        (CSRNet, 36_489),
    ],
)
def test_parameters(network: type[nn.Module], parameters: int) -> None:
    assert sum(p.numel() for p in network().parameters()) == parameters


@pytest.mark.parametrize(("network", "gflop"), [(HDRTVNet, 49.19), (HDRTVNetPlus, 14.49), (LSN, 11.92)])
def test_operations(network: type[nn.Module], gflop: float) -> None:
    """Of a 256 x 256 frame, as counted of the authors' code; ours resizes too, by products of matrices."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network().to("meta").eval()(torch.empty(1, 3, 256, 256, device="meta"))
    resizing = 2 * 3 * (256 * 256 * 64 + 256 * 64 * 64) / 1e9 if network is not LSN else 0
    assert counter.get_total_flops() / 1e9 - resizing == pytest.approx(gflop, abs=0.01)


@pytest.mark.parametrize(
    ("file", "missing"),
    [
        ("hdrtvnet_plus_AGCM", "conv_last.bias"),
        ("hdrtvnet_plus_HR", "LE.CondNet4.4.bias"),
        ("hdrtvdm", "dark_branch.output.weight"),
    ],
)
def test_damaged_files(file: str, missing: str, shared: Path, tmp_path: Path) -> None:
    name = "hdrtvdm" if file == "hdrtvdm" else "hdrtvnet_plus"
    state = torch.load(shared / f"weights/{file}.pth", map_location="cpu", weights_only=True)
    torch.save({k: v for k, v in state.items() if k != missing}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="Missing key"):
        load_network(name, tmp_path / "part.pth")
    other = {"hdrtvdm": "hdrtvnet_plus", "hdrtvnet_plus": "hdrtvdm"}[name]
    with pytest.raises(CheckpointError, match=f"holds no {other}"):
        load_network(other, shared / f"weights/{file}.pth")


def test_variants_are_told_apart(shared: Path) -> None:
    def parts(file: str) -> tuple[bool, bool]:
        network = load_network("hdrtvnet_plus", shared / f"weights/hdrtvnet_plus_{file}.pth")
        assert isinstance(network, HDRTVNetPlus)
        return network.agcm is not None, network.le is not None

    assert parts("AGCM") == (True, False)
    assert parts("LE") == (False, True)
    assert parts("Ensemble_AGCM_LE") == parts("HR") == (True, True)
