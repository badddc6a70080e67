"""Training and evaluation of SceneMap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import pq_eotf, pq_inverse_eotf, rgb2020_to_ictcp
from vitm.data.batch import FrameBatch
from vitm.papers.scene_map.network import SceneMap
from vitm.papers.scene_map.operator_map import OperatorMap
from vitm.papers.scene_map.operators import operator_colors
from vitm.training.optimizers import OptimizerOf, Schedule
from vitm.training.task import InverseToneMappingTask, constructor_arguments

_SHARPNESS = 5.0  # power of the errors by which shares are given
_LEAST_ERROR = 1e-6
_HANDICAP = 0.26  # logarithm of the factor on the error of the free map
_SMALL_SHARE = 0.3  # share of the pictures that are seen as thumbnails
_MIDTONE_PQ = 0.2  # code above which a pixel counts for the level: 3 cd/m2


def picture_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the error of colours: L1 and root mean square of PQ codes, and the distance in ICtCp.

    Args:
        prediction: (B, N, 3), BT.2020 PQ code.
        target: the same shape.
    """
    difference = prediction - target
    codes = difference.abs().mean() + 0.5 * (difference.square().mean((1, 2)) + 1e-8).sqrt().mean()
    i, t, p = (_ictcp(prediction) - _ictcp(target)).unbind(-1)
    colour = (i.square() + (0.5 * t).square() + p.square() + 1e-8).sqrt().mean()  # BT.2124, without its factor of 720
    return 10 * codes + 8 * colour


