"""Training and evaluation of HDCFM, and of PDCG after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from vitm.checkpoints import read_checkpoint, recorded
from vitm.data.batch import FrameBatch
from vitm.metrics import VideoMetric, build_metric, frame_metrics
from vitm.nets.discriminators import PatchDiscriminator
from vitm.nets.perceptual import PerceptualLoss
from vitm.papers.hdcfm.layers import DDF
from vitm.papers.hdcfm.losses import GANLoss, patch_loss
from vitm.papers.hdcfm.network import HDCFM
from vitm.papers.hdcfm.pdcg import HDCFMPDCG, PDCG
from vitm.papers.hdcfm.published import from_published, load_hdcfm
from vitm.training.adversarial import AdversarialTask
from vitm.training.optimizers import OptimizerOf, Schedule
from vitm.training.task import L1Task, constructor_arguments

METRICS = ("psnr", "ssim", "delta_e_itp")
OVER_EXPOSED = ("over_exposed_psnr", "over_exposed_l1")
HDCFM_ALONE = "HDCFM alone"


@torch.no_grad()
def start_as_identity(network: nn.Module) -> None:
    """Give every dynamic filter in a network the bias that passes features on: one at the centre, zero around it.

    By PyTorch's initialisation, the released code's, each filter leaves less than a tenth of a signal, and the five of
    HDCFM a ten-millionth: at first there is next to nothing of the frame to learn from.
    """
    for module in network.modules():
        if isinstance(module, DDF):
            for head in (module.spatial[-1], module.channel[-1]):
                bias: Any = head.bias
                bias.zero_().view(-1, 9)[:, 4] = 1


class HDCFMTask(L1Task):
    """HDCFM with the mean absolute difference of PQ codes (section 4.1).

    Args:
        lr: learning rate of Adam (section 4.1).
        betas: betas of Adam (not in the paper; HDRTVNet's).
        schedule: schedule of the learning rate (section 4.1: halved every 200,000 steps).
        milestones: steps after which `schedule=halving` halves the rate.
        init: `"default"`: PyTorch's; `"identity"`: dynamic filters start by passing features on (not in the paper),
            which learns in hundreds of steps what otherwise takes thousands.
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
        **network: arguments of `HDCFM`.
    """

    name: ClassVar[str] = "hdcfm"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    published = staticmethod(from_published)

    def __init__(
        self,
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "halving",
        milestones: Sequence[int] = (200_000, 400_000, 600_000, 800_000),
        init: Literal["default", "identity"] = "default",
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
            schedule,
            lr=lr,
            betas=betas,
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
        self.init = init
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network, and its initial filters."""
        self.network, self.arguments = HDCFM(**network), constructor_arguments(HDCFM, network)
        if self.init == "identity":
            start_as_identity(self.network)

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """Return L1 (section 4.1); the estimator's dropout is active."""
        with self.step_rng(batch_idx):
            hdr_pq = self.learner(batch["sdr"])
        return self.loss(hdr_pq, batch["hdr_pq"])


class PDCGTask(AdversarialTask):
    """PDCG behind a frozen HDCFM, with its joint loss (equation 4).

    `network` is both stages, with the moving average of the generator: that is what is measured, saved under
    `network.` and loaded by `vitm.zoo`. The generator in training, the discriminator and both optimisers are saved
    beside it. A step of the trainer is one of the generator.

    Beside the metrics it logs `over_exposed_psnr` and `over_exposed_l1`: those of the pixels whose mask is not 0.

    Args:
        hdcfm: checkpoint of the first stage, ours or the published file. Needed to train; a checkpoint that is measured
            brings its own.
        l1_weight: alpha of equation 4.
        perceptual_weight: beta of equation 4; 0 needs no VGG19 weights.
        gan_weight: gamma of equation 4; 0 leaves the discriminator out.
        gan: `"vanilla"`: binary cross-entropy; `"lsgan"`: least squares.
        patches: which patches of a picture the discriminator's verdict counts: `"masked"`: each by its share of what is
            over-exposed; `"all"`: all alike, a plain patch GAN.
        vgg_weights: file of VGG19's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        vgg_layer: layer that the perceptual loss compares (not in the paper).
        lr: learning rate of both Adams (not in the paper; HDRTVNet's).
        betas: betas of both Adams (not in the paper; HDRTVNet's).
        schedule: schedule of both learning rates.
        milestones: steps after which `schedule=halving` halves both rates.
        accumulate: pieces in which a batch is computed, to need less memory; the step is that of the whole batch.
        clip_value: limit that every gradient is clipped to, plus or minus; None for no clipping.
        clip_norm: limit of the norm of all gradients of the generator, and of the discriminator; None for no clipping.
        compile: run the generator through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, the authors' released file, a plain state
            dict, or the name of weights that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn, such as `[estimator.*]`.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        base: arguments of `HDCFM` where `hdcfm` does not say them.
        **network: arguments of `PDCG`.
    """

    name: ClassVar[str] = "pdcg"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    network: HDCFMPDCG

    def __init__(
        self,
        hdcfm: str | None = None,
        l1_weight: float = 1.0,
        perceptual_weight: float = 0.5,
        gan_weight: float = 0.005,
        gan: GANLoss = "vanilla",
        patches: Literal["masked", "all"] = "masked",
        vgg_weights: str | None = None,
        vgg_layer: str = "conv5_4",
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "constant",
        milestones: Sequence[int] = (),
        accumulate: int = 1,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        compile: bool = False,
        test_metrics: list[str] | None = None,
        init_from: str | None = None,
        init_strict: bool = True,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.999,
        optimizer: OptimizerOf | None = None,
        warmup: int = 0,
        base: dict[str, Any] | None = None,
        **network: Any,
    ) -> None:
        super().__init__(
            accumulate,
            clip_value,
            clip_norm,
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
        self.hdcfm, self.base = hdcfm, base
        self.l1_weight, self.perceptual_weight, self.gan_weight = l1_weight, perceptual_weight, gan_weight
        self.gan: GANLoss = gan
        self.patches = patches
        self.vgg_weights, self.vgg_layer = vgg_weights, vgg_layer
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make both stages, the generator in training and the discriminator."""
        base = self.base or {}
        if self.hdcfm is not None:
            first = recorded(read_checkpoint(self.hdcfm))
            base = {} if first is None else first.arguments  # the released network has the defaults
        self.arguments = {"base": constructor_arguments(HDCFM, base), **constructor_arguments(PDCG, network)}
        self.network = HDCFMPDCG(**self.arguments).requires_grad_(False)
        self.generator = PDCG(**network)
        self.discriminator = PatchDiscriminator().requires_grad_(self.gan_weight > 0)
        if self.hdcfm is not None:
            self.network.hdcfm.load_state_dict(load_hdcfm(self.hdcfm).state_dict())
        self.configure_average()

    @property
    def learner(self) -> PDCG:
        """The generator in training."""
        return self.generator

    @property
    def average(self) -> PDCG:
        """The generator in `network`."""
        return self.network.pdcg

    def configure_average(self) -> None:
        """Let the generator in training start as that in `network`."""
        self.generator.load_state_dict(self.average.state_dict())

    def configure_losses(self) -> None:
        """Make the perceptual loss, unless its weight is 0.

        Raises:
            ValueError: there is no first stage to train behind.
        """
        if self.hdcfm is None and self.init_from is None:
            raise ValueError("PDCG is trained behind an HDCFM: give its checkpoint as `hdcfm` (--model.hdcfm PATH)")
        self.perceptual = PerceptualLoss(self.vgg_weights, self.vgg_layer) if self.perceptual_weight > 0 else None

    def configure_optimizers(self) -> Any:
        """Return Adam for the generator, and one for the discriminator."""
        networks = [self.generator, *([self.discriminator] if self.gan_weight > 0 else [])]
        return [self.optimize(network.parameters()) for network in networks]

    def setup(self, stage: str) -> None:
        """Lay out the discriminator's weights like the network's."""
        super().setup(stage)
        self.discriminator.to(memory_format=torch.channels_last)

    def losses(self, batch: FrameBatch) -> dict[str, Tensor]:
        """Return the generator's `loss` (equation 4) and its parts, and the `discriminator`'s."""
        sdr, target = batch["sdr"], batch["hdr_pq"]
        hdr_pq, mask = self.network.first_stage(sdr)
        generated = self.generator(hdr_pq, mask)
        zero = generated.new_zeros(())
        losses = {"l1": F.l1_loss(generated, target), "perceptual": zero, "gan": zero, "discriminator": zero}
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(generated, target)
        if self.gan_weight > 0:
            counts = mask if self.patches == "masked" else torch.ones_like(mask)
            losses["gan"] = patch_loss(self.judge(generated), counts, real=True, kind=self.gan)
            real = patch_loss(self.discriminator(target), counts, real=True, kind=self.gan)
            fake = patch_loss(self.discriminator(generated.detach()), counts, real=False, kind=self.gan)
            losses["discriminator"] = (real + fake) / 2
        losses["loss"] = (
            self.l1_weight * losses["l1"]
            + self.perceptual_weight * losses["perceptual"]
            + self.gan_weight * losses["gan"]
        )  # eq. 4
        return losses

    def configure_metrics(self, test_metrics: list[str] | None) -> None:
        """Make the metrics, and those of what is over-exposed, which is all that PDCG changes, of both stages."""
        super().configure_metrics(test_metrics)
        self.over_exposed = frame_metrics(OVER_EXPOSED)
        self.first_over_exposed = frame_metrics(OVER_EXPOSED)
        self._baselines: dict[str, dict[str, float]] = {}

    def masked_metrics(self) -> dict[str, VideoMetric]:
        """Return the metrics of what is over-exposed."""
        return {name: build_metric(name) for name in OVER_EXPOSED}

    def _evaluate(self, batch: FrameBatch, metrics: MetricCollection) -> Tensor:
        first, mask = self.network.first_stage(batch["sdr"])
        hdr_pq: Tensor = self.network.pdcg(first, mask).clamp(0, 1)
        metrics.update(hdr_pq, batch["hdr_pq"])
        self.over_exposed.update(hdr_pq, batch["hdr_pq"], mask=mask > 0)
        self.first_over_exposed.update(first.clamp(0, 1), batch["hdr_pq"], mask=mask > 0)
        return hdr_pq

    def _log_metrics(self, stage: str, metrics: MetricCollection) -> None:
        super()._log_metrics(stage, metrics)
        super()._log_metrics(stage, self.over_exposed)
        first = {name: float(value) for name, value in self.first_over_exposed.compute().items()}
        self._baselines = {HDCFM_ALONE: first}
        self.first_over_exposed.reset()

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return what is over-exposed, measured of HDCFM alone."""
        return self._baselines

    def earlier_stages(self) -> dict[str, nn.Module]:
        """Return HDCFM alone."""
        return {HDCFM_ALONE: self.network.hdcfm}
