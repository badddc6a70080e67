"""Training and evaluation of VITM-TC: ICAM first, FCPM behind it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from vitm.checkpoints import CheckpointError, network_state, read_checkpoint, recorded
from vitm.data.batch import SequenceBatch, pick_frames
from vitm.data.filming.motion import homography_flow
from vitm.data.sequences.long_clip import LongClip
from vitm.metrics import VideoMetric, build_metric
from vitm.metrics.base import ClipMetric
from vitm.nets.discriminators import ClipDiscriminator, least_squares_loss
from vitm.nets.interface import stream
from vitm.ops.copies import copied_to
from vitm.papers.vitm_tc.clues import Clues
from vitm.papers.vitm_tc.display import measuring_white, to_hdr_pq
from vitm.papers.vitm_tc.exposure import linearise, over_exposure
from vitm.papers.vitm_tc.fill import FULL
from vitm.papers.vitm_tc.losses import HDRPerceptualLoss, PixelDomain, flow_loss, mu_law, pixel_loss, tone_mapped_flow
from vitm.papers.vitm_tc.network import VITMTC
from vitm.papers.vitm_tc.whole_clip import WholeClip
from vitm.training.adversarial import AdversarialTask
from vitm.training.kept_sums import KeptSums, add_sums, batch_digest, get_sums, values_of
from vitm.training.optimizers import OptimizerOf, Schedule
from vitm.training.task import InverseToneMappingTask, constructor_arguments

CHUNK = 8  # frames that are measured at once
FLOW_STEP = 30  # frames from one key whose flow is measured to the next: to render true flow takes time
FIRST_STAGE = (  # arguments that FCPM shares with ICAM
    *("widths", "align", "use_global", "exposure_match", "tau", "flow", "start", "search"),
)


class SequenceTask(InverseToneMappingTask):
    """A network that is measured on whole clips, in HDR10 with the truth's 99.9th percentile at 1000 cd/m2.

    Beside the metrics it logs `over_exposed`: the mean absolute difference of mu-law codes where the input is
    over-exposed, which is all that VITM-TC changes.

    Args:
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "pu21_psnr")
    analytic: ClassVar[bool] = False
    light: ClassVar[str] = "99.9th percentile of the truth at 1000 cd/m2"
    monitor: ClassVar[tuple[str, str]] = ("val/over_exposed", "min")
    every = 1
    """Distance of the frames that are measured."""

    def configure_metrics(self, test_metrics: list[str] | None) -> None:
        """Make the metrics of the prediction, and of the linearised input, which the test measures too."""
        super().configure_metrics(test_metrics)
        self.over_exposed = build_metric("over_exposed")
        self.unreconstructed = self.test_metrics.clone()
        self.unreconstructed_over_exposed = build_metric("over_exposed")
        self._kept: KeptSums | None = None
        self._baselines: dict[str, dict[str, float]] = {}

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert camera code in [0, 1] to linear light, of the shapes that the network takes and gives."""
        linear: Tensor = self.network(ldr)
        return linear

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip, frames (B, 3, H, W) of camera code in [0, 1], to linear light: every `every`-th frame."""
        return stream(self.network, frames)

    def masked_metrics(self) -> dict[str, VideoMetric]:
        """Return the metric of what is over-exposed."""
        return {"over_exposed": self.over_exposed}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return what the test measured of the linearised input."""
        return self._baselines

    def preview(self, batch: Any, outputs: Any) -> tuple[Tensor, Tensor, Tensor, str]:
        """Return the frame in the middle, which is what a step returns."""
        sdr, hdr_pq, target = outputs
        return sdr, hdr_pq, target, batch.name

    def _evaluate(self, clip: LongClip, metrics: MetricCollection) -> Any:
        """Measure one clip; return its middle frame as SDR, prediction and target."""
        times = range(0, len(clip), self.every)
        check_length(clip, len(times), metrics)
        frames = (clip.ldr(t)[None] for t in range(len(clip)))
        predicted = torch.cat([frame.cpu() for frame in self.stream(frames)])
        pairs = [tuple(frame.cpu() for frame in clip.frame(t)) for t in times]
        ldr, target = (torch.stack(frames) for frames in zip(*pairs, strict=True))
        white, clipped = measuring_white(target), over_exposure(ldr) > 0
        self._measure(predicted, target, white, metrics)
        self.over_exposed.update(mu_law(predicted), mu_law(target), clipped)
        if metrics is self.test_metrics:
            unreconstructed = linearise(ldr)
            self._measure_once(unreconstructed, target, white, self.unreconstructed)
            self.unreconstructed_over_exposed.update(mu_law(unreconstructed), mu_law(target), clipped)
        middle = len(times) // 2
        return ldr[middle], to_hdr_pq(predicted[middle], white), to_hdr_pq(target[middle], white)

    def _measure(self, linear: Tensor, target: Tensor, white: float, metrics: MetricCollection) -> None:
        """Measure the linear light of a clip, (T, 3, H, W) on the CPU, against the true light."""
        for metric in metrics.values():
            step = len(linear) if isinstance(metric, ClipMetric) else CHUNK
            for i in range(0, len(linear), step):
                x, y = (to_hdr_pq(light[i : i + step].to(self.device), white)[None] for light in (linear, target))
                metric.update(x, y)

    def _measure_once(self, linear: Tensor, target: Tensor, white: float, metrics: MetricCollection) -> None:
        """Measure light that no network made, see `_measure`, unless an earlier test did and its numbers are kept."""
        if not all(metric.additive for metric in metrics.values()):
            self._measure(linear, target, white, metrics)
            return
        self._kept = self._kept or KeptSums(metrics, self.device)
        clip = batch_digest({"sdr": to_hdr_pq(linear, white), "hdr_pq": to_hdr_pq(target, white)})  # what is measured
        self._kept.open(clip)
        sums = self._kept.get(clip, "linearised input")
        if sums is None:
            of_clip = metrics.clone()
            of_clip.reset()
            self._measure(linear, target, white, of_clip)
            sums = get_sums(of_clip)
            self._kept.put(clip, "linearised input", sums)
        add_sums(metrics, sums)

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        super()._log_metrics(stage, metrics)
        self.log(f"{stage}/over_exposed", self.over_exposed.compute().float())
        self.over_exposed.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test, and keep what was measured of the linearised input: here, where all processes are."""
        super().on_test_epoch_end()
        error = float(self.unreconstructed_over_exposed.compute())
        self._baselines = {"linearised input": values_of(self.unreconstructed) | {"over_exposed": error}}
        if self._kept is not None:
            self._kept.save()
            self._kept = None
        self.unreconstructed.reset()
        self.unreconstructed_over_exposed.reset()


