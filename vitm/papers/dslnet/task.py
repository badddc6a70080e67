"""Training and evaluation of DSLNet, and of other networks that convert the middle frame of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vitm.data.batch import ClipBatch
from vitm.nets.complexity import count_macs
from vitm.nets.interface import WindowNetwork, stream
from vitm.papers.dslnet.network import DSLNet
from vitm.training.optimizers import Schedule
from vitm.training.task import L1Task, constructor_arguments

MILESTONES = (50_000, 100_000, 150_000, 190_000, 230_000, 270_000, 310_000)


class WindowTask(L1Task):
    """A network that converts the middle frame of a window, with the mean absolute difference of PQ codes.

    Args:
        network: (B, 2 radius + 1, 3, H, W) -> (B, 3, H, W), a `WindowNetwork`.
        arguments: all arguments of its constructor.
        milestones: steps after which `schedule=halving` halves the rate (section Training Details: every 50,000, after
            150,000 every 40,000).
        **recipe: see `vitm.training.task.L1Task`; the rate too is of section Training Details.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "sr_sim", "delta_e_itp")

    def __init__(
        self, network: nn.Module, arguments: dict[str, Any], milestones: Sequence[int] = MILESTONES, **recipe: Any
    ) -> None:
        super().__init__(network, arguments, milestones=milestones, **recipe)
        if not isinstance(network, WindowNetwork):
            raise TypeError(f"expected a network of windows (`WindowNetwork`), got {type(network).__name__}")
        self.clip_frames = 2 * network.radius + 1

    def forward(self, sdr: Tensor) -> Tensor:
        """Predictions in [0, 1] of all frames of clips: (B, T, 3, H, W) -> (B, T, 3, H, W)."""
        return torch.stack(list(stream(self.network, sdr.unbind(1))), dim=1).float().clamp(0, 1)

    def macs_per_frame(self) -> int:
        """Multiply-adds a frame at 256 x 256: a window gives one."""
        clip = torch.rand(1, int(self.clip_frames or 1), 3, 64, 64, device=self.device)
        return count_macs(self.network, clip) * 16

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """L1 of the target frame (section Training Details)."""
        frames = int(self.clip_frames or 0)
        spare = (batch["sdr"].shape[1] - frames) // 2
        if spare < 0:
            raise ValueError(
                f"the network takes {frames} frames, and the batch has windows of {batch['sdr'].shape[1]}: set "
                f"data.radius to {frames // 2} or more"
            )
        return self.loss(self.network(batch["sdr"][:, spare : spare + frames]), batch["hdr_pq"])


class DSLNetTask(WindowTask):
    """DSLNet.

    Args:
        lr: see `WindowTask`.
        betas: see `WindowTask`.
        schedule: see `WindowTask`.
        milestones: see `WindowTask`.
        compile: run the network through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        **network: arguments of `DSLNet`.
    """

    name: ClassVar[str] = "dslnet"

    def __init__(
        self,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "halving",
        milestones: Sequence[int] = MILESTONES,
        compile: bool = False,
        test_metrics: list[str] | None = None,
        **network: Any,
    ) -> None:
        arguments = constructor_arguments(DSLNet, network)
        super().__init__(
            DSLNet(**network),
            arguments,
            lr=lr,
            betas=betas,
            schedule=schedule,
            milestones=milestones,
            compile=compile,
            test_metrics=test_metrics,
        )
