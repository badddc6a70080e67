"""KPN-MFI (IJCAI 2022): kernel prediction with multi-frame interaction."""

from typing import TYPE_CHECKING, Any

from vitm.papers.kpn_mfi.mfi import MFI
from vitm.papers.kpn_mfi.network import KPNMFI

if TYPE_CHECKING:
    from vitm.papers.kpn_mfi.task import KPNMFITask

__all__ = ["KPNMFI", "MFI", "KPNMFITask"]


def __getattr__(name: str) -> Any:
    """Import the task when it is asked for: it needs Lightning, the networks need torch alone."""
    if name == "KPNMFITask":
        from vitm.papers.kpn_mfi.task import KPNMFITask

        return KPNMFITask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
