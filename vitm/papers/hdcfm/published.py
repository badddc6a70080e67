"""The released HDCFM file: which of its keys are which of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vitm.checkpoints import KeyMap, Weights, constructor_arguments, rebuild_network, rename_key
from vitm.papers.hdcfm.network import HDCFM

STAGES = ("first", "HR", "last")

KEY_MAP: KeyMap = [
    (r"^classifier\.downblocks", "estimator.blocks"),
    (r"^classifier\.global_vector\.1", "estimator.global_head"),
    (r"^classifier\.conv2\.0", "estimator.local_head"),
    (r"^conv_first\.", "stages.0."),
    (r"^HRconv\.", "stages.1."),
    (r"^conv_last\.", "stages.2."),
    (r"^cond_(scale|shift)_(first|HR|last)", lambda m: f"global_mods.{STAGES.index(m[2])}.{m[1]}"),
    (r"^conv_feat_(first|HR)_(scale|shift)", lambda m: f"local_mods.{STAGES.index(m[1])}.{m[2]}"),
    (r"channel_mul_conv", "transform"),
    (r"spatial_branch", "spatial"),
    (r"channel_branch\.(\d)", lambda m: f"channel.{int(m[1]) - 1}"),  # counted from the average pooling
]


def from_published(state: Mapping[str, Tensor]) -> Weights | None:
    """Read the released state dict; None if it is of another network."""
    if "HRconv.0.spatial_branch.0.weight" not in state:
        return None
    renamed = {rename_key(key, KEY_MAP): value for key, value in state.items()}
    return Weights(with_convolutions(renamed), constructor_arguments(HDCFM, {}))


def with_convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the weights of global modulation, linear layers there, as convolutions of a 1x1 map."""
    linear = re.compile(r"(^|\.)global_mods\..*weight$")
    return {key: value[..., None, None] if linear.search(key) else value for key, value in state.items()}


def load_hdcfm(path: str | Path) -> HDCFM:
    """Load the first stage of PDCG: HDCFM from one of our checkpoints or from the released file.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds another network.
    """
    network = rebuild_network(path, "hdcfm", HDCFM, from_published)
    assert isinstance(network, HDCFM)
    return network
