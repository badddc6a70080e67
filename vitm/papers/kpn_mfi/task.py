"""Training and evaluation of KPN-MFI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from vitm.data.batch import TripletBatch
from vitm.nets.flow import FlowName, flow_estimator
from vitm.papers.kpn_mfi.losses import (
    BrightnessConsistencyLoss,
    Content,
    OfficialConsistencyLoss,
    Reduction,
    content_loss,
)
from vitm.papers.kpn_mfi.network import KPNMFI
from vitm.papers.kpn_mfi.published import from_published
from vitm.training.optimizers import OptimizerOf, Schedule
from vitm.training.task import InverseToneMappingTask, constructor_arguments


class KPNMFITask(InverseToneMappingTask):
    """KPN-MFI with its content and brightness consistency losses.

    Args:
        alpha: weight of the consistency loss (section 3.3: 0.05; the released code: 0.01); 0 leaves it out.
        consistency: `"paper"`: equation 9; `"official"`: the released code's form.
        content: what the content loss compares: `"tanh"`: the tanh of PQ codes (equation 8); `"l1"`: PQ codes (released
            code).
        reduction: `"mean"`: norms are means, as in the released code; `"frame_sum"`: equation 8 adds the means of the
            frames; `"printed"`: norms are sums, see `vitm.papers.kpn_mfi.losses.Reduction`.
        log_first: whether equation 9 filters the logarithm, and does not take that of what was filtered.
        luma: whether equation 9 looks at luma, and not at each channel.
        flow_frames: frames between which motion is estimated: `"sdr"`, or the `"target"` in PQ code.
        flow: optical flow that aligns the frames for equation 9.
        flow_weights: file of the flow network's weights, for all but `"dis"` and `"zero"`.
        lr: learning rate of Adam (released code).
        betas: betas of Adam (released code).
        schedule: schedule of the learning rate (released code: constant).
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
        **network: arguments of `KPNMFI`.
    """

    name: ClassVar[str] = "kpn_mfi"
    metrics: ClassVar[tuple[str, ...]] = ("psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd")
    clip_frames = 3
    published = staticmethod(from_published)

    def __init__(
        self,
        alpha: float = 0.05,
        consistency: Literal["paper", "official"] = "paper",
        content: Content = "tanh",
        reduction: Reduction = "mean",
        log_first: bool = False,
        luma: bool = False,
        flow_frames: Literal["sdr", "target"] = "sdr",
        flow: FlowName = "dis",
        flow_weights: str | None = None,
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
        **network: Any,
    ) -> None:
        super().__init__(
            lr,
            betas,
            schedule,
            milestones,
            compile,
            test_metrics,
            init_from=init_from,
            init_strict=init_strict,
            freeze=freeze,
            ema_decay=ema_decay,
            optimizer=optimizer,
            warmup=warmup,
        )
        if consistency == "official" and (reduction == "printed" or log_first or luma):
            raise ValueError("reduction='printed', log_first and luma belong to consistency='paper'")
        self.alpha, self.consistency = alpha, consistency
        self.content, self.reduction = content, reduction
        self.log_first, self.luma, self.flow_frames = log_first, luma, flow_frames
        self.flow, self.flow_weights = flow, flow_weights
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network."""
        self.network, self.arguments = KPNMFI(**network), constructor_arguments(KPNMFI, network)

    def configure_losses(self) -> None:
        """Make the consistency loss, unless its weight is 0."""
        self.consistency_loss: Callable[[Tensor, Tensor], Tensor] | None = None
        if self.alpha and self.consistency == "official":
            self.consistency_loss = OfficialConsistencyLoss()
        elif self.alpha:
            flow = flow_estimator(self.flow, self.flow_weights)
            self.consistency_loss = BrightnessConsistencyLoss(flow, self.reduction, self.log_first, self.luma)

    def training_step(self, batch: TripletBatch, batch_idx: int) -> Tensor:
        """Return L = L_C + alpha L_T (section 3.3)."""
        hdr_pq = self.learner(batch["sdr"])
        loss = content = content_loss(hdr_pq, batch["hdr_pq"], self.reduction, self.content)
        if self.consistency_loss is not None:
            seen = batch["sdr"] if self.flow_frames == "sdr" else batch["hdr_pq"]
            consistency = self.consistency_loss(hdr_pq, seen)
            loss = content + self.alpha * consistency
            self.log("train/consistency", consistency, sync_dist=True)
        self.log("train/content", content, sync_dist=True)
        self.log("train/loss", loss, sync_dist=True)
        return loss
