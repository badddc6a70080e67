"""Networks by name, with weights from our checkpoints or published files, told apart by their keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitm.baselines.analytic import Analytic
from vitm.baselines.csrnet import CSRNet
from vitm.baselines.deephdr import DeepHDR
from vitm.baselines.hdrtvdm import LSN
from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.hdrtvnet_plus import HDRTVNetPlus
from vitm.baselines.hdrunet import HDRUNet
from vitm.baselines.kpn_itm import KPNiTM
from vitm.baselines.srresnet import SRResNet
from vitm.checkpoints import CheckpointError, network_state, read_checkpoint
from vitm.color import METHODS
from vitm.papers.dslnet import DSLNet
from vitm.papers.hdcfm import HDCFM, HDCFMPDCG
from vitm.papers.kpn_mfi import KPNMFI


def _vitm_tc(**arguments: Any) -> nn.Module:
    from vitm.papers.vitm_tc import VITMTC  # it loads timm and OpenCV

    return VITMTC(**arguments)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "csrnet": CSRNet,
    "deephdr": DeepHDR,
    "dslnet": DSLNet,
    "hdcfm": HDCFM,
    "hdrtvdm": LSN,
    "hdrtvnet": HDRTVNet,
    "hdrtvnet_plus": HDRTVNetPlus,
    "hdrunet": HDRUNet,
    "kpn_itm": KPNiTM,
    "kpn_mfi": KPNMFI,
    "pdcg": HDCFMPDCG,
    "srresnet": SRResNet,
    "vitm_tc": _vitm_tc,
}


def load_network(name: str, checkpoint: str | Path | None = None, flow_weights: str | Path | None = None) -> nn.Module:
    """A network in eval mode.

    Args:
        name: of `NETWORKS` (`"pdcg"` is HDCFM and PDCG after it), or an analytic operator of `vitm.color.METHODS`,
            which needs no checkpoint.
        checkpoint: a local file: a checkpoint of `experiments.run` (its constructor arguments are in the file), or the
            authors' state dict. None gives an untrained network with the paper's arguments.
        flow_weights: file of the weights of the network's optical flow, where it has one that needs them.

    Returns:
        The network, sdr -> hdr_pq of the same shape: `kpn_mfi` (B, T, 3, H, W); `hdcfm`, `pdcg` and the baselines
        (B, 3, H, W); operators any number of leading dimensions. `dslnet` converts the middle frame of
        (B, 5, 3, H, W), and clips by `stream`. `vitm_tc`: (B, T, 3, H, W), to linear light.
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
    elif name == "hdrtvnet_plus" and (parts := _hdrtvnet_plus_parts(file)):
        network = HDRTVNetPlus(agcm="agcm" in parts, le="le" in parts)
        network.load_state_dict(_from_official_hdrtvnet_plus(file, parts))
    elif name == "hdrtvdm" and "mid_branch.conv1.weight" in file:
        network = LSN()
        network.load_state_dict({_renamed(key, _OFFICIAL_HDRTVDM): value for key, value in file.items()})
    else:
        keys = ", ".join(list(file)[:5])
        raise CheckpointError(f"{checkpoint} holds no {name} that is known here; its first keys are: {keys}")
    return network


_Names = list[tuple[str, str | Callable[[re.Match[str]], str]]]


def _renamed(key: str, names: _Names) -> str:
    for pattern, name in names:
        key = re.sub(pattern, name, key)
    return key


