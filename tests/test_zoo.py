from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vitm.baselines.srresnet import SRResNet
from vitm.checkpoints import CheckpointError
from vitm.color import METHODS, inverse_tone_map, pq_eotf, pq_inverse_eotf
from vitm.conversion.stream import convert_clip
from vitm.data.filming.camera import frame
from vitm.data.filming.panorama import Panorama
from vitm.data.open_scenes import remaster
from vitm.data.prepare.open import Views
from vitm.data.production import PRODUCTIONS, produce
from vitm.evaluation.best_level import at_best_level
from vitm.metrics.functional import delta_e_itp
from vitm.nets.flow import AlignedFlow, DISFlow, ZeroFlow
from vitm.nets.interface import context
from vitm.papers.dslnet import DSLNet
from vitm.papers.hdcfm import HDCFM
from vitm.papers.kpn_mfi import KPNMFI
from vitm.zoo import NETWORKS, OPERATORS, SHIPPED, list_networks, load_network, network_class, shipped_weights

SMALL = {"width": 8, "trunk": (1, 1, 1, 1, 1), "corr_norm": "sum"}


@pytest.fixture
def checkpoint(tmp_path):
    """One of our checkpoints, with arguments that shapes alone would not tell."""
    torch.manual_seed(0)
    network = KPNMFI(**SMALL)
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save({"vitm": {"network": "kpn_mfi", "arguments": SMALL}, "state_dict": state}, path)
    return path, network


def test_checkpoint_rebuilds_its_network(checkpoint):
    path, network = checkpoint
    clip = torch.rand(1, 3, 3, 16, 16)
    loaded = load_network("kpn_mfi", path)
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), network(clip), atol=1e-6, rtol=0)


def test_hdcfm_of_ours_and_of_its_authors(shared, tmp_path):
    """Ours is rebuilt with its arguments; the published file is told by its keys and loads strictly."""
    torch.manual_seed(0)
    arguments = {"dyct_order": "paper", "local_mod": False}
    network = HDCFM(**arguments).eval()
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save({"vitm": {"network": "hdcfm", "arguments": arguments}, "state_dict": state}, tmp_path / "best.ckpt")
    sdr = torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        loaded = load_network("hdcfm", tmp_path / "best.ckpt")
        torch.testing.assert_close(loaded(sdr), network(sdr), atol=1e-6, rtol=0)
    published = shared / "weights/hdcfm_official.pth.tar"
    golden = np.load(shared / "goldens/HDCFM_96x128.npz")
    with torch.no_grad():
        out = load_network("hdcfm", published)(torch.from_numpy(golden["input"]))
    assert np.abs(out.numpy() - golden["output"]).max() < 1e-5
    file = torch.load(published, map_location="cpu", weights_only=True)
    torch.save({k: v for k, v in file.items() if k != "conv_last.4.bias"}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"stages\.2\.4\.bias"):
        load_network("hdcfm", tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="holds no kpn_mfi"):
        load_network("kpn_mfi", published)


def test_a_clip_is_converted_frame_by_frame(checkpoint):
    """Streamed, clamped, on the CPU, in order."""
    _, network = checkpoint
    clip = torch.rand(5, 3, 16, 24)
    with torch.no_grad():
        expected = network(clip[None])[0].clamp(0, 1)
    torch.testing.assert_close(torch.stack(list(convert_clip(network.eval(), clip))), expected, atol=1e-6, rtol=0)


def test_list_of_names():
    assert OPERATORS == METHODS
    assert list_networks() == [*SHIPPED, *NETWORKS, *METHODS]
    assert list_networks("hdr*plus") == ["hdrtvnet_plus"]
    assert all(issubclass(network_class(name), nn.Module) for name in NETWORKS)


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """A network in somebody's own package."""
    (tmp_path / "vitm_own_networks.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, gain=1.0):\n"
        "        super().__init__()\n"
        "        self.gain, self.conv = gain, nn.Conv2d(3, 3, 1)\n"
        "    def forward(self, x):\n"
        "        return self.gain * self.conv(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "vitm_own_networks.Mine"


def test_a_network_of_ones_own_by_its_import_path(own_package, tmp_path):
    """Untrained, from one of our checkpoints with its arguments, and from a plain state dict."""
    mine = network_class(own_package)(gain=0.5)
    state = mine.state_dict()
    about = {"network": own_package, "arguments": {"gain": 0.5}}
    torch.save({"vitm": about, "state_dict": {f"network.{k}": v for k, v in state.items()}}, tmp_path / "best.ckpt")
    torch.save(state, tmp_path / "plain.pth")
    sdr = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_network(own_package, tmp_path / "best.ckpt")(sdr), mine(sdr))
        torch.testing.assert_close(load_network(own_package, tmp_path / "plain.pth")(sdr), 2 * mine(sdr))
        assert len(list(convert_clip(load_network(own_package), sdr))) == 1
    with pytest.raises(ValueError, match=r"no network class vitm_own_networks\.Other"):
        load_network("vitm_own_networks.Other")
    with pytest.raises(CheckpointError, match=r"is a checkpoint of vitm_own_networks\.Mine, not of csrnet"):
        load_network("csrnet", tmp_path / "best.ckpt")


