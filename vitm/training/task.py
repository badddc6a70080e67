"""What every task shares: its three hooks, evaluation, and what a checkpoint says about its network."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torchmetrics import MetricCollection

from vitm.checkpoints import Weights
from vitm.checkpoints import constructor_arguments as constructor_arguments
from vitm.metrics import VideoMetric, frame_metrics
from vitm.nets.complexity import count_macs
from vitm.training.optimizers import ENDING, OptimizerOf, Schedule, check_rate, scheduled
from vitm.training.start import Start, freeze, start_from


class InverseToneMappingTask(LightningModule):
    """A network that maps SDR to HDR10, its training and its evaluation by the field's metrics.

    Three hooks say what a task consists of: `configure_metrics`, which the constructor calls, `configure_networks`,
    which a subclass calls at the end of its own constructor, and `configure_losses`, which is called before a fit. A
    subclass sets `name`, `metrics` and `network_class` and defines `training_step`.

    Args:
        lr: learning rate.
        betas: betas of Adam.
        schedule: schedule of the learning rate, see `vitm.training.optimizers.scheduled`: a name, or the class path of
            one of PyTorch's, which counts steps.
        milestones: steps after which `schedule=halving` halves the rate.
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
    """

    name: ClassVar[str]
    """Name of the network in `vitm.zoo`, or the import path of its class."""
    network_class: ClassVar[type[nn.Module]]
    """Class of the network, for tasks with one network."""
    metrics: ClassVar[tuple[str, ...]]
    """What validation measures, and the test unless `test_metrics` says otherwise: names of `vitm.metrics.METRICS`."""
    monitor: ClassVar[tuple[str, str]] = ("val/psnr", "max")
    """Value that chooses the best checkpoint, and whether its largest or smallest (`"min"`) value is best."""
    clip_frames: int | None = None
    """Number of frames that the network takes at once, (B, T, 3, H, W); None: single ones, (B, 3, H, W)."""
    trains: ClassVar[bool] = True
    """Whether there is something to train; a run of a task without makes no step, and measures."""
    analytic: ClassVar[bool] = True
    """Whether the analytic operators do the same task, and are measured beside the network."""
    light: ClassVar[str] = ""
    """Scaling from relative to absolute light before measuring, for the printed protocol."""

    network: nn.Module
    arguments: dict[str, Any]
    """Arguments of the network's constructor, which rebuild it from a checkpoint."""
    ema_warmup: ClassVar[int] = 10
    """Steps after which the moving average counts the newest weights half."""
    start: Start | None = None
    """What a fit took from `init_from`."""

    def __init__(
        self,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "constant",
        milestones: Sequence[int] = (),
        compile: bool = False,
        test_metrics: list[str] | None = None,
        init_from: str | None = None,
        init_strict: bool = True,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.0,
        optimizer: OptimizerOf | None = None,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= ema_decay < 1:
            raise ValueError(f"expected 0 <= ema_decay < 1, got {ema_decay}")
        self.lr, self.betas, self.schedule, self.milestones = lr, betas, schedule, milestones
        self.init_from, self.init_strict, self.frozen = init_from, init_strict, freeze
        self.ema_decay, self.optimizer, self.warmup = ema_decay, optimizer, warmup
        self.compile_network = compile
        self._seed = torch.initial_seed()
        self._ready_to_fit = False
        self.configure_metrics(test_metrics)

    def configure_metrics(self, test_metrics: list[str] | None) -> None:
        """Make `val_metrics` and `test_metrics`."""
        self.val_metrics = frame_metrics(self.metrics)
        self.test_metrics = frame_metrics(self.metrics if test_metrics is None else test_metrics)

    def configure_networks(self, **arguments: Any) -> None:
        """Make `network`, and `arguments`, which rebuild it; here: `network_class(**arguments)`."""
        self.network, self.arguments = self.network_class(**arguments), arguments

    def configure_losses(self) -> None:
        """Make the losses, with all that training needs and a test does not; here: nothing."""

    def configure_optimizers(self) -> Any:
        """Return the optimiser of the parameters that learn, with the schedule."""
        return self.optimize(self.learner.parameters())

    def optimize(self, parameters: Iterable[Any]) -> dict[str, Any]:
        """Return the optimiser of parameters or parameter groups, with the schedule, as `configure_optimizers` does."""
        groups = [*parameters]
        groups = groups if isinstance(groups[0], dict) else [{"params": groups}]
        groups = [{"lr": self.lr} | group for group in groups]
        optimizer = torch.optim.Adam(groups, betas=self.betas) if self.optimizer is None else self.optimizer(groups)
        steps = float(self.trainer.estimated_stepping_batches) if self.schedule in ENDING else math.inf
        return scheduled(optimizer, self.schedule, steps, self.milestones, self.warmup)

    @staticmethod
    def published(state: Mapping[str, Tensor]) -> Weights | None:
        """Read the authors' released state dict of the network; None: it is of another one, or nothing is released."""
        return None

    @property
    def learner(self) -> Any:
        """The network whose parameters learn: `network`, or with `ema_decay` the one of which that is the average."""
        return self._modules.get("learner", self.network)

    @property
    def average(self) -> nn.Module:
        """The network that is the moving average of `learner`."""
        return self.network

    def prepare_fit(self, resumed: bool = False) -> None:
        """Make the losses and load the weights to start from, once: what is missing is an error here, before any work.

        Args:
            resumed: whether a checkpoint of the same run brings the weights.
        """
        if self._ready_to_fit:
            return
        check_rate(self.optimizer, self.lr)
        self.configure_losses()
        if self.init_from is not None and not resumed:
            self.start_from(self.init_from)
        self.configure_average()
        if self.frozen:
            freeze(self.learner, self.frozen)
        self._ready_to_fit = True

    def start_from(self, source: str) -> None:
        """Load weights into `network`, see `init_from`."""
        self.start = start_from(
            self.network, source, self.name, self.arguments, self.published, strict=self.init_strict
        )

    def configure_average(self) -> None:
        """Make what learns beside `network`, of which that becomes the average; here with `ema_decay` alone."""
        if self.ema_decay:
            self._modules["learner"] = copy.deepcopy(self.network)
            self.network.requires_grad_(False)

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Move the average towards the weights that learn, after so many steps; at first faster."""
        if self.average is self.learner:
            return
        decay = min(self.ema_decay, step / (self.ema_warmup + step))
        move: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move([*self.average.parameters()], [*self.learner.parameters()], step)
        for kept, current in zip(self.average.buffers(), self.learner.buffers(), strict=True):
            kept.copy_(current)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Step, and move the average: here, so that whatever is saved after a step holds both."""
        super().optimizer_step(*arguments, **options)
        self.update_average(self.global_step + 1)  # the trainer counts the step after this

    def setup(self, stage: str) -> None:
        """Prepare a fit; lay the weights out channels-last, and compile the network where asked for."""
        if stage == "fit":
            self.prepare_fit()
        for network in {self.network, self.learner}:
            network.to(memory_format=torch.channels_last)
            if self.compile_network:
                network.compile()

    def forward(self, sdr: Tensor) -> Tensor:
        """Return the network's prediction in [0, 1]: what is measured, shown and written."""
        hdr_pq: Tensor = self.network(sdr).float().clamp(0, 1)
        return hdr_pq

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Measure and return the prediction, in fp32 whatever training is."""
        with self._in_fp32():
            return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Measure and return the prediction, in fp32 whatever training is."""
        with self._in_fp32():
            return self._evaluate(batch, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log `val/<metric>`."""
        self._log_metrics("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log `test/<metric>`."""
        self._log_metrics("test", self.test_metrics)

    def _in_fp32(self) -> torch.autocast:
        """Switch mixed precision off: bf16 leaves a few hundred of the codes that HDR needs."""
        return torch.autocast(self.device.type, enabled=False)

    def _evaluate(self, batch: Any, metrics: MetricCollection) -> Any:
        hdr_pq: Tensor = self(batch["sdr"])
        metrics.update(hdr_pq, batch["hdr_pq"])
        return hdr_pq

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        self.log_dict({f"{stage}/{name}": value.float() for name, value in metrics.compute().items()})
        metrics.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write which network this is, so that `vitm.zoo.load_network` rebuilds it from the file alone."""
        checkpoint["vitm"] = {"network": self.name, "arguments": self.arguments}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what learned beside the average, where nothing learns."""
        if "learner" not in self._modules:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith("learner.")}

    def masked_metrics(self) -> dict[str, VideoMetric]:
        """Return metrics of parts of frames that the task measures beside `test_metrics`, for the printed protocol."""
        return {}

    def earlier_stages(self) -> dict[str, nn.Module]:
        """Return networks by name that the test measures beside this one, because it goes on from them."""
        return {}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return the metrics of what the test measured beside the network, by its name."""
        return {}

    def preview(self, batch: Any, outputs: Any) -> tuple[Tensor, Tensor, Tensor, str]:
        """Return SDR, prediction and target of the first sample (of a clip its middle frame), and the sample's name.

        Args:
            batch: batch of validation or test.
            outputs: what the step returned for it.

        Returns:
            Three frames (3, H, W), and the name.
        """
        frames = [x[0] if x.ndim == 4 else x[0, x.shape[1] // 2] for x in (batch["sdr"], outputs, batch["hdr_pq"])]
        return frames[0], frames[1], frames[2], batch["name"][0]

    def macs_per_frame(self) -> int | None:
        """Return the multiply-adds a frame at 256 x 256; None: not counted."""
        if self.clip_frames is None:
            network = copy.deepcopy(self.network).to("meta").eval()  # counts whole maps, and computes nothing
            return count_macs(network, torch.empty(1, 3, 256, 256, device="meta"))
        clip = torch.rand(1, self.clip_frames, 3, 64, 64, device=self.device)  # a sixteenth of it, in one band of rows
        return count_macs(self.network, clip) * 16 // self.clip_frames

    @contextmanager
    def step_rng(self, batch_idx: int, piece: int = 0) -> Iterator[None]:
        """Draw random numbers, of dropout say, that depend on the seed, the step and the process alone.

        So a resumed run draws what an undisturbed one draws. The batches of an accumulated step, and the pieces of a
        batch, draw different ones.
        """
        key = [self._seed, self.global_step, self.global_rank]
        if part := piece or batch_idx % self.trainer.accumulate_grad_batches:
            key.append(part)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(hash(tuple(key)))
            yield


class L1Task(InverseToneMappingTask):
    """A network that learns by the mean absolute difference of PQ codes, with Adam.

    Args:
        schedule: schedule of the learning rate, halved at `milestones` by default.
        **recipe: see `InverseToneMappingTask`.
    """

    def __init__(self, schedule: Schedule = "halving", **recipe: Any) -> None:
        super().__init__(schedule=schedule, **recipe)

    def loss(self, hdr_pq: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a training step, and log it."""
        loss = F.l1_loss(hdr_pq.float(), target)
        self.log("train/loss", loss, sync_dist=True)
        return loss
