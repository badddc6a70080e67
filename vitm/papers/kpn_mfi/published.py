"""The released KPN-MFI file: which of its keys are which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor

from vitm.checkpoints import KeyMap, Weights, constructor_arguments, rename_key
from vitm.papers.kpn_mfi.network import KPNMFI, OFFICIAL

# The released code counts its modules from 1 and its decoder trunks from 3.
KEY_MAP: KeyMap = [
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


def from_published(state: Mapping[str, Tensor]) -> Weights | None:
    """Read the released state dict; None if it is of another network."""
    if "mfi.t_fus.weight" not in state:
        return None
    renamed = {}
    for key, value in state.items():
        if key.startswith("mfi.fusion."):
            continue  # never executed by the released code
        key = rename_key(key, KEY_MAP)
        value = value.float()
        if key.startswith("decoder.kernels."):  # taps are stored column by column there, row by row here
            value = rearrange(value, "(color dx dy) ... -> (color dy dx) ...", dx=5, dy=5)
        renamed[key] = value
    return Weights(renamed, constructor_arguments(KPNMFI, OFFICIAL))
