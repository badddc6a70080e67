"""Training and evaluation of DSLNet, and of other networks that convert the middle frame of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from vitm.data.batch import ClipBatch
from vitm.nets.complexity import count_macs
from vitm.nets.interface import WindowNetwork, stream
from vitm.papers.dslnet.network import DSLNet
from vitm.training.optimizers import OptimizerOf, Schedule
from vitm.training.task import L1Task, constructor_arguments

MILESTONES = (50_000, 100_000, 150_000, 190_000, 230_000, 270_000, 310_000)


class WindowTask(L1Task):
    """A network that converts the middle frame of a window, with the mean absolute difference of PQ codes.

    The network is a `vitm.nets.interface.WindowNetwork`: (B, 2 radius + 1, 3, H, W) -> (B, 3, H, W).

    Args:
        milestones: steps after which `schedule=halving` halves the rate (section Training Details: every 50,000, after
            150,000 every 40,000).
        **recipe: see `vitm.training.task.L1Task`; the learning rate too is that of section Training Details.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "sr_sim", "delta_e_itp")

    def __init__(self, milestones: Sequence[int] = MILESTONES, **recipe: Any) -> None:
        super().__init__(milestones=milestones, **recipe)

    @property
    def clip_frames(self) -> int:  # type: ignore[override]  # here it depends on the network
        """The number of frames that the network takes at once."""
        assert isinstance(self.network, WindowNetwork)
        return 2 * self.network.radius + 1

    def forward(self, sdr: Tensor) -> Tensor:
        """Return predictions in [0, 1] of all frames of clips: (B, T, 3, H, W) -> (B, T, 3, H, W)."""
        return torch.stack(list(stream(self.network, sdr.unbind(1))), dim=1).float().clamp(0, 1)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Return L1 of the target frame (section Training Details)."""
        frames, given = self.clip_frames, batch["sdr"].shape[1]
        spare = (given - frames) // 2
        if spare < 0:
            raise ValueError(
                f"the network takes {frames} frames, and the batch has windows of {given}: set data.radius to "
                f"{frames // 2} or more"
            )
        return self.loss(self.learner(batch["sdr"][:, spare : spare + frames]), batch["hdr_pq"])

    def macs_per_frame(self) -> int:
        """Return the multiply-adds a frame at 256 x 256: a window gives one frame."""
        clip = torch.rand(1, self.clip_frames, 3, 64, 64, device=self.device)
        return count_macs(self.network, clip) * 16


class DSLNetTask(WindowTask):
    """DSLNet with its L1 loss on the middle frame.

    Args:
        lr: learning rate of Adam (section Training Details).
        betas: betas of Adam.
        schedule: schedule of the learning rate.
        milestones: see `WindowTask`.
        compile: run the network through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, the authors' released file, a plain state
            dict, or the name of weights that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn, such as `[estimator.*]`.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
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
        init_from: str | None = None,
        init_strict: bool = True,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.0,
        optimizer: OptimizerOf | None = None,
        warmup: int = 0,
        **network: Any,
    ) -> None:
        super().__init__(
            lr=lr,
            betas=betas,
            schedule=schedule,
            milestones=milestones,
            compile=compile,
            test_metrics=test_metrics,
            init_from=init_from,
            init_strict=init_strict,
            freeze=freeze,
            ema_decay=ema_decay,
            optimizer=optimizer,
            warmup=warmup,
        )
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network."""
        self.network, self.arguments = DSLNet(**network), constructor_arguments(DSLNet, network)
