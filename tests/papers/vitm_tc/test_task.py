"""The two stages on tiny panoramas: what they train, on which frames, and how they are measured."""

from __future__ import annotations

import copy
from functools import partial

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torchvision.models import vgg16
from torchvision.transforms.functional import normalize

from tests.steps import assert_adam, assert_gradients, take_steps
from vitm.checkpoints import write_weights
from vitm.data import LongSequences
from vitm.data.fake.sequences import write_fake_panoramas
from vitm.data.sequences.clue_schedule import ClueSchedule
from vitm.data.sequences.long_clip import LongClip
from vitm.ops.warp import warp
from vitm.papers.vitm_tc import BlendTask, CluesTask, FCPMTask, ICAMTask
from vitm.papers.vitm_tc.display import measuring_white, to_hdr_pq
from vitm.papers.vitm_tc.exposure import linearise
from vitm.zoo import load_network

WIDTHS = (8, 8, 8, 8, 8)
SHORT = {"clue_stride": 2, "clues_per_direction": 1, "flow": "zero"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_fake_panoramas(tmp_path_factory.mktemp("panoramas"), 3)


def sequences(root, sampling, **options):
    schedule = ClueSchedule(references=2, clue_stride=2, clues_per_direction=1, window=3, key_stride=3, neighbours=2)
    sizes = {"size": 48, "crop_size": 40, "batch_size": 2, "num_workers": 0, "frames": 10}
    return LongSequences(str(root), sampling=sampling, schedule=schedule, val_clips=1, eval_frames=5, **sizes | options)


def trainer(tmp_path, steps):
    return L.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
    )


def icam_task(**options):
    torch.manual_seed(0)
    return ICAMTask(perceptual_weight=0, widths=WIDTHS, propagation="none", **SHORT | options)


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    task = icam_task()
    path = tmp_path_factory.mktemp("icam") / "best.ckpt"
    state = {f"network.{k}": v for k, v in task.network.state_dict().items()}
    torch.save({"vitm": {"network": task.name, "arguments": task.arguments}, "state_dict": state}, path)
    return path


def fcpm_task(first_stage, **options):
    torch.manual_seed(0)
    arguments = {"perceptual_weight": 0, "gan_weight": 0, "key_stride": 3, "neighbours": 2, **SHORT, **options}
    return FCPMTask(icam=str(first_stage), **arguments)


@pytest.mark.slow
def test_icam_trains_and_half_rate_is_for_alignment(root, tmp_path):
    task = icam_task(lr=1e-3, schedule="constant")
    before = {k: v.clone() for k, v in task.network.state_dict().items()}
    trainer(tmp_path, 6).fit(task, sequences(root, "references"))  # what starts at zero lets nothing through at first
    after = task.network.state_dict()
    changed = {k.split(".")[1] for k in before if not torch.equal(before[k], after[k])}
    assert {"first", "correction", "deformation", "fusion", "encoder", "aggregation", "decoder", "last"} <= changed
    rates = {group["lr"]: len(group["params"]) for group in task.configure_optimizers()["optimizer"].param_groups}
    alignment = [p for part in (task.network.icam.correction, task.network.icam.deformation) for p in part.parameters()]
    assert rates[0.0005] == len(alignment)


def code(x_linear):
    """The mu-law of Wu et al. with mu = 5000; light is not negative here."""
    return torch.log(1 + 5000 * x_linear) / np.log(5001)


def absolute_difference(x_linear, true, pixel):
    return (code(x_linear) - code(true) if pixel == "mu_law" else x_linear - true).abs().mean()


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """VGG16's first three blocks with random weights: their file, and their features after relu1_2, 2_2 and 3_3."""
    with torch.device("meta"):
        network = vgg16().features[:16]
    network.to_empty(device="cpu").requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.05, generator=generator)
    for module in network:
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({f"features.{k}": v for k, v in network.state_dict().items()}, path)

    def distance(x, y):
        x, y, total = (*(normalize(z, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) for z in (x, y)), 0)
        for i, layer in enumerate(network):
            x, y = layer(x), layer(y)
            if i in (3, 8, 15):
                total = total + (x - y).abs().mean()
        return total

    return str(path), distance


