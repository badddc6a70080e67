"""Learned inverse tone mapping of video: SDR in, HDR10 out.

The names below are imported when they are first used, so that `import vitm` costs nothing.

Example:
    >>> import vitm
    >>> vitm.list_networks("hdrtv*")
    ['hdrtvdm', 'hdrtvnet', 'hdrtvnet_plus']
    >>> operator = vitm.load_network("bt2446a")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitm.conversion import convert as convert
    from vitm.conversion import export as export
    from vitm.evaluation import evaluate as evaluate
    from vitm.zoo import list_networks as list_networks
    from vitm.zoo import load_network as load_network

__version__ = "0.1.0"
__all__ = ["__version__", "convert", "evaluate", "export", "list_networks", "load_network"]

_HOMES = {
    "convert": "vitm.conversion",
    "evaluate": "vitm.evaluation",
    "export": "vitm.conversion",
    "list_networks": "vitm.zoo",
    "load_network": "vitm.zoo",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
