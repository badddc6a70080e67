"""Training and evaluation of VITM-TC: ICAM first, FCPM behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from vitm.checkpoints import CheckpointError, network_state, read_checkpoint, recorded
from vitm.data.batch import SequenceBatch
from vitm.data.filming.motion import homography_flow
from vitm.data.sequences.long_clip import LongClip
from vitm.metrics import build_metric
from vitm.metrics.base import ClipMetric
from vitm.nets.discriminators import ClipDiscriminator, least_squares_loss
from vitm.papers.vitm_tc.display import measuring_white, to_hdr_pq
from vitm.papers.vitm_tc.exposure import linearise, over_exposure
from vitm.papers.vitm_tc.losses import HDRPerceptualLoss, flow_loss, mu_law, pixel_loss, tone_mapped_flow
from vitm.papers.vitm_tc.network import VITMTC
from vitm.training.adversarial import AdversarialTask
from vitm.training.optimizers import Schedule, adam
from vitm.training.task import InverseToneMappingTask, constructor_arguments

CHUNK = 8  # frames that are measured at once
FIRST_STAGE = ("widths", "align", "use_global", "exposure_match", "tau", "flow")  # arguments that FCPM shares with ICAM


class SequenceTask(InverseToneMappingTask):
    """A `VITMTC` that is measured on whole clips, in HDR10 with the truth's 99.9th percentile at 1000 cd/m2.

    Beside the metrics it logs `over_exposed`: the mean absolute difference of mu-law codes where the input is
    over-exposed, which is all that VITM-TC changes.

    A subclass sets `max_clues` and `every`, arguments of `VITMTC.stream`.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "pu21_psnr")
    analytic: ClassVar[bool] = False
    light: ClassVar[str] = "99.9th percentile of the truth at 1000 cd/m2"
    monitor: ClassVar[tuple[str, str]] = ("val/over_exposed", "min")
    network: VITMTC
    max_clues: int | None
    every: int = 1

    def __init__(self, compile: bool = False, test_metrics: Sequence[str] | None = None) -> None:
        super().__init__(compile, test_metrics)
        self.over_exposed = build_metric("over_exposed")
        self.unreconstructed = self.test_metrics.clone()  # the input, linearised
        self.unreconstructed_over_exposed = build_metric("over_exposed")
        self._baselines: dict[str, dict[str, float]] = {}

    def forward(self, ldr: Tensor) -> Tensor:
        """Clips (B, T, 3, H, W), camera code in [0, 1] -> linear light of the same shape."""
        linear: Tensor = self.network(ldr, max_clues=self.max_clues)
        return linear

    def macs_per_frame(self) -> None:
        """They depend on the number of clues that a clip has."""

    def baselines(self) -> dict[str, dict[str, float]]:
        """What the test measured of the linearised input."""
        return self._baselines

    def preview(self, batch: Any, outputs: Any) -> tuple[Tensor, Tensor, Tensor, str]:
        """The frame in the middle, as `outputs` has it."""
        sdr, hdr_pq, target = outputs
        return sdr, hdr_pq, target, batch.name

    def _evaluate(self, clip: LongClip, metrics: MetricCollection) -> Any:
        """Measure one clip; returns its middle frame as SDR, prediction and target."""
        times = range(0, len(clip), self.every)
        for name, metric in metrics.items():
            if isinstance(metric, ClipMetric) and len(times) < metric.context + metric.least:
                raise ValueError(
                    f"{name} needs {metric.context + metric.least} frames or more, and {clip.name} gives {len(times)}; "
                    "leave the metric out, or the clip"
                )
        frames = (clip.ldr(t)[None] for t in range(len(clip)))
        stream = self.network.stream(frames, self.max_clues, every=self.every)
        predicted = torch.cat([frame.cpu() for frame in stream])
        pairs = [tuple(frame.cpu() for frame in clip.frame(t)) for t in times]
        ldr, target = (torch.stack(frames) for frames in zip(*pairs, strict=True))
        white = measuring_white(target)
        clipped = over_exposure(ldr) > 0

        def measure(linear: Tensor, chosen: MetricCollection, over_exposed: Metric) -> None:
            for metric in chosen.values():
                step = len(linear) if isinstance(metric, ClipMetric) else CHUNK
                for i in range(0, len(linear), step):
                    x, y = (to_hdr_pq(light[i : i + step].to(self.device), white)[None] for light in (linear, target))
                    metric.update(x, y)
            over_exposed.update(mu_law(linear), mu_law(target), clipped)

        measure(predicted, metrics, self.over_exposed)
        if metrics is self.test_metrics:
            measure(linearise(ldr), self.unreconstructed, self.unreconstructed_over_exposed)
        middle = len(times) // 2
        return ldr[middle], to_hdr_pq(predicted[middle], white), to_hdr_pq(target[middle], white)

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        super()._log_metrics(stage, metrics)
        self.log(f"{stage}/over_exposed", self.over_exposed.compute().float())
        self.over_exposed.reset()
        if stage == "test":  # here, where all processes are
            values = {name: float(value) for name, value in self.unreconstructed.compute().items()}
            error = float(self.unreconstructed_over_exposed.compute())
            self._baselines = {"linearised input": values | {"over_exposed": error}}
            self.unreconstructed.reset()
            self.unreconstructed_over_exposed.reset()