def batches_of(data, n):
    data.setup("fit")
    loader = data.train_dataloader()
    return [data.on_after_batch_transfer(raw, 0) for _, raw in zip(range(n), loader, strict=False)]


def roughened(network):
    """What starts at zero lets no gradient through: give all parameters some noise."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("pixel", ["mu_law", "linear"])
def test_icam_s_steps_are_adam_s_on_equation_8(pixel, root, vgg):
    path, distance = vgg
    torch.manual_seed(0)
    weights = {"perceptual_weight": 0.3, "flow_weight": 0.2, "vgg_weights": path}
    task = ICAMTask(widths=WIDTHS, lr=2e-3, schedule="constant", pixel=pixel, **SHORT, **weights)
    roughened(task.network)
    batch, second = batches_of(sequences(root, "references"), 2)
    network, flows = copy.deepcopy(task.network).to(memory_format=torch.channels_last), task._true_flows
    (steps,) = take_steps(task, [batch, second] if pixel == "mu_law" else [batch])

    rows, index = torch.arange(2)[:, None], batch["references"][:, 0]
    present = batch["reference_mask"][:, 0]
    key, references, true = batch["ldr"][:, 0], batch["ldr"][rows, index], batch["linear"][:, 0]
    predicted = network.icam.reconstruct(key, references, torch.zeros(2, index.shape[1], 2, 40, 40), present)
    exact, valid = flows(batch, index)
    counts = (valid & present[:, :, None, None, None]).expand_as(exact)
    l_pix = absolute_difference(predicted.hdr_linear, true, pixel)
    l_per = distance(code(predicted.hdr_linear), code(true))
    l_flow = (predicted.flows - exact).abs()[counts].mean()
    assert counts.any()
    alignment = [*network.icam.correction.parameters(), *network.icam.deformation.parameters()]
    others = [p for p in network.icam.parameters() if not any(p is q for q in alignment)]
    assert_gradients(steps[0], l_pix + 0.3 * l_per + 0.2 * l_flow, [*others, *alignment])
    assert steps[0].rates == [2e-3] * len(others) + [1e-3] * len(alignment)
    assert_adam(steps, (0.9, 0.999))


@pytest.mark.slow
@pytest.mark.parametrize("pixel", ["mu_law", "linear"])
def test_fcpm_s_steps_are_adam_s_on_equation_13(pixel, first_stage, vgg, monkeypatch):
    """And its discriminator's, on predictions that stay as they are; a few numbers stand for the network's windows."""
    path, distance = vgg
    weights = {"perceptual_weight": 0.3, "gan_weight": 0.2, "vgg_weights": path}
    task = fcpm_task(first_stage, lr=2e-3, schedule="constant", pixel=pixel, **weights)
    true = 2 * torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def windows(network):
        return true * torch.stack([1 + p.mean() for p in network.fcpm.parameters()]).mean() + 0.3

    monkeypatch.setattr(task, "_windows", lambda batch: (windows(task.network), true))
    network, judge = copy.deepcopy(task.network), copy.deepcopy(task.discriminator)
    of_fcpm, of_judge = take_steps(task, [{}, {}] if pixel == "mu_law" else [{}])

    predicted = windows(network)
    l_pix = absolute_difference(predicted, true, pixel)
    l_per = distance(code(predicted)[0], code(true)[0])
    l_gan = 0.5 * ((judge(code(predicted)) - 1) ** 2).mean()
    assert_gradients(of_fcpm[0], l_pix + 0.3 * l_per + 0.2 * l_gan, network.fcpm.parameters())
    judging = 0.5 * ((judge(code(true)) - 1) ** 2).mean() + 0.5 * (judge(code(predicted.detach())) ** 2).mean()
    assert_gradients(of_judge[0], judging, judge.parameters())
    assert of_fcpm[0].rates[0] == of_judge[0].rates[0] == 2e-3
    assert_adam(of_fcpm, (0.9, 0.999))


def test_motion_is_the_data_s_for_a_share_of_a_batch_and_estimated_for_the_rest(root):
    """Of two samples the first; the zero flow of the estimator is no motion of a camera, so it stays as it is."""
    task = icam_task(start="clues", align="fill", use_global=False, exact_motion=0.5)
    (batch,) = batches_of(sequences(root, "references"), 1)
    index = batch["references"][:, 0]
    flows, gains = task._motions(batch, index)
    exact, _ = task._true_flows(batch, index)
    torch.testing.assert_close(flows[0], exact[0])
    torch.testing.assert_close(gains[0], 2 ** (batch["ev"][0, 0] - batch["ev"][0, index[0]]))
    for r, i in enumerate(index[1]):
        estimated = task.network.reference_motion(batch["ldr"][1:, 0], batch["ldr"][1:, i])
        torch.testing.assert_close((flows[1:, r], gains[1, r]), (estimated.flow, estimated.gain.squeeze()))
    roughened(task.network)
    before = {k: v.clone() for k, v in task.network.state_dict().items()}
    take_steps(task, [batch])
    after = task.network.state_dict()
    assert {"prior", "last"} <= {k.split(".")[1] for k in before if not torch.equal(before[k], after[k])}
    with pytest.raises(ValueError, match="exact_motion is a share"):
        icam_task(exact_motion=2)


@pytest.mark.parametrize("second", [fcpm_task, lambda icam: BlendTask(str(icam), **SHORT)])
def test_what_goes_on_from_a_first_stage_has_its_start(second, tmp_path):
    task = icam_task(start="clues", align="fill", use_global=False, search=2)
    state = {f"network.{k}": v for k, v in task.network.state_dict().items()}
    torch.save(
        {"vitm": {"network": task.name, "arguments": task.arguments}, "state_dict": state}, tmp_path / "icam.ckpt"
    )
    network = second(tmp_path / "icam.ckpt").network
    assert (network.icam.start, network.icam.align_by, network.search) == ("clues", "fill", 2)
    assert torch.equal(network.icam.prior[0].weight, task.network.icam.prior[0].weight)


def test_blended_keys_are_measured_and_are_weights_of_their_own(root, tmp_path):
    """Nothing is learned; an ICAM's weights alone, written with the argument, are the same network."""
    task = icam_task(start="clues", align="fill", use_global=False)
    state = {f"network.{k}": v for k, v in task.network.state_dict().items()}
    about = {"network": task.name, "arguments": task.arguments}
    torch.save({"vitm": about, "state_dict": state}, tmp_path / "icam.ckpt")
    blended = BlendTask(str(tmp_path / "icam.ckpt"), **SHORT).eval()
    assert not blended.trains
    write_weights(tmp_path / "icam.ckpt", tmp_path / "small.ckpt", propagation="blend")
    shipped = load_network("vitm_tc", tmp_path / "small.ckpt")
    assert shipped.propagation == blended.network.propagation == "blend"
    data = sequences(root, "references", ev_range=(1, 5))
    data.setup("test")
    ldr = torch.stack([next(iter(data.test_dataloader())).ldr(t) for t in range(4)])[None]
    with torch.no_grad():
        torch.testing.assert_close(shipped(ldr), blended(ldr), rtol=1e-2, atol=1e-3)  # half precision
    results = trainer(tmp_path, 1).test(blended, data, verbose=False)[0]
    assert results["test/over_exposed"] < blended.baselines()["linearised input"]["over_exposed"]


