"""SceneMap, the network of this project: a colour map for each scene."""

from typing import TYPE_CHECKING, Any

from vitm.papers.scene_map.network import SceneMap

if TYPE_CHECKING:
    from vitm.papers.scene_map.task import SceneMapTask

__all__ = ["SceneMap", "SceneMapTask"]


def __getattr__(name: str) -> Any:
    """Import the task when it is asked for: it needs Lightning, the network needs torch alone."""
    if name == "SceneMapTask":
        from vitm.papers.scene_map.task import SceneMapTask

        return SceneMapTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
