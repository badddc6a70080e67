"""Released files of the baselines: which of their keys are which of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitm.baselines.ada_3dlut import Ada3DLUT
from vitm.baselines.adaint import AdaInt
from vitm.baselines.basicvsr_pp import BRANCHES, BasicVSRPP
from vitm.baselines.cyclegan import CycleGAN
from vitm.baselines.deephdr import DeepHDR
from vitm.baselines.hdrcnn import DEPTHS, HDRCNN
from vitm.baselines.hdrtvdm import LSN
from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.hdrtvnet_plus import HDRTVNetPlus
from vitm.baselines.hdrunet import HDRUNet
from vitm.baselines.pixel2pixel import Pixel2Pixel
from vitm.checkpoints import CheckpointError, KeyMap, Weights, constructor_arguments, rename_key
from vitm.papers.hdcfm.published import STAGES, with_convolutions

# HDRTVNet++: AGCM counts all layers of its estimator, LE is called HDRUNet3T1.
AGCM_KEY_MAP: KeyMap = [
    (r"^classifier\.model\.20", "estimator.global_head"),
    (
        r"^classifier\.model\.(\d+)",
        lambda m: f"estimator.blocks.{int(m[1]) // 4}.{'norm' if int(m[1]) % 4 else 'conv'}",
    ),
    (r"^conv_first", "stages.0.0"),
    (r"^HRconv", "stages.1.0"),
    (r"^conv_last", "stages.2.0"),
    (r"^cond_(scale|shift)_(first|HR|last)", lambda m: f"global_mods.{STAGES.index(m[2])}.{m[1]}"),
]
LE_KEY_MAP: KeyMap = [
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
]

# HDRTVNet: AGCM as above, the local enhancement under the names that it has here, and highlight generation.
HG_KEY_MAP: KeyMap = [
    (r"^conv1\.", "first."),
    (r"^conv2\.", "second.1."),
    (r"^conv([345])_([12])\.", lambda m: f"down.{int(m[1]) - 3}.{2 * int(m[2]) - 2}."),
    (r"^conv_code([12])\.", lambda m: f"down.3.{2 * int(m[1]) - 2}."),
    (r"^Up_conv(\d)\.", lambda m: f"up.{int(m[1]) - 1}."),
    (r"^conv(\d+)\.", lambda m: f"join.{int(m[1]) - 6}."),
    (r"^conv_last\.", "last."),
]

# HDRUNet: most of it is called as in HDRTVNet++'s LE, which grew from it.
HDRUNET_KEY_MAP: KeyMap = [
    (r"^recon_trunk(\d)", lambda m: f"trunks.{int(m[1]) - 1}"),
    (r"^mask_est", "weighting"),
    *LE_KEY_MAP,
]

# DeepHDR: layers are counted from 1, and hold a copy of their kernel for the masks.
DEEPHDR_KEY_MAP: KeyMap = [
    (r"^(enc|dec)_(\d+)\.conv\.input_conv\.", lambda m: f"{m[1]}oder.{int(m[2]) - 1}.conv."),
]

# HDRCNN: the file has no keys, but the layers' arrays in this order, two of a convolution, four of a normalisation.
HDRCNN_LAYERS = [
    *(f"encoder.levels.{level}.{2 * i}" for level, depth in enumerate(DEPTHS) for i in range(depth)),
    *("bottom.0", "bottom.1", "up.0.conv", "up.0.norm"),
    *(layer for i in range(4) for layer in (f"skips.{i}.conv", f"up.{i + 1}.conv", f"up.{i + 1}.norm")),
    *("skips.4.conv", "last.0", "last.1", "last_skip.conv"),
]
HDRCNN_NORMS = (".norm", "bottom.1", "last.1")

# Ada-3DLUT: the classifier counts all layers, the resizing among them.
ADA_3DLUT_KEY_MAP: KeyMap = [
    (r"^model\.16\.", "head."),
    (r"^model\.(\d+)\.", lambda m: f"reader.layers.{int(m[1]) - 1}."),
]

# HDRTVDM: its transformers are Restormer's.
LSN_KEY_MAP: KeyMap = [
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

# Pixel2Pixel and CycleGAN: the authors' PyTorch code counts all layers, and in a block all but the sum; the second
# convolution is 5, or 6 after dropout.
TRANSLATION_KEY_MAP: KeyMap = [
    (r"^model\.1\.", "first."),
    (r"^model\.([47])\.", lambda m: f"down.{int(m[1]) // 7}."),
    (r"^model\.(19|22)\.", lambda m: f"up.{int(m[1]) // 22}."),
    (r"^model\.26\.", "last."),
    (r"^model\.(\d+)\.conv_block\.(\d)", lambda m: f"blocks.{int(m[1]) - 10}.conv{1 if m[2] == '1' else 2}"),
]

# BasicVSR++: in mmagic's files a deformable layer holds its own weights.
BASICVSR_KEY_MAP: KeyMap = [
    (r"^generator(_ema)?\.", ""),
    (r"^feat_extract\.", "extract."),
    (r"^deform_align\.(\w+)\.conv_offset", r"align.\1.offset"),
    (r"^deform_align\.(\w+)\.(weight|bias)", r"align.\1.deform.\2"),
    (r"\.main\.", "."),
    (r"^reconstruction\.", "reconstruct."),
    (r"^upsample(\d)\.upsample_conv", lambda m: f"up.{int(m[1]) - 1}"),
    (r"^conv_hr", "tail.0"),
    (r"^conv_last", "tail.2"),
]

# AdaInt: a backbone of blocks (convolution, LeakyReLU, normalisation), the tables as weights of a linear layer.
ADAINT_KEY_MAP: KeyMap = [
    (r"^backbone\.(\d)\.(\d)", lambda m: f"reader.layers.{3 * int(m[1]) + int(m[2])}"),
    (r"^lut_generator\.weights_generator", "weigh"),
    (r"^lut_generator\.basis_luts_bank\.weight", "values"),
    (r"^adaint\.intervals_generator", "intervals"),
]


def adaint(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a file of AdaInt from the authors' code; None if the file is of another network.

    Their released files retouch photographs, and give no HDR10. Files that their code trained on HDR10 are converters.
    """
    inner: Any = state.get("state_dict", state)
    if "adaint.intervals_generator.weight" not in inner:
        return None
    renamed = {rename_key(key, ADAINT_KEY_MAP): value for key, value in inner.items() if key != "cnt_iters"}
    tables, size = len(renamed["weigh.bias"]), len(renamed["intervals.bias"]) // 3 + 1
    renamed["values"] = renamed["values"].T.reshape(tables, 3, size**3)
    return Weights(renamed, constructor_arguments(AdaInt, {"size": size, "tables": tables}))