def test_true_flows_lay_references_onto_their_key(root):
    """Warped along them, a reference's light equals the key's, but for the exposure, which the batch knows."""
    data = sequences(root, "references", size=96, crop_size=96, frames=24)
    data.setup("fit")
    errors = []
    for _, raw in zip(range(6), data.train_dataloader(), strict=False):
        batch = data.on_after_batch_transfer(raw, 0)
        flows, valid = icam_task()._true_flows(batch, batch["references"][:, 0])
        for b, r in np.argwhere(batch["reference_mask"][:, 0].numpy()):
            i = batch["references"][b, 0, r]
            gain = torch.exp2(batch["ev"][b, 0] - batch["ev"][b, i])
            laid = warp(batch["linear"][b, i][None], flows[b, r][None])[0] * gain
            inside = valid[b, r].expand_as(laid)
            key = batch["linear"][b, 0]
            errors.append(((laid - key).abs()[inside].mean() / key[inside].mean()).item())
    assert len(errors) > 3
    assert np.median(errors) < 0.03


@pytest.mark.slow
def test_fcpm_trains_behind_a_frozen_icam(root, first_stage, tmp_path):
    task = fcpm_task(first_stage, gan_weight=0.05, lr=1e-3, schedule="constant")
    icam = {k: v.clone() for k, v in task.network.icam.state_dict().items()}
    fcpm = {k: v.clone() for k, v in task.network.fcpm.state_dict().items()}
    judge = {k: v.clone() for k, v in task.discriminator.state_dict().items()}
    fitted = trainer(tmp_path, 4)  # the residue starts at zero and lets nothing through at first
    fitted.fit(task, sequences(root, "window"))
    assert fitted.global_step == 4
    assert all(torch.equal(v, task.network.icam.state_dict()[k]) for k, v in icam.items())
    assert sum(not torch.equal(v, task.network.fcpm.state_dict()[k]) for k, v in fcpm.items()) == len(fcpm)
    assert any(not torch.equal(v, task.discriminator.state_dict()[k]) for k, v in judge.items())


