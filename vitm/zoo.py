"""Networks by name, with weights from our checkpoints or published files, told apart by their keys."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitm.baselines.analytic import Analytic
from vitm.baselines.srresnet import SRResNet
from vitm.color import METHODS
from vitm.papers.dslnet import DSLNet
from vitm.papers.hdcfm import HDCFM, HDCFMPDCG
from vitm.papers.kpn_mfi import KPNMFI


def _vitm_tc(**arguments: Any) -> nn.Module:
    from vitm.papers.vitm_tc import VITMTC  # it loads timm and OpenCV

    return VITMTC(**arguments)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "dslnet": DSLNet,
    "hdcfm": HDCFM,
    "kpn_mfi": KPNMFI,
    "pdcg": HDCFMPDCG,
    "srresnet": SRResNet,
    "vitm_tc": _vitm_tc,
}


class CheckpointError(ValueError):
    """A file is no checkpoint, or one of another network."""


def load_network(name: str, checkpoint: str | Path | None = None, flow_weights: str | Path | None = None) -> nn.Module:
    """A network in eval mode.

    Args:
        name: of `NETWORKS` (`"pdcg"` is HDCFM and PDCG after it), or an analytic operator of `vitm.color.METHODS`,
            which needs no checkpoint.
        checkpoint: a local file: a checkpoint of `experiments.run` (its constructor arguments are in the file), or the
            authors' state dict. None gives an untrained network with the paper's arguments.
        flow_weights: file of the weights of the network's optical flow, where it has one that needs them.

    Returns:
        The network, sdr -> hdr_pq of the same shape: `kpn_mfi` (B, T, 3, H, W); `hdcfm`, `pdcg` (B, 3, H, W); operators
        any number of leading dimensions. `dslnet` converts the middle frame of (B, 5, 3, H, W), and clips by `stream`.
        `vitm_tc`: (B, T, 3, H, W), to linear light.
        BT.709 gamma code in, BT.2020 PQ code out, both [0, 1], not clamped.

    Raises:
        ValueError: unknown name, or a checkpoint for an operator.
        FileNotFoundError: no such file.
        CheckpointError: the file is damaged, or holds another network.
    """
    if name in METHODS:
        if checkpoint is not None:
            raise ValueError(f"{name} is an analytic operator and takes no checkpoint, got {checkpoint}")
        return Analytic(name).eval()
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join([*NETWORKS, *METHODS])}")
    if checkpoint is None:
        return NETWORKS[name]().eval()
    file = read_checkpoint(checkpoint)
    try:
        network = _rebuild(name, file, checkpoint, {"flow_weights": str(flow_weights)} if flow_weights else {})
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(f"{checkpoint} does not fit {name}: {error}") from error
    return network.to(memory_format=torch.channels_last).eval()


def _rebuild(name: str, file: dict[str, Any], checkpoint: str | Path, more: dict[str, Any]) -> nn.Module:
    if "vitm" in file:
        found = file["vitm"]["network"]
        if found != name:
            raise CheckpointError(f"{checkpoint} is a checkpoint of {found}, not of {name}")
        network = NETWORKS[name](**file["vitm"]["arguments"] | more)
        network.load_state_dict(network_state(file))
    elif name == "kpn_mfi" and "mfi.t_fus.weight" in file:
        network = KPNMFI.official()
        network.load_state_dict(_from_official_kpn_mfi(file))
    elif name == "hdcfm" and "HRconv.0.spatial_branch.0.weight" in file:
        network = HDCFM()
        network.load_state_dict(_from_official_hdcfm(file))
    else:
        keys = ", ".join(list(file)[:5])
        raise CheckpointError(f"{checkpoint} holds no {name} that is known here; its first keys are: {keys}")
    return network


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint file on the CPU, without running code from it.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated or no checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        file = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no checkpoint, or is damaged: {error}") from error
    if not isinstance(file, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(file).__name__}")
    return file


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of the network inside one of our checkpoints."""
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}


# The released KPN-MFI code counts its modules from 1 and its decoder trunks from 3.
_OFFICIAL_KPN_MFI: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^enc\.conv_first", "encoder.first"),
    (r"^enc\.HR_conv1", "encoder.second"),
    (r"^enc\.down_conv(\d)", lambda m: f"encoder.down.{int(m[1]) - 1}"),
    (r"^enc\.recon_trunk(\d)", lambda m: f"encoder.trunks.{int(m[1]) - 1}"),
    (r"^enc\.SA", "encoder.attention"),
    (r"^dec\.recon_trunk(\d)", lambda m: f"decoder.trunks.{int(m[1]) - 3}"),
    (r"^dec\.up_conv(\d)\.0", lambda m: f"decoder.ups.{int(m[1]) - 1}.conv"),
    (r"^dec\.HR_conv2", "decoder.tail"),
    (r"^dec\.conv_last\.0", "decoder.kernels"),
    (r"^mfi\.SA_(\d)", lambda m: f"mfi.slots.{int(m[1]) - 1}"),
    (r"^mfi\.GA_(\d)", lambda m: f"mfi.guides.{int(m[1]) - 1}"),
    (r"^mfi\.t_fus", "mfi.fuse"),
    (r"(query|key|value)_conv", r"\1"),
]


def _from_official_kpn_mfi(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        if key.startswith("mfi.fusion."):
            continue  # never executed by the released code
        for pattern, name in _OFFICIAL_KPN_MFI:
            key = re.sub(pattern, name, key)
        value = value.float()
        if key.startswith("decoder.kernels."):  # taps are stored column by column there, row by row here
            value = value.view(3, 5, 5, *value.shape[1:]).transpose(1, 2).reshape(value.shape)
        renamed[key] = value
    return renamed


_STAGES = ("first", "HR", "last")
# The released HDCFM code; its linear layers are convolutions of a 1x1 map here.
_OFFICIAL_HDCFM: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^classifier\.downblocks", "estimator.blocks"),
    (r"^classifier\.global_vector\.1", "estimator.global_head"),
    (r"^classifier\.conv2\.0", "estimator.local_head"),
    (r"^conv_first\.", "stages.0."),
    (r"^HRconv\.", "stages.1."),
    (r"^conv_last\.", "stages.2."),
    (r"^cond_(scale|shift)_(first|HR|last)", lambda m: f"global_mods.{_STAGES.index(m[2])}.{m[1]}"),
    (r"^conv_feat_(first|HR)_(scale|shift)", lambda m: f"local_mods.{_STAGES.index(m[1])}.{m[2]}"),
    (r"channel_mul_conv", "transform"),
    (r"spatial_branch", "spatial"),
    (r"channel_branch\.(\d)", lambda m: f"channel.{int(m[1]) - 1}"),  # counted from the average pooling
]


def _from_official_hdcfm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, name in _OFFICIAL_HDCFM:
            key = re.sub(pattern, name, key)
        renamed[key] = value[..., None, None] if key.startswith("global_mods.") and value.ndim == 2 else value
    return renamed
