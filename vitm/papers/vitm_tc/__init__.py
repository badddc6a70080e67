"""VITM-TC (CVPR 2024): clipped light is looked up in frames far away, then passed on to neighbouring frames."""

from typing import TYPE_CHECKING, Any

from vitm.papers.vitm_tc.clues import Clues
from vitm.papers.vitm_tc.fcpm import FCPM
from vitm.papers.vitm_tc.icam import ICAM
from vitm.papers.vitm_tc.network import VITMTC

if TYPE_CHECKING:
    from vitm.papers.vitm_tc.task import BlendTask, CluesTask, FCPMTask, ICAMTask

__all__ = ["FCPM", "ICAM", "VITMTC", "BlendTask", "Clues", "CluesTask", "FCPMTask", "ICAMTask"]


def __getattr__(name: str) -> Any:
    """Import the tasks when they are asked for: they need Lightning, the networks need torch alone."""
    if name in ("BlendTask", "CluesTask", "ICAMTask", "FCPMTask"):
        from vitm.papers.vitm_tc import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
