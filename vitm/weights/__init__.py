"""The weights that the package ships; README.md is their card."""

from __future__ import annotations

from pathlib import Path

SHIPPED = {
    "default": ("operator_map", "operator_map.ckpt"),
    "free_map": ("scene_map", "free_map.ckpt"),
    "temporal": ("vitm_tc", "temporal.ckpt"),
    "mixed_map": ("scene_map", "scene_map.ckpt"),
}
"""Networks that come with their weights: name -> name in `vitm.zoo.NETWORKS`, and a file in this folder."""


def shipped_weights(name: str) -> Path:
    """Return the file of the weights that come with a name of `SHIPPED`."""
    return Path(__file__).with_name(SHIPPED[name][1])