# The released KPN-MFI code counts its modules from 1 and its decoder trunks from 3.
_OFFICIAL_KPN_MFI: _Names = [
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
        key = _renamed(key, _OFFICIAL_KPN_MFI)
        value = value.float()
        if key.startswith("decoder.kernels."):  # taps are stored column by column there, row by row here
            value = value.view(3, 5, 5, *value.shape[1:]).transpose(1, 2).reshape(value.shape)
        renamed[key] = value
    return renamed


_STAGES = ("first", "HR", "last")
# The released HDCFM code; its linear layers are convolutions of a 1x1 map here.
_OFFICIAL_HDCFM: _Names = [
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
    return _with_convolutions({_renamed(key, _OFFICIAL_HDCFM): value for key, value in state.items()})


def _with_convolutions(state: dict[str, Tensor]) -> dict[str, Tensor]:
    linear = re.compile(r"(^|\.)global_mods\..*weight$")
    return {key: value[..., None, None] if linear.search(key) else value for key, value in state.items()}


# The released HDRTVNet++ code: its AGCM counts all layers of its estimator, its LE is called HDRUNet3T1.
_OFFICIAL_HDRTVNET_PLUS: dict[str, _Names] = {
    "agcm": [
        (r"^classifier\.model\.20", "estimator.global_head"),
        (
            r"^classifier\.model\.(\d+)",
            lambda m: f"estimator.blocks.{int(m[1]) // 4}.{'norm' if int(m[1]) % 4 else 'conv'}",
        ),
        (r"^conv_first", "stages.0.0"),
        (r"^HRconv", "stages.1.0"),
        (r"^conv_last", "stages.2.0"),
        (r"^cond_(scale|shift)_(first|HR|last)", lambda m: f"global_mods.{_STAGES.index(m[2])}.{m[1]}"),
    ],
    "le": [
        (r"^conv_first", "first"),
        (r"^conv_last", "last"),
        (r"^HR_conv1", "second"),
        (r"^HR_conv2", "third"),
        (r"^SFT_layer1", "mod_in"),
        (r"^SFT_layer2", "mod_out"),
        (r"^down_conv(\d)", lambda m: f"down.{int(m[1]) - 1}"),
        (r"^up_conv(\d)\.0", lambda m: f"up.{int(m[1]) - 1}"),
        (r"^cond_first", "condition"),
        (r"^CondNet(\d)", lambda m: f"heads.{int(m[1]) - 1}"),
        (r"^recon_trunk([12])\.0", lambda m: f"encoder.{int(m[1]) - 1}"),
        (r"^recon_trunk3", "bottom"),
        (r"^recon_trunk([45])\.0", lambda m: f"decoder.{int(m[1]) - 4}"),
        (r"\.sft(\d)", r".mod\1"),
        (r"SFT_(scale|shift)_conv(\d)", lambda m: f"{m[1]}.{2 * int(m[2])}"),
    ],
}


def _hdrtvnet_plus_parts(state: Mapping[str, Any]) -> dict[str, str]:
    """The parts of HDRTVNet++ in a published file, and the prefixes of their keys."""
    first = {"agcm": "classifier.model.0.weight", "le": "CondNet1.0.weight"}
    return {part: p for part, key in first.items() for p in ("", f"{part.upper()}.") if p + key in state}


def _from_official_hdrtvnet_plus(state: Mapping[str, Tensor], parts: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {
        f"{part}.{_renamed(key.removeprefix(prefix), _OFFICIAL_HDRTVNET_PLUS[part])}": value
        for part, prefix in parts.items()
        for key, value in state.items()
        if key.startswith(prefix)
    }
    return _with_convolutions(renamed)


# The released HDRTVDM code; its transformers are Restormer's.
_OFFICIAL_HDRTVDM: _Names = [
    (r"^mid_branch\.cond_net\.conv(\d)", lambda m: f"conditions.{2 * int(m[1]) - 1}"),
    (r"^mid_branch\.conv(\d)", lambda m: f"middle.convs.{int(m[1]) - 1}"),
    (r"^mid_branch\.cond_(scale|shift)(\d)", lambda m: f"middle.{m[1]}s.{int(m[2]) - 1}"),
    (r"^(bright|dark)_branch", r"\1"),
    (r"patch_embed\.proj", "first"),
    (r"encoder_level(\d)\.0", lambda m: f"encoder.{int(m[1]) - 1}"),
    (r"decoder_level(\d)\.0", lambda m: f"decoder.{2 - int(m[1])}"),
    (r"latent\.0", "bottom"),
    (r"down(\d)_\d\.body\.0", lambda m: f"down.{int(m[1]) - 1}"),
    (r"up(\d)_\d\.body\.0", lambda m: f"up.{3 - int(m[1])}"),
    (r"reduce_chan_level2", "reduce"),
    (r"(bright|dark)\.output", r"\1.last"),
    (r"(norm\d)\.body", r"\1"),
    (r"attn\.qkv_dwconv", "attention.qkv.1"),
    (r"attn\.qkv\.weight", "attention.qkv.0.weight"),
    (r"attn\.temperature", "attention.temperature"),
    (r"attn\.project_out", "attention.project"),
    (r"ffn\.project_in", "forward_gate.expand.0"),
    (r"ffn\.dwconv", "forward_gate.expand.1"),
    (r"ffn\.project_out", "forward_gate.project"),
]
