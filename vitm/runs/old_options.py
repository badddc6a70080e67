"""Configurations of runs of earlier versions, with today's options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_REMOVED = ("pairs", "interval_s", "grid_crop", "grid_stride")  # of data modules that read videos by themselves


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run's folder; options that no longer exist are left out.

    Raises:
        ValueError: The run depends on an option that no longer exists.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text())
    try:
        return with_current_options(config)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def with_current_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration without options that no longer exist.

    Raises:
        ValueError: One of them was in use.

    Example:
        >>> with_current_options({"data": {"root": "DATA", "pairs": None, "interval_s": 2.0, "grid_crop": None}})
        {'data': {'root': 'DATA'}}
    """
    data = dict(config.get("data") or {})
    if data.get("pairs"):
        raise ValueError(
            f"this run read the pairs of videos in {data['pairs']}, which data modules no longer do; make a data set "
            "of them with `vitm prepare`, and start a run on it with --data.root"
        )
    data = {name: value for name, value in data.items() if name not in _REMOVED}
    if data.get("source") == "demo":  # long sequences wrote their panoramas themselves
        data["source"] = "panoramas"
    return {**config, **({"data": data} if data else {})}