def test_a_window_is_made_of_the_frames_that_the_batch_names(root, first_stage, monkeypatch):
    data = sequences(root, "window")
    data.setup("fit")
    task = fcpm_task(first_stage)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    calls = []
    real = task.network.window
    monkeypatch.setattr(task.network, "window", lambda *args: calls.append(args) or real(*args))
    made, true = task._windows(batch)
    assert made.shape == true.shape == (2, 3, 3, 40, 40)
    for b, (ldr, times, keys) in enumerate(calls):
        assert len(times) == 3
        for i, t in enumerate(times):
            place = batch["time"][b].tolist().index(t)
            assert torch.equal(ldr[t][0], batch["ldr"][b, place])
            assert torch.equal(true[b, i], batch["linear"][b, place])
            # what is not clipped is not touched
            fine = ldr[t][0].amax(0) < 0.95
            assert torch.equal(made[b, i][:, fine], linearise(ldr[t][0])[:, fine])
        assert set(keys) <= {0, 3, 6, 9}
        assert all(abs(r - key) == 2 for key, references in keys.items() for r in references)


def test_perfect_frames_measure_as_perfect(root, first_stage, monkeypatch):
    data = sequences(root, "window")
    data.setup("test")
    task = fcpm_task(first_stage)
    (clip,) = data.test_dataloader()
    monkeypatch.setattr(
        task.network, "stream", lambda frames, clues, every: (clip.linear(t)[None] for t, _ in enumerate(frames))
    )
    _, shown, target = task._evaluate(clip, task.test_metrics)
    assert torch.equal(shown, target)
    assert task.over_exposed.compute().nan_to_num() == 0
    assert task.test_metrics.compute()["psnr"] == float("inf")
    monkeypatch.setattr(task, "log", lambda *args, **kwargs: None)
    monkeypatch.setattr(task, "log_dict", lambda *args, **kwargs: None)
    task.on_test_epoch_end()
    linearised = task.baselines()["linearised input"]
    assert linearised["psnr"] < 100  # quantised, at least
    seen = []
    monkeypatch.setattr(task, "_measure", lambda linear, target, white, metrics: seen.append(metrics))
    task._evaluate(clip, task.test_metrics)
    task.on_test_epoch_end()
    assert [metrics is task.test_metrics for metrics in seen] == [True]  # the input's numbers are kept
    assert task.baselines()["linearised input"] == linearised


