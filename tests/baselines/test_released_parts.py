"""Networks that their authors released in several files, or under other names: state dicts of their layout."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference import deephdr
from vitm.baselines.hdrtvnet_plus import AGCM
from vitm.baselines.highlights import over_exposure
from vitm.baselines.srresnet import SRResNet
from vitm.checkpoints import CheckpointError
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.zoo import load_network

STATES = dict[str, Tensor]


def weights_of(layers: dict[str, nn.Module]) -> STATES:
    """Under the names of the layers."""
    return {f"{name}.{key}": value for name, layer in layers.items() for key, value in layer.state_dict().items()}


def highlight_layers(w: int) -> dict[str, nn.Module]:
    """HDRTVNet's third stage, as HG.pth names its layers."""
    torch.manual_seed(1)
    normed = {"1": (3, w), "2": (w, 2 * w), "3_1": (2 * w, 4 * w), "3_2": (4 * w, 4 * w), "4_1": (4 * w, 8 * w)}
    normed |= dict.fromkeys(("4_2", "5_1", "5_2", "_code1", "_code2"), (8 * w, 8 * w))
    layers: dict[str, nn.Module] = {}
    for name, (n, m) in normed.items():
        layers |= {f"conv{name}.0": nn.Conv2d(n, m, 3, padding=1), f"conv{name}.1": nn.BatchNorm2d(m)}
        nn.init.uniform_(layers[f"conv{name}.1"].running_mean, -0.1, 0.1)
        nn.init.uniform_(layers[f"conv{name}.1"].running_var, 0.05, 0.2)
    for i, (n, m) in enumerate([(8, 8 * w), (8, 4 * w), (4, 2 * w), (2, w), (1, 3)]):
        layers |= {f"Up_conv{i + 1}.0": nn.Conv2d(n * w, 4 * n * w, 3, padding=1)}
        layers |= {f"conv{i + 6}": nn.Conv2d(2 * n * w, m, 1)}
    return {name: layer.eval() for name, layer in (layers | {"conv_last": nn.Conv2d(6, 3, 1)}).items()}


def highlights(layers: dict[str, nn.Module], x: Tensor, mask: Tensor) -> Tensor:
    """HDRTVNet's third stage for sizes that are multiples of 32."""

    def normed(name: str, y: Tensor) -> Tensor:
        return F.relu(layers[f"conv{name}.1"](layers[f"conv{name}.0"](y)))

    skips = [normed("1", x)]
    skips.append(normed("2", F.max_pool2d(skips[-1], 2)))
    for name in ("3_", "4_", "5_", "_code"):
        skips.append(normed(f"{name}2", F.max_pool2d(normed(f"{name}1", skips[-1]), 2)))
    y = skips.pop()
    for i in range(5):
        up = F.relu(F.pixel_shuffle(layers[f"Up_conv{i + 1}.0"](y), 2))
        y = layers[f"conv{i + 6}"](torch.cat((up, skips.pop()), 1))
    out: Tensor = x + mask * layers["conv_last"](torch.cat((y, x), 1))
    return out


def agcm_of_the_authors(agcm: AGCM) -> STATES:
    """As AGCM.pth names its tensors: all layers are counted, modulation is linear."""
    state = agcm.state_dict()
    names = {f"stages.{i}.0": name for i, name in enumerate(("conv_first", "HRconv", "conv_last"))}
    names |= {f"estimator.blocks.{i}.conv": f"classifier.model.{4 * i}" for i in range(5)}
    names |= {f"estimator.blocks.{i}.norm": f"classifier.model.{4 * i + 3}" for i in range(4)}
    names["estimator.global_head"] = "classifier.model.20"
    for i, part in enumerate(("first", "HR", "last")):
        names |= {f"global_mods.{i}.{kind}": f"cond_{kind}_{part}" for kind in ("scale", "shift")}
    released = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        released[f"{names[layer]}.{kind}"] = value.flatten(1) if "cond_" in names[layer] and kind == "weight" else value
    return released


@pytest.fixture(scope="module")
def hdrtvnet_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AGCM, SRResNet, dict[str, nn.Module]]:
    torch.manual_seed(0)
    agcm, le, hg = AGCM().eval(), SRResNet(width=4, blocks=2), highlight_layers(2)
    folder = tmp_path_factory.mktemp("HDRTVNet")
    for name, state in (("AGCM", agcm_of_the_authors(agcm)), ("LE", le.state_dict()), ("HG", weights_of(hg))):
        torch.save(state, folder / f"{name}.pth")
    return folder, agcm, le, hg


def test_hdrtvnet_in_three_files(hdrtvnet_files, rng):
    folder, agcm, le, hg = hdrtvnet_files
    network = load_network("hdrtvnet", folder)
    sdr = torch.rand(2, 3, 64, 96, generator=rng)
    sdr[:, :, 20:40, 20:50] = 1
    with torch.no_grad():
        two = le(agcm(sdr))
        expected = highlights(hg, two, over_exposure(sdr))
        assert float((expected - two).abs().max()) > 0.01
        torch.testing.assert_close(network(sdr), expected, rtol=1e-4, atol=1e-5)


