from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader
from torchvision.transforms.functional import normalize

from tests.nets.test_perceptual import stand_in
from tests.steps import assert_adam, assert_gradients, take_steps
from vitm.nets.perceptual import PerceptualLoss
from vitm.papers.hdcfm import HDCFM, HDCFMTask, PDCGTask
from vitm.papers.hdcfm.layers import DDF
from vitm.papers.hdcfm.losses import patch_loss
from vitm.papers.hdcfm.pdcg import over_exposure_mask
from vitm.zoo import load_network

SMALL = {"width": 20, "blocks": 1, "perceptual_weight": 0.0}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    """A checkpoint of an HDCFM that is not the default one."""
    torch.manual_seed(1)
    arguments = {"local_mod": False}
    state = {f"network.{k}": v for k, v in HDCFM(**arguments).state_dict().items()}
    path = tmp_path_factory.mktemp("hdcfm") / "best.ckpt"
    torch.save({"vitm": {"network": "hdcfm", "arguments": arguments}, "state_dict": state}, path)
    return str(path)


def batches(steps, batch=2, size=40):
    """Bright frames, so that much is over-exposed."""
    rng = torch.Generator().manual_seed(2)
    sdr = (torch.rand(steps * batch, 3, size, size, generator=rng) + 0.5).clamp(max=1)
    hdr_pq = torch.rand(steps * batch, 3, size, size, generator=rng)
    samples = [{"sdr": s, "hdr_pq": h, "name": ""} for s, h in zip(sdr, hdr_pq, strict=True)]
    return DataLoader(samples, batch_size=batch)


def train(task, steps=2, **trainer):
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "max_steps": steps} | trainer
    trainer = Trainer(**options)
    trainer.fit(task, batches(steps))
    return trainer


def equal(a, b):
    """Whether two networks have the same weights."""
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def assert_alike(a, b, *inputs):
    """Two networks compute the same; their weights may differ where they have no effect."""
    with torch.no_grad():
        torch.testing.assert_close(a(*inputs), b(*inputs), rtol=1e-3, atol=1e-4)


def test_hdcfm_minimises_the_absolute_difference(first_stage):
    task = HDCFMTask(lr=1e-3, schedule="constant")
    network = copy.deepcopy(task.network).train()
    for module in (task.network, network):
        module.estimator.dropout.p = 0.0
    train(task)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, (0.9, 0.99))
    for batch in batches(2):
        optimizer.zero_grad()
        (network(batch["sdr"]) - batch["hdr_pq"]).abs().mean().backward()
        optimizer.step()
    assert_alike(task.network.eval(), network.eval(), batch["sdr"])


def test_steps_are_adam_s_on_the_absolute_difference(first_stage):
    task = HDCFMTask(lr=1e-3, milestones=[1])
    task.network.estimator.dropout.p = 0.0
    network = copy.deepcopy(task.network).train()
    batch, second = batches(2)
    (steps,) = take_steps(task, [batch, second])
    assert_gradients(steps[0], (network(batch["sdr"]) - batch["hdr_pq"]).abs().mean(), network.parameters())
    assert [step.rates[0] for step in steps[:2]] == [1e-3, 5e-4]
    assert_adam(steps, (0.9, 0.99))


def test_filters_can_start_as_the_identity():
    """A signal passes five filters; by PyTorch's initialisation they leave nothing of it."""
    gains = {}
    for init in ("default", "identity"):
        filters = [layer for stage in HDCFMTask(init=init).network.stages for layer in stage if isinstance(layer, DDF)]
        x = start = 0.1 * torch.rand(1, 64, 24, 24)
        with torch.no_grad():
            for filtered in filters:
                x = filtered(x)
        gains[init] = float(x.std() / start.std())
    assert gains["default"] < 1e-5
    assert 0.5 < gains["identity"] < 2


def test_hdcfm_halves_its_rate():
    task = HDCFMTask(lr=8e-4, milestones=[1, 2])
    train(task)
    assert task.optimizers().param_groups[0]["lr"] == pytest.approx(2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("gan", ["vanilla", "lsgan"])
def test_pdcg_steps_are_those_of_two_plain_adams(gan, first_stage):
    """Equation 4; the generator first, then the discriminator on what was generated before that step."""
    task = PDCGTask(first_stage, gan=gan, gan_weight=0.5, lr=1e-3, ema_decay=0.5, **SMALL)
    generator, discriminator = copy.deepcopy(task.generator), copy.deepcopy(task.discriminator)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)  # as the task's, or rounding may bend a ReLU the other way
    hdcfm = load_network("hdcfm", first_stage)
    average = copy.deepcopy(generator)
    adams = [torch.optim.Adam(n.parameters(), 1e-3, (0.9, 0.99)) for n in (generator, discriminator)]

    trainer = train(task)
    for step, batch in enumerate(batches(2), 1):
        sdr, target = batch["sdr"], batch["hdr_pq"]
        mask = over_exposure_mask(sdr)
        with torch.no_grad():
            hdr_pq = hdcfm(sdr)
        fake = generator(hdr_pq, mask)
        loss = F.l1_loss(fake, target) + 0.5 * patch_loss(discriminator(fake), mask, True, gan)
        adams[0].zero_grad()
        loss.backward()
        adams[0].step()
        adams[1].zero_grad()
        real, fake = (discriminator(x.detach()) for x in (target, fake))
        (0.5 * patch_loss(real, mask, True, gan) + 0.5 * patch_loss(fake, mask, False, gan)).backward()
        adams[1].step()
        decay = min(0.5, step / (10 + step))
        for a, p in zip(average.parameters(), generator.parameters(), strict=True):
            a.data = decay * a.data + (1 - decay) * p.data
    assert_alike(task.generator, generator, hdr_pq, mask)
    assert_alike(task.network.pdcg, average, hdr_pq, mask)
    assert_alike(task.discriminator, discriminator, target)
    assert equal(task.network.hdcfm, hdcfm)
    assert trainer.global_step == 2