class ICAMTask(SequenceTask):
    """ICAM on single key frames with a few references (equation 8).

    Args:
        perceptual_weight: of L_per; 0 needs no VGG16 weights.
        flow_weight: of L_flow. The true flow is exact where the data know their motion, else estimated between true HDR
            frames.
        vgg_weights: file of VGG16's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        lr: learning rate of Adam (section 4.1).
        betas: betas of Adam (not in the paper).
        schedule: of the learning rate (not in the paper).
        milestones: steps after which `schedule=halving` halves the rate.
        max_clues: of a key that is measured, the nearest ones (Figure 7); null is all that the network has.
        every: measure every so manieth frame only, each as a key frame.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        **network: arguments of `VITMTC`.
    """

    name: ClassVar[str] = "vitm_tc"

    def __init__(
        self,
        perceptual_weight: float = 0.1,
        flow_weight: float = 0.05,
        vgg_weights: str | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        max_clues: int | None = None,
        every: int = 15,
        test_metrics: list[str] | None = None,
        **network: Any,
    ) -> None:
        super().__init__(test_metrics=test_metrics)
        network = {"propagation": "none"} | network
        if network["propagation"] != "none":
            raise ValueError(f"ICAM is trained alone, expected propagation='none', got {network['propagation']!r}")
        self.network = VITMTC(**network)
        self.arguments = constructor_arguments(VITMTC, network) | {"flow_weights": None}  # a place of this machine
        self.perceptual_weight, self.flow_weight, self.vgg_weights = perceptual_weight, flow_weight, vgg_weights
        self.lr, self.betas, self.schedule, self.milestones = lr, betas, schedule, milestones
        self.max_clues, self.every = max_clues, every

    def setup(self, stage: str) -> None:
        """As always; the perceptual loss needs its weights for training alone."""
        super().setup(stage)
        trains = stage == "fit" and self.perceptual_weight > 0
        self.perceptual = HDRPerceptualLoss(self.vgg_weights) if trains else None

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """L_pix + 0.1 L_per + 0.05 L_flow (equation 8), of the composite."""
        rows = torch.arange(len(batch["ldr"]), device=self.device)[:, None]
        used = batch["reference_mask"][:, 0].any(0)  # by any sample
        if self.trainer.world_size > 1 and not used.any():  # all processes need gradients of the same parameters
            used = torch.arange(len(used), device=used.device) == 0
        index, present = batch["references"][:, 0, used], batch["reference_mask"][:, 0, used]
        key, references = batch["ldr"][:, 0], batch["ldr"][rows, index]
        flows = [self.network.reference_flow(key, frame) for frame in references.unbind(1)]
        made = self.network.icam.reconstruct(
            key, references, torch.stack(flows, 1) if flows else key.new_zeros(len(key), 0, 2, *key.shape[2:]), present
        )
        loss = pixel = pixel_loss(made.hdr_linear, batch["linear"][:, 0])
        self.log("train/pixel", pixel, sync_dist=True)
        if self.perceptual is not None:
            perceptual = self.perceptual(made.hdr_linear, batch["linear"][:, 0])
            loss = loss + self.perceptual_weight * perceptual
            self.log("train/perceptual", perceptual, sync_dist=True)
        if self.flow_weight > 0 and self.network.icam.correction is not None and flows:
            exact, valid = self._true_flows(batch, index)
            flow = flow_loss(made.flows, exact, valid & present[:, :, None, None, None])  # eq. 4
            loss = loss + self.flow_weight * flow  # eq. 8
            self.log("train/flow", flow, sync_dist=True)
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def _true_flows(self, batch: SequenceBatch, index: Tensor) -> tuple[Tensor, Tensor]:
        """From the keys to their references, (B, R, 2, H, W), and where it is known, (B, R, 1, H, W)."""
        size = (batch["ldr"].shape[-2], batch["ldr"].shape[-1])
        flows, valid = [], []
        for r in index.unbind(1):
            rows = torch.arange(len(r), device=r.device)
            flow, inside = homography_flow(batch["homography"][:, 0], batch["homography"][rows, r], size)
            unknown = ~(batch["homography"][:, 0] + batch["homography"][rows, r]).isfinite().flatten(1).all(1)
            if unknown.any():
                ratio = torch.exp2(batch["ev"][:, 0] - batch["ev"][rows, r])[:, None, None, None]
                true = batch["linear"][:, 0][unknown], batch["linear"][rows, r][unknown]
                flow[unknown] = tone_mapped_flow(self.network.flow, *true, ratio[unknown])
                inside[unknown] = True
            flows.append(flow)
            valid.append(inside)
        return torch.stack(flows, 1), torch.stack(valid, 1)

    def configure_optimizers(self) -> Any:
        """Adam; alignment at half the rate (not in the paper)."""
        icam = self.network.icam
        alignment = [p for part in (icam.correction, icam.deformation) if part is not None for p in part.parameters()]
        slow = {id(p) for p in alignment}
        groups = [{"params": [p for p in icam.parameters() if id(p) not in slow]}]
        if alignment:
            groups.append({"params": alignment, "lr": self.lr / 2})  # type: ignore[dict-item]
        return adam(groups, self.lr, self.betas, self.schedule, self.steps, self.milestones)


