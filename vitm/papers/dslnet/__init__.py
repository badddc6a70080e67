"""DSLNet: SDRTV to HDRTV by dynamic alignment, spatial-temporal modulation and large kernels."""

from typing import TYPE_CHECKING, Any

from vitm.papers.dslnet.network import DSLNet

if TYPE_CHECKING:
    from vitm.papers.dslnet.task import DSLNetTask

__all__ = ["DSLNet", "DSLNetTask"]


def __getattr__(name: str) -> Any:
    """Import the task when it is asked for: it needs Lightning, the network needs torch alone."""
    if name == "DSLNetTask":
        from vitm.papers.dslnet.task import DSLNetTask

        return DSLNetTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