@pytest.mark.parametrize("method", METHODS)
def test_analytic_operators_need_no_checkpoint(method):
    sdr = torch.rand(2, 3, 8, 8)
    network = load_network(method)
    assert torch.equal(network(sdr), inverse_tone_map(sdr, method))
    assert len(list(convert_clip(network, sdr))) == 2


def test_options_win_over_the_checkpoint():
    assert isinstance(load_network("clues", flow="zero").flow, ZeroFlow)
    own, other = (load_network("temporal", flow=flow) for flow in (None, "aligned"))
    assert type(own.flow) is DISFlow
    assert type(other.flow) is AlignedFlow
    assert other.propagation == own.propagation == "blend"
    assert all(torch.equal(value, own.state_dict()[key]) for key, value in other.state_dict().items())


def test_errors(checkpoint, tmp_path):
    path, _ = checkpoint
    with pytest.raises(ValueError, match="unknown network 'kpn'"):
        load_network("kpn")
    with pytest.raises(ValueError, match="takes no checkpoint"):
        load_network("hable", path)
    with pytest.raises(ValueError, match="csrnet estimates no optical flow"):
        load_network("csrnet", flow_weights=tmp_path / "gma.pth")
    with pytest.raises(ValueError, match="hable has no argument width: leave out width='3'"):
        load_network("hable", width=3)
    with pytest.raises(FileNotFoundError, match=r"missing\.ckpt"):
        load_network("kpn_mfi", tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        load_network("kpn_mfi", tmp_path / "text.ckpt")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"conv\.weight"):
        load_network("kpn_mfi", tmp_path / "other.pth")


def test_checkpoints_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"vitm": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError):
        load_network("kpn_mfi", tmp_path / "evil.ckpt")


@pytest.mark.parametrize(
    ("name", "made"), [("dslnet", DSLNet(width=8, radius=1)), ("srresnet", SRResNet(frames=3, width=8, blocks=1))]
)
def test_a_network_of_windows_converts_every_frame_of_a_clip(name, made, tmp_path):
    """From a checkpoint alone; with the clip's ends and its cuts as ends of the window."""
    arguments = {"width": 8} | ({"radius": 1} if name == "dslnet" else {"frames": 3, "blocks": 1})
    state = {f"network.{k}": v for k, v in made.state_dict().items()}
    torch.save({"vitm": {"network": name, "arguments": arguments}, "state_dict": state}, tmp_path / "best.ckpt")
    network = load_network(name, tmp_path / "best.ckpt")
    assert context(network) == 1
    clip = torch.rand(5, 3, 18, 22)
    cuts = iter([True, False, False, True, False])
    out = list(convert_clip(network, clip, lambda frame: next(cuts)))
    windows = [(0, 0, 1), (0, 1, 2), (1, 2, 2), (3, 3, 4), (3, 4, 4)]
    with torch.no_grad():
        for frame, window in zip(out, windows, strict=True):
            expected = network(clip[None, list(window)])[0].clamp(0, 1)
            torch.testing.assert_close(frame, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_come_with_their_weights(name):
    """They load without a file, are small, have a card, and refuse other weights."""
    file = shipped_weights(name)
    assert file.stat().st_size < 2 * 2**20
    assert file.name in file.with_name("README.md").read_text()
    network = load_network(name)
    assert not network.training
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 8, 64).contiguous()
    with torch.no_grad():
        hdr_pq = network.to_hdr_pq(network(ramp[None])[0]) if name == "temporal" else network(ramp)
    assert (hdr_pq.diff(dim=-1) > -1e-3).all()  # a grey ramp stays in order
    assert float(hdr_pq.max()) > 0.58  # white is brighter than 203 cd/m2
    with pytest.raises(ValueError, match="takes no checkpoint"):
        load_network(name, file)


@pytest.mark.slow
def test_the_default_beats_every_curve_on_a_place_that_it_never_saw(shared):
    """Mean over all productions, at the best level, on views of one test place of the open benchmark."""
    world = Panorama.open(shared / "data/panoramas/courtyard.exr", 30.0, 10_000.0)
    frames = [frame(world, Views().pose("courtyard", i), (90, 160)) for i in range(6)]
    nits = [remaster(pq_eotf(torch.from_numpy(f).permute(2, 0, 1).float()), 1.0, 1000.0, 0.75) for f in frames]
    errors = {}
    for name in ("default", *OPERATORS):
        network = load_network(name)
        values = []
        for light in nits:
            for production in PRODUCTIONS.values():
                with torch.no_grad():
                    pred = network(produce(light, production)[None])
                target = pq_inverse_eotf(light)[None]
                values.append(float(delta_e_itp(at_best_level(pred, target)[0], target)))
        errors[name] = np.mean(values)
    assert errors["default"] < min(errors[name] for name in OPERATORS)