def ada_3dlut(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a folder with the authors' `LUTs.pth` and `classifier.pth` of Ada-3DLUT; None if it is of another network.

    Their released files retouch photographs, and give no HDR10. Files that their code trained on HDR10 are converters.
    """
    inner: Mapping[str, Any] = state
    names = sorted(key for key, value in inner.items() if isinstance(value, Mapping) and "LUT" in value)
    prefixes = [key.removesuffix("model.16.weight") for key in state if key.endswith("model.16.weight")]
    if not names or not prefixes:
        return None
    values = torch.stack([inner[name]["LUT"] for name in names])
    renamed = _part(state, prefixes[0], ADA_3DLUT_KEY_MAP) | {"values": values.flatten(2)}
    return Weights(renamed, constructor_arguments(Ada3DLUT, {"size": values.shape[-1], "tables": len(values)}))


def hdrtvnet(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a folder with the authors' files of HDRTVNet's stages; None if it is of another network.

    Raises:
        CheckpointError: one of the first two stages is missing.
    """
    first_keys = {
        "agcm": "classifier.model.0.weight",
        "le": "recon_trunk.0.conv1.weight",
        "hg": "Up_conv1.0.weight",
    }
    prefixes = _prefixes(state, first_keys)
    if not prefixes.keys() & {"agcm", "hg"}:
        return None
    if missing := [part.upper() for part in ("agcm", "le") if part not in prefixes]:
        raise CheckpointError(
            f"a file of HDRTVNet without its stage {' and '.join(missing)}: give the folder with AGCM.pth, LE.pth and, "
            "for all three stages, HG.pth"
        )
    key_maps: dict[str, KeyMap] = {"agcm": AGCM_KEY_MAP, "le": [], "hg": HG_KEY_MAP}
    parts = {part: _part(state, prefix, key_maps[part]) for part, prefix in prefixes.items()}
    arguments = {
        "width": len(parts["le"]["conv_first.weight"]),
        "blocks": len([key for key in parts["le"] if key.endswith("conv1.weight")]),
        "highlights": len(parts["hg"]["first.0.weight"]) if "hg" in parts else 0,
    }
    renamed = {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}
    return Weights(with_convolutions(renamed), constructor_arguments(HDRTVNet, arguments))


def hdrtvnet_plus(state: Mapping[str, Tensor]) -> Weights | None:
    """Read HDRTVNet++, or the part of it that a released file holds; None if the file is of another network."""
    prefixes = _prefixes(state, {"agcm": "classifier.model.0.weight", "le": "CondNet1.0.weight"})
    if not prefixes or "mask_est.0.weight" in state:
        return None
    key_maps = {"agcm": AGCM_KEY_MAP, "le": LE_KEY_MAP}
    renamed = {
        f"{part}.{key}": value
        for part, prefix in prefixes.items()
        for key, value in _part(state, prefix, key_maps[part]).items()
    }
    parts = {"agcm": "agcm" in prefixes, "le": "le" in prefixes}
    return Weights(with_convolutions(renamed), constructor_arguments(HDRTVNetPlus, parts))


def hdrunet(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a file of HDRUNet from the authors' code; None if the file is of another network.

    Their released file gives linear light of photographs, and no HDR10. Files that their code trained on HDR10 are
    converters.
    """
    if "mask_est.0.weight" not in state:
        return None
    renamed = {rename_key(key, HDRUNET_KEY_MAP): value for key, value in state.items()}
    blocks = [len([key for key in renamed if re.match(rf"trunks\.{i}\.\d+\.conv1\.weight", key)]) for i in range(3)]
    return Weights(
        renamed, constructor_arguments(HDRUNet, {"width": len(state["conv_first.weight"]), "blocks": blocks})
    )


def deephdr(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a file of DeepHDR from the authors' code; None if the file is of another network."""
    inner: Any = state.get("model", state)
    if "enc_1.conv.input_conv.weight" not in inner:
        return None
    renamed = {rename_key(k, DEEPHDR_KEY_MAP): v for k, v in inner.items() if ".mask_update_conv." not in k}
    layers = len([key for key in renamed if key.startswith("encoder.")])
    widths = tuple(len(renamed[f"encoder.{i}.conv.weight"]) for i in range(layers))
    return Weights(renamed, constructor_arguments(DeepHDR, {"widths": widths, "light": True}))


def hdrcnn(state: Mapping[str, Tensor]) -> Weights | None:
    """Read the authors' `.npz` file of HDRCNN, which lists the arrays of TensorLayer; None if it is of another network.

    Its frames are blue, green, red, from 0 to 255. Here they are red, green, blue, from 0 to 1, so that features are
    1/255 of theirs, which is the light that its skips make of them.
    """
    arrays = [value for key, value in state.items() if re.fullmatch(r"params\.\d+", key)]
    counts = [4 if name.endswith(HDRCNN_NORMS) else 2 for name in HDRCNN_LAYERS]
    if len(arrays) != sum(counts) or arrays[0].shape[:3] != (3, 3, 3):
        return None
    renamed: dict[str, Tensor] = {}
    rest = iter(arrays)
    for name, count in zip(HDRCNN_LAYERS, counts, strict=True):
        if count == 4:
            for kind in ("bias", "weight", "running_mean", "running_var"):
                renamed[f"{name}.{kind}"] = next(rest)
            renamed[f"{name}.num_batches_tracked"] = torch.tensor(0)
        else:  # height, width, input, output; of transposed convolutions output, input
            renamed[f"{name}.weight"] = next(rest).permute(3, 2, 0, 1)
            renamed[f"{name}.bias"] = next(rest) / (255 if name.startswith("encoder.") else 1)
    renamed[f"{HDRCNN_LAYERS[0]}.weight"] = renamed[f"{HDRCNN_LAYERS[0]}.weight"].flip(1)
    renamed["bottom.0.weight"] = 255 * renamed["bottom.0.weight"]
    widths = tuple(len(renamed[f"encoder.levels.{level}.0.weight"]) for level in range(len(DEPTHS)))
    return Weights(renamed, constructor_arguments(HDRCNN, {"widths": widths, "released": True}))


def hdrtvdm(state: Mapping[str, Tensor]) -> Weights | None:
    """Read HDRTVDM's LSN from a released file; None if the file is of another network."""
    if "mid_branch.conv1.weight" not in state:
        return None
    renamed = {rename_key(key, LSN_KEY_MAP): value for key, value in state.items()}
    return Weights(renamed, constructor_arguments(LSN, {}))


def pixel2pixel(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a `resnet_9blocks` file of Pixel2Pixel's authors' code; None if the file is of another network."""
    return _translation(Pixel2Pixel, state)


def cyclegan(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a `resnet_9blocks` file of CycleGAN's authors' code; None if the file is of another network."""
    return _translation(CycleGAN, state)


def basicvsr_pp(state: Mapping[str, Tensor]) -> Weights | None:
    """Read a released file of BasicVSR++ in its form that keeps the size; None if the file is of another network.

    Its SPyNet is left out: the flow is that of `vitm.nets.flow`.
    """
    renamed = {rename_key(key, BASICVSR_KEY_MAP): value for key, value in state.items()}
    if "extract.4.2.0.conv1.weight" not in renamed or "align.forward_2.deform.weight" not in renamed:
        return None
    blocks = len({key.split(".")[3] for key in renamed if key.startswith(f"backbone.{BRANCHES[0]}.2.")})
    arguments = {"width": len(renamed["extract.0.weight"]), "blocks": blocks}
    weights = {k: v for k, v in renamed.items() if not k.startswith(("spynet.", "step_counter"))}
    return Weights(weights, constructor_arguments(BasicVSRPP, arguments))


def _translation(network: type[Pixel2Pixel], state: Mapping[str, Tensor]) -> Weights | None:
    if "model.10.conv_block.1.weight" not in state:
        return None
    renamed = {rename_key(key, TRANSLATION_KEY_MAP): value for key, value in state.items()}
    statistics = ("running_mean", "running_var", "num_batches_tracked")  # of older files, which nothing reads
    weights = {key: value for key, value in renamed.items() if not key.endswith(statistics)}
    return Weights(weights, constructor_arguments(network, {"width": len(state["model.1.weight"])}))


def _prefixes(state: Mapping[str, Tensor], first_keys: Mapping[str, str]) -> dict[str, str]:
    """Return what stands before the keys of the parts of a network, which are known by one of their keys."""
    return {
        part: key.removesuffix(first)
        for part, first in first_keys.items()
        for key in state
        if key == first or key.endswith(f".{first}")
    }


def _part(state: Mapping[str, Tensor], prefix: str, key_map: KeyMap) -> dict[str, Tensor]:
    """Return the tensors behind a prefix, under the names here."""
    return {
        rename_key(key.removeprefix(prefix), key_map): value for key, value in state.items() if key.startswith(prefix)
    }
