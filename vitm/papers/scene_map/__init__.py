"""SceneMap, the network of this project: a colour map for each scene."""

from typing import TYPE_CHECKING, Any

from vitm.papers.scene_map.network import SceneMap
from vitm.papers.scene_map.operator_map import OperatorMap

if TYPE_CHECKING:
    from vitm.papers.scene_map.task import OperatorMapTask, OperatorsTask, SceneMapTask

__all__ = ["OperatorMap", "OperatorMapTask", "OperatorsTask", "SceneMap", "SceneMapTask"]


def __getattr__(name: str) -> Any:
    """Import a task when it is asked for: it needs Lightning, the network needs torch alone."""
    if name in ("OperatorMapTask", "OperatorsTask", "SceneMapTask"):
        from vitm.papers.scene_map import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