def level_matched(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the prediction with the gain, one for each sample, that brings its light to the target's on average.

    Args:
        prediction: (B, N, 3), BT.2020 PQ code.
        target: the same shape.
    """
    light, wanted = pq_eotf(prediction.clamp(1e-3, 1)), pq_eotf(target.clamp(1e-3, 1))
    counts = (target.mean(-1) > _MIDTONE_PQ).float()
    stops = ((wanted.mean(-1) + 0.01).log() - (light.mean(-1) + 0.01).log()) * counts
    gain = (stops.sum(1) / counts.sum(1).clamp(min=1)).exp()[:, None, None]
    return pq_inverse_eotf((gain * light).clamp(1e-4, 10_000))


def _ictcp(pq: Tensor) -> Tensor:
    """Map (B, N, 3) to (B, N, 3)."""
    return rgb2020_to_ictcp(pq_eotf(pq.clamp(0, 1)).mT.unsqueeze(-1)).squeeze(-1).mT


class SceneMapTask(InverseToneMappingTask):
    """SceneMap, on pixels drawn from each picture: the map is the same for all of them.

    The loss counts the picture as it is and the picture at its best level, since the level is a control of its own.

    Args:
        pixels: number of pixels of each picture that a step looks at.
        level_weight: share of the loss that counts the picture as it is; the rest counts it at its best level.
        lr: learning rate of Adam.
        betas: betas of Adam.
        schedule: schedule of the learning rate.
        milestones: steps after which `schedule=halving` halves the rate.
        compile: whether the network runs through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, the authors' released file, a plain state
            dict, or the name of weights that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn, such as `[estimator.*]`.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        **network: arguments of `SceneMap`.
    """

    name: ClassVar[str] = "scene_map"
    metrics: ClassVar[tuple[str, ...]] = ("psnr", "delta_e_itp")
    ema_warmup: ClassVar[int] = 100
    network: SceneMap

    def __init__(
        self,
        pixels: int = 512,
        level_weight: float = 0.4,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        compile: bool = False,
        test_metrics: list[str] | None = None,
        init_from: str | None = None,
        init_strict: bool = True,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.999,
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
        self.pixels, self.level_weight = pixels, level_weight
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network."""
        self.network, self.arguments = SceneMap(**network), constructor_arguments(SceneMap, network)

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """Return the loss of pixels that are drawn from each picture."""
        with self.step_rng(batch_idx):
            colours, wanted = drawn_pixels(batch, self.pixels)
        prediction = self.learner.color_map(colours, self.learner.describe(batch["sdr"]))
        outside = (prediction - prediction.clamp(0, 1)).abs().mean()
        as_it_is = picture_loss(prediction, wanted)
        at_best = picture_loss(level_matched(prediction, wanted), wanted)
        loss: Tensor = self.level_weight * as_it_is + (1 - self.level_weight) * at_best + outside
        self.log("train/loss", loss, sync_dist=True)
        return loss


def drawn_pixels(batch: FrameBatch, count: int) -> tuple[Tensor, Tensor]:
    """Draw pixels from each picture: their SDR and their target, (B, count, 3)."""
    sdr, target = batch["sdr"], batch["hdr_pq"]
    where = torch.randint(sdr[0, 0].numel(), (len(sdr), 1, count), device=sdr.device).expand(-1, 3, -1)
    sdr, target = (x.flatten(2).gather(2, where).mT for x in (sdr, target))
    return sdr, target


def best_level_errors(predictions: Tensor, target: Tensor) -> Tensor:
    """Return the mean square errors of PQ codes, each at the best of 13 gains of the target, from -0.9 to 0.9 stops.

    Args:
        predictions: (B, K, N, 3), BT.2020 PQ code.
        target: (B, N, 3), BT.2020 PQ code.

    Returns:
        (B, K)
    """
    gains = torch.linspace(-0.9, 0.9, 13, device=target.device).exp2()
    targets = pq_inverse_eotf((gains[:, None, None] * pq_eotf(target).unsqueeze(1)).clamp(max=10_000)).flatten(2)
    options = predictions.flatten(2)
    products = options @ targets.mT / options.shape[2]  # (B, K, gains)
    errors = options.square().mean(2).unsqueeze(2) - 2 * products + targets.square().mean(2).unsqueeze(1)
    return errors.clamp(min=_LEAST_ERROR).amin(2)


def _some_softened(sdr: Tensor) -> Tensor:
    """Return pictures, a third of them as the thumbnails of larger ones are: without the steps of 8 bits."""
    small = torch.rand(len(sdr), 1, 1, 1, device=sdr.device) < _SMALL_SHARE
    return torch.where(small, _softened(sdr), sdr)


def _softened(sdr: Tensor) -> Tensor:
    twice = F.interpolate(sdr, scale_factor=2, mode="bilinear", align_corners=False)
    return F.avg_pool2d(twice, 2)


class OperatorsTask(SceneMapTask):
    """SceneMap's second stage: it learns which operator made the SDR, and how far its free map is needed.

    The loss is the entropy of the shares against those that the errors of each operator, and of the free map, by itself
    give: nearly all to the best one, where there is one. The entry freezes the free map of the first stage. A third of
    the pictures is seen as the thumbnail of a larger one is: its pixels are means, without the steps of 8 bits.

    Args:
        pixels: number of pixels of each picture that a step looks at.
        lr: learning rate of Adam.
        betas: betas of Adam.
        schedule: schedule of the learning rate.
        milestones: steps after which `schedule=halving` halves the rate.
        compile: whether the network runs through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, a plain state dict, or the name of weights
            that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        **network: arguments of `SceneMap`.
    """

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """Return the loss of pixels that are drawn from each picture."""
        with self.step_rng(batch_idx):
            colours, wanted = drawn_pixels(batch, self.pixels)
            code = self.learner.describe(_some_softened(batch["sdr"]))  # its dropout is random, too
        free = self.learner.free_map(colours, code[:, : self.learner.code_size]).unsqueeze(1)
        options = torch.cat((operator_colors(colours, self.learner.table_size), free), 1).detach()
        errors = best_level_errors(options, wanted).log()
        errors[:, -1] += _HANDICAP  # the free map knows the places of the training
        shares = (-_SHARPNESS * errors).softmax(1)
        loss: Tensor = -(shares * code[:, self.learner.code_size :].log_softmax(1)).sum(1).mean()
        self.log("train/loss", loss, sync_dist=True)
        return loss


class OperatorMapTask(InverseToneMappingTask):
    """OperatorMap learns which operators may have made the SDR, and how to mix them.

    The loss is the entropy of the shares against those that the errors of each operator by itself give, and the
    logarithm of the error of the mixture, whose decibels are what the benchmark counts. Errors are of PQ codes, each at
    the best level. A third of the pictures is seen as the thumbnail of a larger one is: its pixels are means of codes.

    Args:
        pixels: number of pixels of each picture that a step looks at.
        mixture_weight: share of the loss that counts the mixture; the rest counts the entropy.
        lr: learning rate of the optimiser.
        betas: betas of Adam.
        schedule: schedule of the learning rate.
        milestones: steps after which `schedule=halving` halves the rate.
        compile: whether the network runs through torch.compile.
        test_metrics: what the test measures (names of `vitm.metrics.METRICS`); default: what validation does.
        init_from: weights that training starts from: a checkpoint of a run, a plain state dict, or the name of weights
            that the package ships (`default`).
        init_strict: whether those weights must be the network's, name for name; else what fits is taken, and listed.
        freeze: patterns of the names of parameters that do not learn.
        ema_decay: decay of the moving average of the network, which is what is measured and saved; 0 for none. The
            first steps count more.
        optimizer: class path of an optimiser, with its arguments but for `lr`; default: Adam.
        warmup: number of first steps in which the rate rises linearly; 0: as `schedule` says.
        **network: arguments of `OperatorMap`.
    """

    name: ClassVar[str] = "operator_map"
    metrics: ClassVar[tuple[str, ...]] = ("psnr", "delta_e_itp")
    ema_warmup: ClassVar[int] = 100
    network: OperatorMap

    def __init__(
        self,
        pixels: int = 300,
        mixture_weight: float = 0.8,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "cosine",
        milestones: Sequence[int] = (),
        compile: bool = False,
        test_metrics: list[str] | None = None,
        init_from: str | None = None,
        init_strict: bool = True,
        freeze: Sequence[str] = (),
        ema_decay: float = 0.995,
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
        self.pixels, self.mixture_weight = pixels, mixture_weight
        self.configure_networks(**network)

    def configure_networks(self, **network: Any) -> None:
        """Make the network."""
        self.network, self.arguments = OperatorMap(**network), constructor_arguments(OperatorMap, network)

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """Return the loss of pixels that are drawn from each picture."""
        with self.step_rng(batch_idx):
            colours, wanted = drawn_pixels(batch, self.pixels)
            code = self.learner.describe(_some_softened(batch["sdr"]))  # its dropout is random, too
        options = operator_colors(colours, self.learner.table_size)
        shares = (-_SHARPNESS * best_level_errors(options, wanted).log()).softmax(1)
        entropy = -(shares * code.log_softmax(1)).sum(1).mean()
        mixture = torch.einsum("bk,bknc->bnc", code.softmax(1), options).unsqueeze(1)
        error = best_level_errors(mixture, wanted).log().mean()
        loss: Tensor = (1 - self.mixture_weight) * entropy + 2 * self.mixture_weight * error
        self.log("train/loss", loss, sync_dist=True)
        return loss