def test_hdrtvnet_without_its_third_file(hdrtvnet_files, tmp_path, rng):
    folder, agcm, le, _ = hdrtvnet_files
    for name in ("AGCM", "LE"):
        (tmp_path / f"{name}.pth").symlink_to(folder / f"{name}.pth")
    sdr = torch.rand(1, 3, 40, 36, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(load_network("hdrtvnet", tmp_path)(sdr), le(agcm(sdr)))
    with pytest.raises(CheckpointError, match=r"without its stage LE: give the folder with AGCM\.pth, LE\.pth"):
        load_network("hdrtvnet", folder / "AGCM.pth")


def test_ada_3dlut_in_two_files(rng, tmp_path):
    """The tables by their numbers, and a classifier that counts all layers; three lookups, added with its weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Upsample(size=(256, 256), mode="bilinear")]
    for i, (n, m) in enumerate([(3, 16), (16, 32), (32, 64), (64, 128), (128, 128)]):
        layers += [nn.Conv2d(n, m, 3, 2, 1), nn.LeakyReLU(0.2), *([nn.InstanceNorm2d(m, affine=True)] if i < 4 else [])]
    classifier = nn.Sequential(*layers, nn.Dropout(0.5), nn.Conv2d(128, 3, 8)).eval()
    tables = [torch.rand(3, 5, 5, 5, generator=rng) for _ in range(3)]
    torch.save({f"model.{k}": v for k, v in classifier.state_dict().items()}, tmp_path / "classifier.pth")
    torch.save({str(i): {"LUT": table} for i, table in enumerate(tables)}, tmp_path / "LUTs.pth")
    sdr = torch.rand(1, 3, 20, 30, generator=rng)
    with torch.no_grad():
        looked_up = [
            F.grid_sample(table[None], 2 * sdr.movedim(1, -1)[:, None] - 1, padding_mode="border", align_corners=True)
            for table in tables
        ]
        weights = classifier(sdr).flatten()
        expected = sum(weight * x[:, :, 0] for weight, x in zip(weights, looked_up, strict=True))
        torch.testing.assert_close(load_network("ada_3dlut", tmp_path)(sdr), expected, rtol=1e-4, atol=1e-5)


def test_hdrunet_of_the_authors(rng, tmp_path):
    torch.manual_seed(0)
    network = load_network("hdrunet")
    plain = {"first": "conv_first", "second": "HR_conv1", "third": "HR_conv2", "last": "conv_last"}
    plain |= {f"down.{i}": f"down_conv{i + 1}" for i in range(2)} | {f"up.{i}": f"up_conv{i + 1}.0" for i in range(2)}
    plain |= {f"condition.{i}": f"cond_first.{i}" for i in (0, 2, 4)}
    plain |= {f"heads.{i}.{j}": f"CondNet{i + 1}.{j}" for i in range(3) for j in (0, 2)}
    plain |= {f"weighting.{i}": f"mask_est.{i}" for i in (0, 2, 4, 6)}
    modulated = {"mod_in": "SFT_layer1", "mod_out": "SFT_layer2"}
    for i, blocks in enumerate((2, 8, 2)):
        for j in range(blocks):
            for k in (1, 2):
                plain |= {f"trunks.{i}.{j}.conv{k}": f"recon_trunk{i + 1}.{j}.conv{k}"}
                modulated |= {f"trunks.{i}.{j}.mod{k}": f"recon_trunk{i + 1}.{j}.sft{k}"}
    for ours, theirs in modulated.items():
        for kind in ("scale", "shift"):
            plain |= {f"{ours}.{kind}.{2 * k}": f"{theirs}.SFT_{kind}_conv{k}" for k in (0, 1)}
    state = network.state_dict()
    released = {f"{plain[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}
    assert len(released) == len(state)
    torch.save(released, tmp_path / "latest_G.pth")
    loaded = load_network("hdrunet", tmp_path / "latest_G.pth").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    with pytest.raises(CheckpointError, match="holds no hdrtvnet_plus"):
        load_network("hdrtvnet_plus", tmp_path / "latest_G.pth")


def hdrcnn_arrays(widths: tuple[int, ...], rng: torch.Generator) -> list[np.ndarray]:
    """TensorLayer's list: of convolutions (h, w, in, out) and biases, of transposed ones (h, w, out, in)."""
    arrays: list[Tensor] = []

    def conv(side: int, n: int, m: int, outputs: int) -> None:
        arrays.extend([torch.randn(side, side, n, m, generator=rng) * (2 / n) ** 0.5 / side, torch.rand(outputs)])

    def norm(n: int) -> None:
        arrays.extend([torch.rand(n, generator=rng) for _ in range(3)] + [torch.rand(n, generator=rng) + 0.5])

    for depth, (n, m) in zip((2, 2, 3, 3, 3), pairwise((3, *widths)), strict=True):
        for i in range(depth):
            conv(3, m if i else n, m, m)
    conv(3, widths[4], widths[4], widths[4])
    norm(widths[4])
    for i, (n, m) in enumerate(pairwise((widths[4], *widths[::-1]))):
        if i:
            conv(1, 2 * n, n, n)
        conv(4, m, n, m)
        norm(m)
    conv(1, 2 * widths[0], widths[0], widths[0])
    conv(1, widths[0], 3, 3)
    norm(3)
    conv(1, 6, 3, 3)
    return [array.numpy() for array in arrays]


def released_hdrcnn(arrays: list[np.ndarray], ldr: Tensor) -> Tensor:
    """The light that the released code makes of a frame: blue, green, red of 0 to 255 in, features divided by 255."""
    rest = map(torch.from_numpy, arrays)

    def conv(x: Tensor) -> Tensor:
        return F.conv2d(x, next(rest).permute(3, 2, 0, 1), next(rest), padding="same")

    def norm(x: Tensor) -> Tensor:
        beta, gamma, mean, variance = (next(rest)[:, None, None] for _ in range(4))
        return F.relu((x - mean) / (variance + 1e-5).sqrt() * gamma + beta)

    def skip(x: Tensor, features: Tensor) -> Tensor:
        return conv(torch.cat([x, ((features / 255) ** 2 + 1 / 255).log()], 1))

    def up(x: Tensor) -> Tensor:  # the gradient of a convolution
        weight, bias = next(rest).permute(3, 2, 0, 1), next(rest)
        size = (len(x), weight.shape[1], 2 * x.shape[2], 2 * x.shape[3])
        return norm(torch.nn.grad.conv2d_input(size, weight, x, stride=2, padding=1) + bias[:, None, None])

    red, green, blue = (255 * ldr).split(1, 1)
    x, features = torch.cat([blue - 103.939, green - 116.779, red - 123.68], 1), []
    for depth in (2, 2, 3, 3, 3):
        for _ in range(depth):
            x = F.relu(conv(x))
        features.append(x)
        x = F.max_pool2d(x, 2)
    x = up(norm(conv(x)))
    while features:
        x = skip(x, features.pop())
        x = up(x) if features else x
    log_light = skip(norm(conv(x)), 255 * ldr)
    assert next(rest, None) is None
    alpha = ((ldr.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
    return (1 - alpha) * ldr**2 + alpha * (log_light.exp() - 1 / 255)


def test_hdrcnn_of_the_authors(rng, tmp_path):
    arrays = hdrcnn_arrays((4, 6, 8, 8, 8), rng)
    listed = np.empty(len(arrays), dtype=object)
    listed[:] = arrays
    np.savez(tmp_path / "trained_params.npz", params=listed)
    ldr = torch.rand(1, 3, 32, 64, generator=rng)
    ldr[..., :9] = 1
    with torch.no_grad():
        network = load_network("hdrcnn", tmp_path / "trained_params.npz")
        torch.testing.assert_close(network(ldr), released_hdrcnn(arrays, ldr), rtol=1e-3, atol=1e-4)
    listed[3] = Path.cwd  # a function, which only a harmful file would name
    np.savez(tmp_path / "harmful.npz", params=listed)
    with pytest.raises(CheckpointError, match="which is no array"):
        load_network("hdrcnn", tmp_path / "harmful.npz")


def test_deephdr_of_the_authors(rng, tmp_path):
    """A checkpoint of their training: a copy of each kernel for the masks, normalised frames, log(1 + H) out."""
    kernels = {
        "encoder.0": (4, 3, 7, 7),
        "encoder.1": (6, 4, 5, 5),
        "decoder.1": (4, 10, 3, 3),
        "decoder.0": (3, 7, 3, 3),
    }
    state = {f"{name}.conv.weight": 0.1 * torch.randn(size, generator=rng) for name, size in kernels.items()}
    state["decoder.0.conv.bias"] = torch.rand(3, generator=rng)
    released = {}
    for name, value in state.items():
        part, level, _, kind = name.split(".")
        layer = f"{part[:3]}_{int(level) + 1}.conv"
        released[f"{layer}.input_conv.{kind}"] = value
        released[f"{layer}.mask_update_conv.weight"] = value.abs()
    torch.save({"n_iter": 7, "step": 9, "model": released, "optimizer": {"state": {}}}, tmp_path / "checkpoint.pth")
    sdr = (1.3 * torch.rand(1, 3, 8, 12, generator=rng)).clamp(max=1)
    frame = (sdr - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    arrays = {name: value.numpy() for name, value in state.items()}
    log_light = torch.from_numpy(deephdr.network(arrays, sdr[0].numpy(), 2, frame[0].numpy()))
    seen = torch.from_numpy(deephdr.exposure_mask(sdr[0].numpy()))
    expected = to_hdr_pq(seen * sdr[0] ** 2 + (1 - seen) * (log_light.exp() - 1))
    with torch.no_grad():
        converted = load_network("deephdr", tmp_path / "checkpoint.pth")(sdr)[0]
    torch.testing.assert_close(converted, expected, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="holds no hdrunet"):
        load_network("hdrunet", tmp_path / "checkpoint.pth")
