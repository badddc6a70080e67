"""Where the demo data is kept."""

from __future__ import annotations

import os
from pathlib import Path


def demo_data(kind: str = "triplets") -> Path:
    """The folder of the demo data, made on first use (about a minute on two cores).

    Args:
        kind: `"triplets"`, `"clips"`, or `"sequences"`, which `LongSequences` writes there by itself.
    """
    from vitm.data.demo.folder import write_demo

    cache = Path(
        os.environ.get("VITM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "vitm"
    )
    if kind == "sequences":
        return cache / "demo_sequences"
    return write_demo(cache / "demo") if kind == "triplets" else write_demo(cache / "demo_clips", frames=10)
