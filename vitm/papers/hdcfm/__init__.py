"""HDCFM and PDCG (ACM MM 2022): hierarchical modulation with dynamic context features, then highlights."""

from typing import TYPE_CHECKING, Any

from vitm.papers.hdcfm.network import HDCFM
from vitm.papers.hdcfm.pdcg import HDCFMPDCG, PDCG

if TYPE_CHECKING:
    from vitm.papers.hdcfm.task import HDCFMTask, PDCGTask

__all__ = ["HDCFM", "HDCFMPDCG", "PDCG", "HDCFMTask", "PDCGTask"]


def __getattr__(name: str) -> Any:
    """Import the tasks when they are asked for: they need Lightning, the networks need torch alone."""
    if name in ("HDCFMTask", "PDCGTask"):
        from vitm.papers.hdcfm import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