@pytest.mark.parametrize("make", [partial(icam_task, align="flow", use_global=False), CluesTask])
def test_flow_is_measured_where_the_key_has_clipped_what_the_reference_shows(make, root, monkeypatch):
    """The upper half of the frames is seen, where the flow misses by three and four pixels; below it is lost."""
    error = torch.tensor([3.0, 4.0])[:, None, None]
    seen = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    seen[:, :, :20] = True
    flow = torch.where(torch.arange(48)[:, None] < 20, error, 1000).expand(2, 48, 48)
    task = make(flow=lambda source, target: flow.expand(len(source), 2, 48, 48), clue_stride=2, every=1)
    data = sequences(root, "references", size=40, ev_range=(2, 6))
    data.setup("test")
    (clip,) = data.test_dataloader()
    monkeypatch.setattr("vitm.papers.vitm_tc.task.FLOW_STEP", 2)
    pairs = []
    known = {"flow": (torch.zeros(1, 2, 40, 40), seen)}
    monkeypatch.setattr(LongClip, "flow", lambda self, *pair: pairs.append(pair) or known["flow"])
    monkeypatch.setattr(task, "log_dict", lambda *args, **kwargs: None)
    logged = {}
    monkeypatch.setattr(task, "log", logged.__setitem__)
    task._evaluate(clip, task.test_metrics)
    assert {t for t, _ in pairs} <= {0, 2, 4}
    clipped = sum(((clip.ldr(t) >= 0.98).any(0) & seen[0, 0]).sum().item() for t, _ in pairs)
    assert task.clipped_flow_error.weight == clipped > 50
    task._log_metrics("test", task.test_metrics)
    assert logged["test/clipped_flow_error"] == 5

    logged.clear()
    known["flow"] = None
    task._evaluate(clip, task.test_metrics)
    task._log_metrics("test", task.test_metrics)
    assert "test/clipped_flow_error" not in logged
    assert "test/over_exposed" in logged
    pairs.clear()
    task._evaluate(clip, task.val_metrics)
    assert not pairs


def test_display_light_is_what_the_standards_say():
    """Grey at 1 is 203 cd/m2, PQ code 0.5807 (BT.2408); 10,000 cd/m2 is 1; a red of BT.709 is inside BT.2020."""
    grey = to_hdr_pq(torch.tensor([1.0, 0.0, 1e6, -3.0]).view(1, 1, 4).expand(3, 1, 4))
    assert grey[0, 0].tolist() == pytest.approx([0.5807, 7.3e-7, 1.0, 7.3e-7], abs=1e-4)
    red = to_hdr_pq(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    y = np.array([0.6274, 0.0691, 0.0164]) * 203 / 10_000  # BT.2087-0, M2
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    assert red.flatten().tolist() == pytest.approx(((c1 + c2 * y**m1) / (1 + c3 * y**m1)) ** m2, abs=1e-4)


def test_measuring_white_puts_the_percentile_at_1000():
    light = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 40
    y = np.einsum("c,tchw->thw", [0.2126, 0.7152, 0.0722], light.numpy())[:, ::2, ::2]
    assert measuring_white(light) * np.percentile(y, 99.9) == pytest.approx(1000, rel=1e-3)
    assert measuring_white(torch.zeros(1, 3, 8, 8)) == 203


def test_fcpm_needs_a_first_stage_and_something_to_train(root, tmp_path):
    with pytest.raises(ValueError, match=r"--model\.icam"):
        trainer(tmp_path, 1).fit(FCPMTask(perceptual_weight=0, gan_weight=0, **SHORT), sequences(root, "window"))
    with pytest.raises(ValueError, match="has no FCPM"):
        FCPMTask(propagation="none")
    with pytest.raises(ValueError, match="propagation='none'"):
        ICAMTask(propagation="both")


def test_the_first_stage_brings_its_own_architecture(first_stage):
    task = fcpm_task(first_stage, align="none")
    assert task.arguments["widths"] == WIDTHS
    assert task.arguments["align"] == "dcn"
