"""DSLNet: SDRTV to HDRTV by dynamic alignment, spatial-temporal modulation and large kernels."""

from typing import TYPE_CHECKING, Any

from vitm.papers.dslnet.network import DSLNet

if TYPE_CHECKING:
    from vitm.papers.dslnet.task import DSLNetTask, MResNetTask

__all__ = ["DSLNet", "DSLNetTask", "MResNetTask"]


def __getattr__(name: str) -> Any:
    """Import a task when it is asked for: it needs Lightning, the network needs torch alone."""
    if name in ("DSLNetTask", "MResNetTask"):
        from vitm.papers.dslnet import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