def check_length(clip: LongClip, frames: int, metrics: MetricCollection) -> None:
    """Raise a ValueError if a metric needs more frames than are measured of a clip."""
    for name, metric in metrics.items():
        if isinstance(metric, ClipMetric) and frames < metric.context + metric.least:
            raise ValueError(
                f"{name} needs {metric.context + metric.least} frames or more, and {clip.name} gives {frames}; "
                "leave the metric out, or the clip"
            )


def hdr_perceptual_loss(weight: float, vgg_weights: str | None) -> HDRPerceptualLoss | None:
    """Make L_per, unless its weight is 0."""
    return HDRPerceptualLoss(vgg_weights) if weight > 0 else None


class WholeClipTask(SequenceTask):
    """A network with clues that is measured on whole clips.

    Args:
        max_clues: references of a key that is measured, the nearest ones (Figure 7); null: all that the network has.
        every: distance of the frames that are measured; more than 1 needs a network without FCPM.
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    name: ClassVar[str] = "vitm_tc"
    network: WholeClip

    def __init__(self, max_clues: int | None = None, every: int = 1, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.max_clues, self.every = max_clues, every

    def configure_metrics(self, test_metrics: list[str] | None) -> None:
        """Make the metrics, and that of the flow to references, which the test measures where the data know it."""
        super().configure_metrics(test_metrics)
        self.clipped_flow_error = build_metric("clipped_flow_error")

    def masked_metrics(self) -> dict[str, VideoMetric]:
        """Return the metrics of what is over-exposed."""
        return super().masked_metrics() | {"clipped_flow_error": self.clipped_flow_error}

    def _evaluate(self, clip: LongClip, metrics: MetricCollection) -> Any:
        if metrics is self.test_metrics:
            self.network.on_flow = partial(self._measure_flow, clip)
        try:
            return super()._evaluate(clip, metrics)
        finally:
            self.network.on_flow = None

    def _measure_flow(self, clip: LongClip, t: int, r: int, key: Tensor, flow: Tensor) -> None:
        """Measure the flow from a key of a clip to a reference where the key has clipped what the reference shows."""
        known = clip.flow(t, r) if t % FLOW_STEP == 0 else None
        if known is not None:
            true_flow, seen = (x.to(flow.device) for x in known)
            height, width = seen.shape[-2:]  # without the network's padding
            clipped = (key >= FULL).any(1, keepdim=True)[..., :height, :width]
            self.clipped_flow_error.update(flow[..., :height, :width], true_flow, clipped & seen)

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        super()._log_metrics(stage, metrics)
        if metrics is self.test_metrics:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*before the ``update`` method")
                error = self.clipped_flow_error.compute().float()
            if not error.isnan():  # nan: nothing was known, or clipped
                self.log(f"{stage}/clipped_flow_error", error)
            self.clipped_flow_error.reset()

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert clips (B, T, 3, H, W), camera code in [0, 1], to linear light of the same shape."""
        linear: Tensor = self.network(ldr, max_clues=self.max_clues)
        return linear

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip, see `SequenceTask`."""
        return self.network.stream(frames, self.max_clues, every=self.every)

    def macs_per_frame(self) -> None:
        """Return None: the operations depend on the number of clues that a clip has."""


class CluesTask(WholeClipTask):
    """`Clues`, which has nothing to learn: it is measured as the networks are.

    Args:
        max_clues: references of a frame that is measured, the nearest ones (Figure 7); null: all that there are.
        every: distance of the frames that are measured.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        **network: arguments of `Clues`.
    """

    name = "clues"
    trains = False

    def __init__(
        self, max_clues: int | None = None, every: int = 1, test_metrics: list[str] | None = None, **network: Any
    ) -> None:
        super().__init__(max_clues, every, test_metrics=test_metrics)
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the converter."""
        self.network = Clues(**network)
        self.arguments = constructor_arguments(Clues, network) | {"flow_weights": None}  # a place of this machine


