"""Training and evaluation of the multi-frame ResNet of DSLNet's Table 3."""

from __future__ import annotations

from typing import Any, ClassVar

from vitm.baselines.srresnet import SRResNet
from vitm.papers.dslnet.task import WindowTask


class MResNetTask(WindowTask):
    """The multi-frame ResNet: all frames of a window stacked on the channels of an SRResNet.

    Args:
        frames: see `SRResNet`; 2 T + 1.
        width: see `SRResNet`.
        blocks: see `SRResNet`.
        **recipe: see `WindowTask`.
    """

    name: ClassVar[str] = "srresnet"
    network_class = SRResNet

    def __init__(self, frames: int = 5, width: int = 64, blocks: int = 16, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(frames=frames, width=width, blocks=blocks)