class FCPMTask(AdversarialTask, SequenceTask):
    """FCPM on windows of consecutive frames, behind a frozen ICAM (equation 13).

    Args:
        icam: checkpoint of the first stage. Needed to train; a checkpoint that is measured brings its own.
        perceptual_weight: of L_per; 0 needs no VGG16 weights.
        gan_weight: of L_GAN; 0 leaves the discriminator out.
        vgg_weights: file of VGG16's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        lr: learning rate of both Adams (section 4.1).
        betas: their betas (not in the paper).
        schedule: of both learning rates (not in the paper).
        milestones: steps after which `schedule=halving` halves them.
        max_clues: of a key that is measured, the nearest ones (Figure 7); null is all that the network has.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        **network: arguments of `VITMTC`; those of ICAM, and the flow, are the first stage's where `icam` is given.
    """

    name: ClassVar[str] = "vitm_tc"

    def __init__(
        self,
        icam: str | None = None,
        perceptual_weight: float = 0.1,
        gan_weight: float = 0.05,
        vgg_weights: str | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        max_clues: int | None = None,
        test_metrics: list[str] | None = None,
        **network: Any,
    ) -> None:
        super().__init__(test_metrics=test_metrics)
        if icam is not None:
            first = read_checkpoint(icam)
            about = recorded(first)
            if about is None or about.network != self.name:
                raise CheckpointError(f"{icam} holds no ICAM: train the entry vitm_tc/icam, and give its checkpoint")
            network |= {k: v for k, v in about.arguments.items() if k in FIRST_STAGE}
        self.network = VITMTC(**network)
        if self.network.fcpm is None:
            raise ValueError("propagation='none' has no FCPM to train; ICAM alone is the first stage")
        self.arguments = constructor_arguments(VITMTC, network) | {"flow_weights": None}  # a place of this machine
        if icam is not None:
            state = network_state(first)
            self.network.icam.load_state_dict(
                {k.removeprefix("icam."): v for k, v in state.items() if k.startswith("icam.")}
            )
        self.network.icam.requires_grad_(False)
        self.trainable = icam is not None
        self.discriminator = ClipDiscriminator().requires_grad_(gan_weight > 0)
        self.perceptual_weight, self.gan_weight, self.vgg_weights = perceptual_weight, gan_weight, vgg_weights
        self.lr, self.betas, self.schedule, self.milestones = lr, betas, schedule, milestones
        self.max_clues = max_clues

    def setup(self, stage: str) -> None:
        """As always; the perceptual loss needs its weights for training alone.

        Raises:
            ValueError: there is no first stage to train behind.
        """
        if stage == "fit" and not self.trainable:
            raise ValueError("FCPM is trained behind an ICAM: give its checkpoint as `icam` (--model.icam PATH)")
        super().setup(stage)
        trains = stage == "fit" and self.perceptual_weight > 0
        self.perceptual = HDRPerceptualLoss(self.vgg_weights) if trains else None

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        """L_pix + 0.1 L_per + 0.05 L_GAN (equation 13), of the composites, and a step of the discriminator."""
        made, true = self._windows(batch)
        losses = {"pixel": pixel_loss(made, true)}
        loss = losses["pixel"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(made.flatten(0, 1), true.flatten(0, 1))
            loss = loss + self.perceptual_weight * losses["perceptual"]
        if self.gan_weight > 0:
            self.discriminator.requires_grad_(False)
            losses["gan"] = least_squares_loss(self.discriminator(mu_law(made)), real=True)
            self.discriminator.requires_grad_(True)
            real = least_squares_loss(self.discriminator(mu_law(true)), real=True)
            fake = least_squares_loss(self.discriminator(mu_law(made.detach())), real=False)
            losses["discriminator"] = real + fake
            loss = loss + self.gan_weight * losses["gan"]  # eq. 13
        # Generator and discriminator share no parameter that takes a gradient, so one pass back serves both.
        self.manual_backward(loss + losses["discriminator"] if "discriminator" in losses else loss)
        self.step_both()
        for name, value in {**losses, "loss": loss}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", sync_dist=True)

    def _windows(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Predicted and true windows (B, W, 3, H, W); samples have keys and clues of their own, so one by one."""
        made, true = [], []
        for b, times in enumerate(batch["time"].tolist()):
            ldr = {t: batch["ldr"][b, i][None] for i, t in enumerate(times)}
            window = batch["window"][b].tolist()
            keys = {
                times[key]: [times[r] for r, there in zip(references, mask, strict=True) if there]
                for key, present, references, mask in zip(
                    *(batch[k][b].tolist() for k in ("keys", "key_mask", "references", "reference_mask")),
                    strict=True,
                )
                if present
            }
            made.append(self.network.window(ldr, range(times[window[0]], times[window[-1]] + 1), keys))
            true.append(batch["linear"][b, window][None])
        return torch.cat(made), torch.cat(true)

    def configure_optimizers(self) -> Any:
        """Adam for FCPM, and one for the discriminator."""
        assert self.network.fcpm is not None
        networks = [self.network.fcpm, *([self.discriminator] if self.gan_weight > 0 else [])]
        return [adam(n.parameters(), self.lr, self.betas, self.schedule, self.steps, self.milestones) for n in networks]