class ICAMTask(WholeClipTask):
    """ICAM on single key frames with a few references (equation 8).

    Args:
        perceptual_weight: weight of L_per; 0 needs no VGG16 weights.
        flow_weight: weight of L_flow. The true flow is exact where the data know their motion, else estimated between
            true HDR frames.
        pixel: what L_pix compares: `"mu_law"` codes, or `"linear"` light (the paper names no domain).
        exact_motion: share of a batch's samples whose motion and exposure are taken from the data, where these know
            them, instead of estimated: for `start=clues`, which costs most of its time there. Not at the test.
        vgg_weights: file of VGG16's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        lr: learning rate of Adam (section 4.1).
        betas: betas of Adam (not in the paper).
        schedule: schedule of the learning rate (not in the paper).
        milestones: steps after which `schedule=halving` halves the rate.
        max_clues: references of a key that is measured, the nearest ones (Figure 7); null: all that the network has.
        every: evaluate every n-th frame only, each as a key frame.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, the authors' released file, a plain state
            dict, or the name of weights that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn, such as `[estimator.*]`.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        **network: arguments of `VITMTC`.
    """

    network: VITMTC

    def __init__(
        self,
        perceptual_weight: float = 0.1,
        flow_weight: float = 0.05,
        pixel: PixelDomain = "mu_law",
        exact_motion: float = 0.0,
        vgg_weights: str | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        max_clues: int | None = None,
        every: int = 15,
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
            max_clues,
            every,
            lr=lr,
            betas=betas,
            schedule=schedule,
            milestones=milestones,
            test_metrics=test_metrics,
            init_from=init_from,
            init_strict=init_strict,
            freeze=freeze,
            ema_decay=ema_decay,
            optimizer=optimizer,
            warmup=warmup,
        )
        self.perceptual_weight, self.flow_weight, self.vgg_weights = perceptual_weight, flow_weight, vgg_weights
        self.pixel: PixelDomain = pixel
        if not 0 <= exact_motion <= 1:
            raise ValueError(f"exact_motion is a share from 0 to 1, got {exact_motion}")
        self.exact_motion = exact_motion
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network, without FCPM."""
        network = {"propagation": "none"} | network
        self.network = VITMTC(**network)
        if self.network.fcpm is not None:
            raise ValueError(f"ICAM is trained alone, expected propagation='none', got {network['propagation']!r}")
        self.arguments = constructor_arguments(VITMTC, network) | {"flow_weights": None}  # a place of this machine

    def configure_losses(self) -> None:
        """Make the perceptual loss, unless its weight is 0."""
        self.perceptual = hdr_perceptual_loss(self.perceptual_weight, self.vgg_weights)

    def configure_optimizers(self) -> Any:
        """Return Adam; alignment at half the rate (not in the paper)."""
        icam = self.learner.icam
        alignment = [p for part in (icam.correction, icam.deformation) if part is not None for p in part.parameters()]
        slow = {id(p) for p in alignment}
        groups: list[dict[str, Any]] = [{"params": [p for p in icam.parameters() if id(p) not in slow]}]
        if alignment:
            groups.append({"params": alignment, "lr": self.lr / 2})
        return self.optimize(groups)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """Return L_pix + 0.1 L_per + 0.05 L_flow (equation 8), of the composite."""
        used = self._used_references(batch)
        index, mask = batch["references"][:, 0, used], batch["reference_mask"][:, 0, used]
        key, references = batch["ldr"][:, 0], pick_frames(batch["ldr"], index)
        flows, gains = self._motions(batch, index)
        present = copied_to(self.device, mask)
        reconstruction = self.learner.icam.reconstruct(key, references, flows, present, gains)
        loss = pixel = pixel_loss(reconstruction.hdr_linear, batch["linear"][:, 0], self.pixel)
        self.log("train/pixel", pixel, sync_dist=True)
        if self.perceptual is not None:
            perceptual = self.perceptual(reconstruction.hdr_linear, batch["linear"][:, 0])
            loss = loss + self.perceptual_weight * perceptual
            self.log("train/perceptual", perceptual, sync_dist=True)
        if self.flow_weight > 0 and self.network.icam.correction is not None and references.shape[1]:
            true_flows, valid = self._true_flows(batch, index)
            flow = flow_loss(reconstruction.flows, true_flows, valid & present[:, :, None, None, None])  # eq. 4
            loss = loss + self.flow_weight * flow  # eq. 8
            self.log("train/flow", flow, sync_dist=True)
        self.log("train/loss", loss, sync_dist=True)
        return loss

    def _used_references(self, batch: SequenceBatch) -> Tensor:
        """Return which references any sample has, (R,), on the host; one at least where others need its gradients."""
        used = batch["reference_mask"][:, 0].any(0)
        if self.trainer.world_size > 1 and not used.any():  # all processes need gradients of the same parameters
            used = torch.arange(len(used)) == 0
        return used

    def _motions(self, batch: SequenceBatch, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return flows from keys to references, (B, R, 2, H, W), and the references' gains, (B, R)."""
        key, size = batch["ldr"][:, 0], (batch["ldr"].shape[-2], batch["ldr"].shape[-1])
        flows, gains = key.new_zeros(*index.shape, 2, *size), key.new_ones(index.shape)
        known = batch["homography"].isfinite().flatten(1).all(1)
        exact = known & (torch.arange(len(index)) < round(self.exact_motion * len(index)))
        taken, estimated = (copied_to(key.device, _numbers(samples)) for samples in (exact, ~exact))
        for j, r in enumerate(index.unbind(1)):
            if len(taken):
                h_keys, h_references = batch["homography"][:, 0], batch["homography"][torch.arange(len(r)), r]
                flows[taken, j] = homography_flow(h_keys[exact], h_references[exact], size, key.device)[0]
                gains[taken, j] = self._exposure_ratios(batch, r)[taken]
            if len(estimated):
                references = pick_frames(batch["ldr"], r[:, None])[:, 0]
                flow, gain = self.learner.reference_motion(key[estimated], references[estimated])
                flows[estimated, j], gains[estimated, j] = flow, gain.flatten()
        return flows, gains

    def _true_flows(self, batch: SequenceBatch, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flows from keys to references, (B, R, 2, H, W), and where they are known, (B, R, 1, H, W)."""
        size = (batch["ldr"].shape[-2], batch["ldr"].shape[-1])
        flows, valid = [], []
        for r in index.unbind(1):
            h_keys, h_references = batch["homography"][:, 0], batch["homography"][torch.arange(len(r)), r]
            flow, inside = homography_flow(h_keys, h_references, size, batch["ldr"].device)
            samples = copied_to(flow.device, _numbers(~(h_keys + h_references).isfinite().flatten(1).all(1)))
            if len(samples):
                ratio = self._exposure_ratios(batch, r)[samples, None, None, None]
                light = batch["linear"][:, 0], pick_frames(batch["linear"], r[:, None])[:, 0]
                true = light[0][samples], light[1][samples]
                flow[samples] = tone_mapped_flow(self.network.flow, *true, ratio)
                inside[samples] = True
            flows.append(flow)
            valid.append(inside)
        return torch.stack(flows, 1), torch.stack(valid, 1)

    def _exposure_ratios(self, batch: SequenceBatch, r: Tensor) -> Tensor:
        """Return the exposure of each key over that of its reference number `r`, (B,)."""
        return torch.exp2(batch["ev"][:, 0] - pick_frames(batch["ev"], r[:, None])[:, 0])


def _numbers(samples: Tensor) -> Tensor:
    """Return the numbers of the samples for which a mask of the host, (B,), holds."""
    return torch.tensor([number for number, holds in enumerate(samples.tolist()) if holds], dtype=torch.long)


def read_first_stage(icam: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments of `VITMTC` that a trained ICAM brings along, and its state dict; nothing without a file.

    Raises:
        CheckpointError: the file holds another network.
    """
    if icam is None:
        return {}, {}
    first = read_checkpoint(icam)
    about = recorded(first)
    if about is None or about.network != WholeClipTask.name:
        raise CheckpointError(f"{icam} holds no ICAM: give the checkpoint of a run of vitm_tc/icam")
    state = {k.removeprefix("icam."): v for k, v in network_state(first).items() if k.startswith("icam.")}
    return {k: v for k, v in about.arguments.items() if k in FIRST_STAGE}, state


class BlendTask(WholeClipTask):
    """A trained ICAM on key frames that are blended along time: nothing is left to learn, so it is measured.

    Args:
        icam: checkpoint of the first stage.
        max_clues: references of a key, the nearest ones (Figure 7); null: all that the network has.
        every: distance of the frames that are measured.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        **network: arguments of `VITMTC`; those of ICAM, and the flow, are the first stage's.
    """

    trains = False

    def __init__(
        self,
        icam: str,
        max_clues: int | None = None,
        every: int = 1,
        test_metrics: list[str] | None = None,
        **network: Any,
    ) -> None:
        super().__init__(max_clues, every, test_metrics=test_metrics)
        self.icam = icam
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network, its ICAM that of the first stage."""
        arguments, state = read_first_stage(self.icam)
        network |= arguments | {"propagation": "blend"}
        self.network = VITMTC(**network)
        self.arguments = constructor_arguments(VITMTC, network) | {"flow_weights": None}  # a place of this machine
        self.network.icam.load_state_dict(state)


class FCPMTask(AdversarialTask, WholeClipTask):
    """FCPM on windows of consecutive frames, behind a frozen ICAM (equation 13).

    Args:
        icam: checkpoint of the first stage. Needed to train; a checkpoint that is measured brings its own.
        perceptual_weight: weight of L_per; 0 needs no VGG16 weights.
        gan_weight: weight of L_GAN; 0 leaves the discriminator out.
        pixel: what L_pix compares: `"mu_law"` codes, or `"linear"` light (the paper names no domain).
        vgg_weights: file of VGG16's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        lr: learning rate of both Adams (section 4.1).
        betas: betas of both Adams (not in the paper).
        schedule: schedule of both learning rates (not in the paper).
        milestones: steps after which `schedule=halving` halves both rates.
        accumulate: pieces in which a batch is computed, to need less memory; the step is that of the whole batch.
        clip_value: limit that every gradient is clipped to, plus or minus; None for no clipping.
        clip_norm: limit of the norm of all gradients of the generator, and of the discriminator; None for no clipping.
        max_clues: references of a key that is measured, the nearest ones (Figure 7); null: all that the network has.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, the authors' released file, a plain state
            dict, or the name of weights that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn, such as `[estimator.*]`.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        **network: arguments of `VITMTC`; those of ICAM, and the flow, are the first stage's where `icam` is given.
    """

    network: VITMTC

    def __init__(
        self,
        icam: str | None = None,
        perceptual_weight: float = 0.1,
        gan_weight: float = 0.05,
        pixel: PixelDomain = "mu_law",
        vgg_weights: str | None = None,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        accumulate: int = 1,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        max_clues: int | None = None,
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
            max_clues=max_clues,
            lr=lr,
            betas=betas,
            schedule=schedule,
            milestones=milestones,
            accumulate=accumulate,
            clip_value=clip_value,
            clip_norm=clip_norm,
            test_metrics=test_metrics,
            init_from=init_from,
            init_strict=init_strict,
            freeze=freeze,
            ema_decay=ema_decay,
            optimizer=optimizer,
            warmup=warmup,
        )
        self.icam = icam
        self.perceptual_weight, self.gan_weight, self.vgg_weights = perceptual_weight, gan_weight, vgg_weights
        self.pixel: PixelDomain = pixel
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network, its ICAM that of the first stage and frozen, and the discriminator."""
        arguments, state = read_first_stage(self.icam)
        network |= arguments
        self.network = VITMTC(**network)
        if self.network.fcpm is None:
            raise ValueError(f"propagation={self.network.propagation!r} has no FCPM to train; ICAM is the first stage")
        self.arguments = constructor_arguments(VITMTC, network) | {"flow_weights": None}  # a place of this machine
        if state:
            self.network.icam.load_state_dict(state)
        self.network.icam.requires_grad_(False)
        self.discriminator = ClipDiscriminator().requires_grad_(self.gan_weight > 0)

    def configure_losses(self) -> None:
        """Make the perceptual loss, unless its weight is 0.

        Raises:
            ValueError: there is no first stage to train behind.
        """
        if self.icam is None and self.init_from is None:
            raise ValueError("FCPM is trained behind an ICAM: give its checkpoint as `icam` (--model.icam PATH)")
        self.perceptual = hdr_perceptual_loss(self.perceptual_weight, self.vgg_weights)

    def configure_optimizers(self) -> Any:
        """Return Adam for FCPM, and one for the discriminator."""
        networks = [self.learner.fcpm, *([self.discriminator] if self.gan_weight > 0 else [])]
        return [self.optimize(network.parameters()) for network in networks]

    def losses(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return `loss`, L_pix + 0.1 L_per + 0.05 L_GAN (equation 13), its parts, and the `discriminator`'s."""
        predicted, true = self._windows(batch)
        losses = {"pixel": pixel_loss(predicted, true, self.pixel)}
        loss = losses["pixel"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(predicted.flatten(0, 1), true.flatten(0, 1))
            loss = loss + self.perceptual_weight * losses["perceptual"]
        if self.gan_weight > 0:
            losses["gan"] = least_squares_loss(self.judge(mu_law(predicted)), real=True)
            loss = loss + self.gan_weight * losses["gan"]  # eq. 13
            real = least_squares_loss(self.discriminator(mu_law(true)), real=True)
            fake = least_squares_loss(self.discriminator(mu_law(predicted.detach())), real=False)
            losses["discriminator"] = real + fake
        return losses | {"loss": loss}

    def _windows(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Return predicted and true windows (B, W, 3, H, W); each sample has its own keys and clues, so one by one."""
        predicted, true = [], []
        for b, times in enumerate(batch["time"].tolist()):
            ldr = {t: batch["ldr"][b, i][None] for i, t in enumerate(times)}
            window = batch["window"][b].tolist()
            keys = {
                times[key]: [times[r] for r, exists in zip(references, mask, strict=True) if exists]
                for key, present, references, mask in zip(
                    *(batch[k][b].tolist() for k in ("keys", "key_mask", "references", "reference_mask")),
                    strict=True,
                )
                if present
            }
            predicted.append(self.learner.window(ldr, range(times[window[0]], times[window[-1]] + 1), keys))
            true.append(torch.stack([batch["linear"][b, i] for i in window])[None])
        return torch.cat(predicted), torch.cat(true)