@pytest.mark.parametrize(("gan", "patches"), [("vanilla", "masked"), ("lsgan", "masked"), ("vanilla", "all")])
def test_steps_are_adam_s_on_equation_4(gan, patches, first_stage, tmp_path):
    """With weights that are all unlike one: L1 of the frame, VGG19's features, and what a patch discriminator says."""
    vgg, state = stand_in("conv1_2")
    torch.save(state, tmp_path / "vgg.pth")
    weights = {"l1_weight": 0.7, "perceptual_weight": 0.3, "gan_weight": 0.2}
    options = SMALL | weights | {"vgg_weights": str(tmp_path / "vgg.pth"), "vgg_layer": "conv1_2"}
    task = PDCGTask(first_stage, gan=gan, patches=patches, lr=2e-3, **options)
    networks = [copy.deepcopy(n).to(memory_format=torch.channels_last) for n in (task.generator, task.discriminator)]
    hdcfm, (batch, second) = load_network("hdcfm", first_stage), batches(2)
    of_generator, of_discriminator = take_steps(task, [batch, second])

    sdr, target = batch["sdr"], batch["hdr_pq"]
    mask = ((sdr.amax(1, keepdim=True) - 0.95) / 0.05).clamp(0, 1)
    with torch.no_grad():
        x_hr = hdcfm(sdr)
    x_hg = networks[0](x_hr, mask)

    def features(x):
        return vgg(normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def adversarial(logits, real):
        """Each patch by its masked share of the frame's mask, frames alike."""
        if gan == "vanilla":
            verdicts = -torch.log(torch.sigmoid(logits) if real else 1 - torch.sigmoid(logits))
        else:
            verdicts = (logits - float(real)) ** 2
        if patches == "all":
            return verdicts.mean()
        shares = F.adaptive_avg_pool2d(mask, logits.shape[2:])
        return sum((share * v).sum() / share.sum() for share, v in zip(shares, verdicts, strict=True)) / 2

    l1, l_p = (x_hg - target).abs().mean(), (features(x_hg) - features(target)).abs().mean()
    joint = 0.7 * l1 + 0.3 * l_p + 0.2 * adversarial(networks[1](x_hg), real=True)
    assert_gradients(of_generator[0], joint, networks[0].parameters())
    real, fake = (networks[1](x.detach()) for x in (target, x_hg))
    judging = 0.5 * (adversarial(real, real=True) + adversarial(fake, real=False))
    assert_gradients(of_discriminator[0], judging, networks[1].parameters())
    for steps in (of_generator, of_discriminator):
        assert steps[0].rates[0] == 2e-3
        assert_adam(steps, (0.9, 0.99))


def test_pieces_of_a_batch_give_its_step(first_stage):
    torch.manual_seed(3)
    whole = PDCGTask(first_stage, gan_weight=0.5, **SMALL)
    pieces = PDCGTask(first_stage, gan_weight=0.5, accumulate=2, **SMALL)
    pieces.load_state_dict(whole.state_dict())
    for task in (whole, pieces):
        assert train(task).global_step == 2
    batch = next(iter(batches(1)))
    assert_alike(pieces.network, whole.network, batch["sdr"])
    assert_alike(pieces.discriminator, whole.discriminator, batch["sdr"])


def test_perceptual_loss_is_part_of_the_joint_loss(first_stage, tmp_path):
    torch.save(stand_in("conv1_2")[1], tmp_path / "vgg.pth")
    vgg = {"vgg_weights": str(tmp_path / "vgg.pth"), "vgg_layer": "conv1_2"}
    task = PDCGTask(first_stage, gan_weight=0.0, **SMALL | vgg | {"perceptual_weight": 0.5})
    trainer = train(task, 1)
    logged = trainer.callback_metrics
    assert logged["train/perceptual"] > 0
    assert logged["train/loss"] == pytest.approx(float(logged["train/l1"] + 0.5 * logged["train/perceptual"]))
    assert isinstance(task.perceptual, PerceptualLoss)
    assert not [k for k in task.state_dict() if "perceptual" in k]


class Gradients(Callback):
    """The unscaled gradients of each optimiser before its step: generator, discriminator, generator, ..."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parameters = optimizer.param_groups[0]["params"]
        self.seen.append(torch.cat([p.grad.flatten() for p in parameters]).clone())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_keeps_the_gradients_of_both(precision, first_stage):
    """In fp16 each step of either optimiser doubles the loss scale, and none sees another one's."""
    seen = []
    for mixed in (False, True):
        torch.manual_seed(4)
        task, gradients = PDCGTask(first_stage, gan_weight=0.5, accumulate=2, **SMALL), Gradients()
        options = {"callbacks": [gradients]}
        if mixed and precision == "fp16":
            scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_factor=2.0, growth_interval=1)
            options["plugins"] = [MixedPrecision("16-mixed", "cpu", scaler)]
        elif mixed:
            options["precision"] = "bf16-mixed"
        train(task, **options)
        seen.append(gradients.seen)
    assert len(seen[0]) == len(seen[1]) == 4
    for full, half in zip(*seen, strict=True):
        assert half.dot(full) / full.dot(full) == pytest.approx(1, abs=0.15)
    if precision == "fp16":
        assert scaler.get_scale() == 64 * 2**4


