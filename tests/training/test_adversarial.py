"""What all tasks with a generator and a discriminator share."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader

from vitm.training.adversarial import AdversarialTask


class Task(AdversarialTask):
    """The least that such a task needs."""

    name = "torch.nn.Conv2d"
    metrics = ("psnr",)

    def __init__(self, **recipe) -> None:
        super().__init__(lr=0.01, **recipe)
        torch.manual_seed(0)
        self.network, self.arguments = nn.Conv2d(3, 3, 1), {}
        self.discriminator = nn.Conv2d(3, 1, 1)

    def configure_optimizers(self):
        return [self.optimize(network.parameters()) for network in (self.learner, self.discriminator)]

    def losses(self, batch):
        generated = self.learner(batch["sdr"])
        gan = F.softplus(-self.judge(generated)).mean()
        fake, real = self.discriminator(generated.detach()), self.discriminator(batch["hdr_pq"])
        l1 = F.l1_loss(generated.float(), batch["hdr_pq"])
        discriminator = F.softplus(fake).mean() + F.softplus(-real).mean()
        return {"loss": l1 + gan, "l1": l1, "gan": gan, "discriminator": discriminator}


class Gradients(pl.Callback):
    """The gradients of each optimiser as it steps."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_before_zero_grad(self, trainer, task, optimizer):
        gradients = [
            p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        self.seen += [torch.cat(gradients).clone()] if gradients else []


def fit(task, steps=2, resume=None, **options):
    sdr = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    samples = [{"sdr": sdr * (1 + i % 3) / 3, "hdr_pq": 0.6 * sdr, "name": str(i)} for i in range(3)]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(task, DataLoader(samples, batch_size=3), ckpt_path=resume)  # type: ignore[arg-type]
    return trainer


def weights(task):
    return {key: value.clone() for key, value in task.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_pieces_of_a_batch_give_its_step(pieces):
    """Of unequal sizes too, and never more of them than samples."""
    whole, parts = Task(), Task(accumulate=pieces)
    trainers = [fit(task) for task in (whole, parts)]
    assert [trainer.global_step for trainer in trainers] == [2, 2]
    for key, value in weights(whole).items():
        torch.testing.assert_close(parts.state_dict()[key], value)
    for name, value in trainers[0].callback_metrics.items():
        torch.testing.assert_close(trainers[1].callback_metrics[name], value)


def test_gradients_of_both_are_clipped_by_their_norms():
    seen = {}
    for limit in (None, 1e-3):
        gradients = Gradients()
        fit(Task(clip_norm=limit), 1, callbacks=[gradients])
        seen[limit] = gradients.seen
    for free, clipped in zip(seen[None], seen[1e-3], strict=True):
        assert float(free.norm()) > 1e-3
        torch.testing.assert_close(clipped, free * 1e-3 / free.norm(), rtol=1e-2, atol=0)


def test_a_resumed_fit_in_fp16_has_the_loss_scale_and_the_average(tmp_path):
    """Both bit for bit; the scale doubles after every step of either optimiser."""

    def precision():
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_factor=2.0, growth_interval=1)
        return MixedPrecision("16-mixed", "cpu", scaler)

    options = {"accumulate": 2, "clip_norm": 0.1, "ema_decay": 0.9}
    whole, first, resumed = (Task(**options) for _ in range(3))
    scales = [fit(whole, 4, plugins=[precision()]).precision_plugin.scaler.get_scale()]
    fit(first, 2, plugins=[precision()]).save_checkpoint(tmp_path / "last.ckpt")
    trainer = fit(resumed, 4, resume=tmp_path / "last.ckpt", plugins=[precision()])
    assert [*scales, trainer.precision_plugin.scaler.get_scale()] == [4 * 2**8] * 2
    for key, value in weights(whole).items():
        assert torch.equal(resumed.state_dict()[key], value), key
    assert not torch.equal(whole.network.weight, whole.learner.weight)


def test_the_generator_alone_has_a_moving_average():
    """After the first step, with a decay of 1/11, by hand."""
    before, task = Task().network.weight, Task(ema_decay=0.9)
    fit(task, 1)
    torch.testing.assert_close(task.network.weight, (before + 10 * task.learner.weight) / 11)


def test_no_pieces_are_refused():
    with pytest.raises(ValueError, match="accumulate=0"):
        Task(accumulate=0)


class Staged(Task):
    """It tells before each step whether a stage has begun."""

    def __init__(self, start) -> None:
        super().__init__()
        self.start_of_stage, self.begun = start, []

    def losses(self, batch):
        self.begun.append(self.has_begun(self.start_of_stage))
        return super().losses(batch)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "begun"), [(0, 4), (2, 2), (0.74, 1), (0.5, 2), (4, 0)])
def test_a_stage_begins_at_a_step_or_after_a_share_of_the_steps(start, begun):
    task = Staged(start)
    fit(task, 4)
    assert task.begun == [False] * (4 - begun) + [True] * begun


def test_a_share_of_an_endless_training():
    with pytest.raises(ValueError, match=r"after 0\.5 of all steps needs an end: set trainer\.max_steps"):
        fit(Staged(0.5), -1, max_epochs=-1)


def test_a_task_without_losses_cannot_be_made():
    class Lossless(AdversarialTask):
        pass

    with pytest.raises(TypeError, match="losses"):
        Lossless()