def test_gradients_are_clipped(first_stage):
    task = PDCGTask(first_stage, clip_value=0.25, **SMALL)
    optimizer = torch.optim.SGD(task.generator.parameters(), 1.0)
    for p in task.generator.parameters():
        p.grad = torch.randn_like(p)
    before = [p.grad.clone() for p in task.generator.parameters()]
    task.on_before_optimizer_step(optimizer)
    for p, grad in zip(task.generator.parameters(), before, strict=True):
        assert torch.equal(p.grad, grad.clamp(-0.25, 0.25))


def test_a_checkpoint_holds_both_stages(first_stage, tmp_path):
    task = PDCGTask(first_stage, lr=1e-2, **SMALL)
    train(task, enable_checkpointing=True, default_root_dir=tmp_path).save_checkpoint(tmp_path / "pdcg.ckpt")
    network = load_network("pdcg", tmp_path / "pdcg.ckpt")
    assert equal(network, task.network)
    assert torch.load(tmp_path / "pdcg.ckpt", weights_only=True)["global_step"] == 2
    assert not equal(network.pdcg, task.generator)  # it is the moving average

    measured = PDCGTask(**task.arguments)  # needs neither the first stage's file nor VGG19
    measured.load_state_dict(torch.load(tmp_path / "pdcg.ckpt", weights_only=True)["state_dict"])
    assert equal(measured.network, network)


def test_what_is_over_exposed_is_measured_of_both_stages(first_stage):
    """All that PDCG changes: by NumPy, of all pixels whose brightest channel is above 0.95, also where few are."""
    task = PDCGTask(first_stage, **SMALL)
    logged = {}
    task.log_dict = logged.update
    hdcfm, frames = load_network("hdcfm", first_stage), [*batches(2, batch=1)]
    frames[1]["sdr"] = frames[1]["sdr"] * 0.951
    errors = {"pdcg": [], "hdcfm": []}
    for i, batch in enumerate(frames):
        with torch.no_grad():
            outputs = {"pdcg": task.test_step(batch, i), "hdcfm": hdcfm(batch["sdr"]).clamp(0, 1)}
        inside = (batch["sdr"].amax(1) > 0.95).numpy()[0]
        for name, out in outputs.items():
            errors[name].append((out - batch["hdr_pq"])[0].double().numpy()[:, inside])
    task.on_test_epoch_end()
    error, first = (np.concatenate(e, axis=1) for e in errors.values())
    assert 0 < errors["pdcg"][1].size < errors["pdcg"][0].size
    assert float(logged["test/over_exposed_psnr"]) == pytest.approx(-10 * np.log10((error**2).mean()), abs=1e-3)
    assert float(logged["test/over_exposed_l1"]) == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert task.baselines() == {
        "HDCFM alone": {
            "over_exposed_psnr": pytest.approx(-10 * np.log10((first**2).mean()), abs=1e-3),
            "over_exposed_l1": pytest.approx(np.abs(first).mean(), rel=1e-4),
        }
    }
    assert "test/psnr" in logged
    assert task.masked_metrics()["over_exposed_psnr"].protocol.crop == "over-exposed pixels of the SDR frame"


def test_training_needs_a_first_stage(tmp_path):
    with pytest.raises(ValueError, match=r"--model\.hdcfm PATH"):
        train(PDCGTask(**SMALL))
    with pytest.raises(FileNotFoundError, match=r"missing\.ckpt"):
        PDCGTask(str(tmp_path / "missing.ckpt"))
    with pytest.raises(ValueError, match="accumulate=0"):
        PDCGTask(accumulate=0)


def test_the_published_file_is_a_first_stage(shared):
    path = shared / "weights" / "hdcfm_official.pth.tar"
    task = PDCGTask(str(path), **SMALL)
    assert equal(task.network.hdcfm, load_network("hdcfm", path))
