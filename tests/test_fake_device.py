"""What a GPU would complain of, found without one: tensors of device type "cuda" that compute shapes and devices only.

Under `FakeTensorMode` an operation between devices raises as it would there, and so does a value that the host asks for
(`.item()`, `if tensor:`, a boolean index). `Crossing` sees what it lets pass: copies from one device to the other, for
which the host waits as well. Kernels do not run, and backward passes need a real device.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from packaging.version import Version
from torch import Tensor, distributed, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.test_imports import modules
from vitm.baselines.deep_vitm import luminance_and_color_loss
from vitm.baselines.hdrcnn import illumination_reflectance_loss
from vitm.conversion import LevelControl
from vitm.conversion.super_white import give_super_white
from vitm.data.open_scenes import OpenScenes, _Views
from vitm.data.production import PRODUCTIONS, Production, produce
from vitm.data.sequences.long_sequences import LongSequences, expose_batch
from vitm.metrics.registry import METRICS, build_metric
from vitm.nets import flow, perceptual
from vitm.nets.analytic import Analytic
from vitm.nets.flow import RAFTFlow, ZeroFlow
from vitm.nets.interface import SpillingNetwork, StreamingNetwork, SurveyingNetwork, stream
from vitm.nets.perceptual import PerceptualLoss
from vitm.papers.hdcfm.losses import patch_loss
from vitm.papers.kpn_mfi.losses import BrightnessConsistencyLoss, OfficialConsistencyLoss
from vitm.papers.vitm_tc.losses import HDRPerceptualLoss
from vitm.papers.vitm_tc.motion import Motion
from vitm.papers.vitm_tc.task import FCPMTask, ICAMTask
from vitm.training.callbacks import EpochBar, StopAtNonFinite, StopWhenTold, Throughput
from vitm.training.task import L1Task
from vitm.video import open_writer
from vitm.video.write.outputs import usual_codec
from vitm.zoo import NETWORKS, network_class

pytestmark = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.10"), reason="fake tensors of PyTorch 2.9 ask for a CUDA driver"
)
SIZE = (136, 40)  # more rows than a band has
TABLES = {"hdrtvnet", "hdrtvnet_plus", "operator_map"}  # put tables onto the device at the first call of a size
FRAMES = {"kpn_mfi": 3, "dslnet": 5, "deep_vitm": 5, "basicvsr_pp": 3, "vitm_tc": 3}  # of `forward`; of others one
HOST_FLOW = {"vitm_tc", "basicvsr_pp"}  # their default optical flow is OpenCV's, on the host
HEAVY = {"hdrcnn", "pdcg", "vitm_tc"}  # many operations
COPIES = torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype_layout  # the latter in inference mode
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
ON_DEVICE = [name for name in NETWORKS if name != "clues"]  # it fits its homographies, and chooses frames, on the host
QUIET = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
NOT_FAKE = {"color_video_vdp": "another package's", "warping_error": "OpenCV's flow", "tof": "OpenCV's flow"}


class Crossing(TorchDispatchMode):
    """Raises where a tensor is copied from one device to the other, unless the host goes on meanwhile."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copies = func in COPIES
        if copies and kwargs.get("non_blocking"):
            return result
        if func is torch.ops.aten._linalg_check_errors.default and args[0].device.type == "cuda":
            raise AssertionError("the host asks whether there is an inverse")
        # A number of the host may be an operand: it goes with the call.
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor) and (copies or x.ndim)]
        if len(devices := {x.device.type for x in tensors}) > 1:
            raise AssertionError(f"{func} goes from device to device: {sorted(devices)}")
        return result


@pytest.fixture(autouse=True)
def fake_tensors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute with fake tensors, let autocast take "cuda" for one, and forget what was kept before and on it."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # each operation asks, and would look for a driver
    monkeypatch.setattr(Tensor, "pin_memory", lambda x: x)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "Event", Mock)
    forget_what_is_kept()
    with FakeTensorMode():
        yield
    forget_what_is_kept()


def forget_what_is_kept() -> None:
    """Empty the caches of all functions: fake tensors and others do not go together."""
    for module in [module for name, module in sys.modules.items() if name.startswith("vitm.")]:
        for value in vars(module).values():
            getattr(value, "cache_clear", lambda: None)()


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, device="cuda")


def fake_network(name: str) -> nn.Module:
    with torch.device("cuda"):
        return network_class(name)(**({"flow": ZeroFlow()} if name in HOST_FLOW else {})).eval()


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cuda", dtype=HALF.get(precision), enabled=precision in HALF)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param(name, precision, marks=[pytest.mark.slow] if precision == "fp16" or name in HEAVY else [])
        for name in ON_DEVICE
        for precision in ("fp32", "bf16", "fp16")
    ],
)
def test_the_host_waits_for_no_network(name: str, precision: str) -> None:
    """As it is evaluated in fp32, and trained in mixed precision, where a last convolution may give half precision."""
    training = precision != "fp32"
    network = fake_network(name).train(training)
    frames = random(1, *([FRAMES[name]] if name in FRAMES else []), 3, *SIZE)
    with torch.set_grad_enabled(training), autocast(precision):
        if name in TABLES:
            network(frames)
        with Crossing():
            prediction = network(frames)
    assert prediction.dtype in {torch.float32, HALF.get(precision)}
    assert (prediction.device.type, prediction.shape[-3:]) == ("cuda", (3, *SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ON_DEVICE if name not in HEAVY])
def test_clips_stay_on_the_device(name: str) -> None:
    network = fake_network(name)
    if not isinstance(network, StreamingNetwork) or isinstance(network, SpillingNetwork):
        pytest.skip("frames are converted by themselves, or wait for their turn on disk")
    if name in TABLES:
        network(random(1, 3, *SIZE))
    with torch.inference_mode(), Crossing():
        if isinstance(network, SurveyingNetwork):
            network.survey(random(3, 1, 3, *SIZE))
        predictions = list(stream(network, random(3, 1, 3, *SIZE)))
    assert [(p.shape, p.device.type) for p in predictions] == [((1, 3, *SIZE), "cuda")] * 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raft", "raft_small"])
def test_an_optical_flow_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes to the host for it; torchvision's code itself copies small tables to the device."""
    monkeypatch.setattr(flow, "_existing", lambda *_: None)
    monkeypatch.setattr(flow, "_frozen", lambda network, _: _on_device(network))
    with torch.device("cuda"):
        estimate = RAFTFlow(name, None)
    with autocast("bf16"), torch.backends.cudnn.flags(enabled=False):  # its sampler has no fake
        result = estimate(random(1, 3, 132, 140), random(1, 3, 132, 140))
    assert (result.shape, result.dtype, result.device.type) == ((1, 2, 132, 140), torch.float32, "cuda")


def test_operators_on_a_device() -> None:
    with torch.inference_mode(), Crossing():
        assert Analytic("bt2446a", gain=2.0)(random(1, 3, *SIZE)).device.type == "cuda"


def test_the_level_of_a_conversion_on_a_device() -> None:
    """With graphics and super-white."""
    control = LevelControl(1.5, anchor_black=True, strength=0.7, saturation=1.2, peak_nits=600)
    with torch.inference_mode(), Crossing():
        hdr_pq = give_super_white(random(3, *SIZE), 1 + random(1, *SIZE))
        assert control(hdr_pq, random(3, *SIZE), 0.3).device.type == "cuda"


@pytest.mark.parametrize("name", ["a.mp4", "hlg", "a.mov", "a.y4m", "frames", "a.exr"])
def test_frames_become_codes_on_a_device(name: str, tmp_path: Path) -> None:
    codec = {"hlg": "hlg", "a.mov": "prores"}.get(name) or usual_codec(Path(name))
    writer = open_writer(tmp_path / name.replace("hlg", "a.mkv"), 64, 48, 24, codec)
    with torch.inference_mode(), Crossing():
        packed = writer.pack(random(3, 48, 64))
    assert (packed.device.type, packed.dtype, packed.ndim) == ("cuda", torch.uint8, 1)
    writer.abort()


@pytest.mark.slow
@pytest.mark.parametrize("name", {line.path: name for name, line in METRICS.items()}.values())
def test_metrics_on_a_device(name: str) -> None:
    """They may put tables there, but mix no devices, and keep fp64 under autocast."""
    if name in NOT_FAKE:
        pytest.skip(f"{NOT_FAKE[name]} runs on the host")
    with torch.device("cuda"):
        metric = build_metric(name, fps=24.0)
    frames, mask = random(2, 1, 3, 3, 96, 160), random(1, 3, 1, 96, 160) > 0.5
    with autocast("bf16"):
        metric.update(*frames, *([mask] if metric.needs_mask else []))
        values = tree_leaves(metric.compute())
    assert [(value.dtype, value.device.type) for value in values] == [(torch.float64, "cuda")] * len(values)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "perceptual": lambda pred, target: PerceptualLoss()(pred[0], target[0]),
    "hdr_perceptual": lambda pred, target: HDRPerceptualLoss()(pred[0], target[0]),
    "consistency": lambda pred, target: BrightnessConsistencyLoss(ZeroFlow())(pred, target),
    "official_consistency": lambda pred, target: OfficialConsistencyLoss()(pred, target),
    "patch": lambda pred, target: patch_loss(pred[0, :, :1, ::8, ::8], target[0], real=True),
    "luminance_and_color": lambda pred, target: luminance_and_color_loss(pred[0], target[0]),
    "illumination": lambda pred, target: illumination_reflectance_loss(pred[0], target[0], target[0, :, :1]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_on_a_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mixed precision they are scalars in fp32 that have a gradient."""
    monkeypatch.setattr(perceptual, "_load", lambda network, *_: _on_device(network))
    # Kornia checks numbers of the host, unless it is compiled; a fake knows none.
    monkeypatch.setattr(sys.modules["kornia.filters.gaussian"], "is_compiling", lambda: True)
    with autocast("bf16"), Crossing():
        loss = LOSSES[name](random(1, 3, 3, 160, 160).requires_grad_(), random(1, 3, 3, 160, 160))
    assert (loss.shape, loss.dtype, loss.device.type, loss.requires_grad) == ((), torch.float32, "cuda", True)


def test_sequences_are_filmed_and_exposed_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kornia's warp, too, from its version 0.9 on: it inverts a matrix without asking whether there is an inverse."""
    tensor = torch.tensor

    def of_the_host(x: Any, dtype: torch.dtype | None = None, device: Any = "cpu") -> Tensor:
        assert torch.device(device).type == "cpu", "a copy to the device, for which the host waits"
        return tensor(x, dtype=dtype)

    monkeypatch.setattr(torch, "tensor", of_the_host)
    planes = [random(1, 3, 96, 96), random(4, 3, 64, 64)]
    homography = torch.eye(3, device="cuda").expand(2, 4, 3, 3)
    with Crossing():
        batch = expose_batch(
            {"planes": planes, "still": [True, False], "homography": homography, "ev": random(2, 4)}, crop_size=64
        )
    assert [batch[key].device.type for key in ("ldr", "linear")] == ["cuda", "cuda"]
    assert batch["ldr"].shape == (2, 4, 3, 64, 64)


@pytest.mark.parametrize("production", PRODUCTIONS.values(), ids=PRODUCTIONS)
def test_sdr_is_produced_on_the_device(production: Production) -> None:
    with Crossing():
        sdr = produce(1000 * random(3, 36, 64), replace(production, white_balance=(1.1, 1.0, 0.9)))
    assert (sdr.shape, sdr.dtype, sdr.device.type) == ((3, 36, 64), torch.float32, "cuda")


def test_training_samples_are_made_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers of the host are known there; those of the device, which are the noise, are fakes."""
    for name in ("rand", "randn", "randint"):
        monkeypatch.setattr(torch, name, _drawn_on_the_host(getattr(torch, name)))
    monkeypatch.setattr(fake_tensor, "CONSTANT_NUMEL_LIMIT", 9)
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda *_: generator())
    module = OpenScenes("nowhere", mixed_places=True, other_material=True)
    module._sets["train"] = _Views({"a": np.ones((36, 64, 3), np.uint16)}, 0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        draws = [*"01245689"]  # which run every line that twelve in a row run
        frames = random(len(draws), 3, 36, 64)
        with Crossing():
            batch = module.on_after_batch_transfer({"hdr_pq": frames, "draw": draws, "production": [""] * 8}, 0)
    for side in ("sdr", "hdr_pq"):
        assert (batch[side].shape, batch[side].device.type) == ((8, 3, 36, 64), "cuda")


def test_callbacks_do_not_wait_for_the_step_that_has_just_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar too. What they see is copied to the host, and read a step later; a fake that is read raises."""
    events: list[Mock] = []
    monkeypatch.setattr(torch.cuda, "Event", lambda: events.append(Mock()) or events[-1])
    monkeypatch.setattr(distributed, "all_reduce", lambda *_: None)
    monkeypatch.setattr(sys.modules["torchmetrics.metric"], "deepcopy", lambda x: x)  # of fakes there is none
    module, trainer = _training()
    batch = {"sdr": random(2, 3, *SIZE), "name": ["a", "b"]}
    callbacks = StopAtNonFinite(), Throughput(), StopWhenTold()
    with Crossing():
        L1Task.loss(module, random(1, 3, 8, 8), random(1, 3, 8, 8))
        for callback in callbacks:
            callback.on_train_batch_end(trainer, module, {"loss": random(1)[0]}, batch, 3)
        bar = EpochBar()
        assert "train/loss" not in bar.get_metrics(trainer, module)
        trainer.global_step += 1
        asked = len(events)
        assert asked == 2 + len(bar._coming)  # that it is finite, that none was told to stop, and what is shown
        for i, late in enumerate((callbacks[0], callbacks[2])):
            with pytest.raises(DataDependentOutputException):
                late.on_train_batch_end(trainer, module, {"loss": random(1)[0]}, batch, 4)
            events[i].synchronize.assert_called_once_with()
        with pytest.raises(DataDependentOutputException):
            bar.get_metrics(trainer, module)
    assert sum(event.synchronize.called for event in events) == 3
    assert not any(event.synchronize.called for event in events[asked:])


def _training() -> tuple[Any, Any]:
    """Return a module that logs on the device, and a trainer of two GPUs after its third step."""
    trainer = Trainer(accelerator="cpu", **dict.fromkeys(QUIET, False))
    trainer.state.fn, trainer.training, module = TrainerFn.FITTING, True, LightningModule()
    module.trainer, module._current_fx_name = trainer, "training_step"
    trainer.fit_loop.epoch_loop._results.batch_size = 1
    trainer._logger_connector._first_loop_iter = True
    played: Any = Mock(wraps=trainer, world_size=2, global_step=3, log_every_n_steps=50)
    type(played).callback_metrics = property(lambda _: trainer.callback_metrics)
    played.progress_bar_metrics, played.loggers = {}, []
    played.strategy.root_device, played.precision_plugin.scaler = torch.device("cuda"), None
    return module, played


def test_no_task_shows_what_the_host_would_wait_for() -> None:
    """Lightning reads what is logged with `prog_bar=True` in each step."""
    for path in modules():
        if path.name != "bar.py":
            assert "prog_bar" not in path.read_text(), f"{path}: EpochBar shows it"


def test_the_host_knows_which_frames_a_sample_of_a_sequence_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training step decides by comes from the host, and stays there."""
    monkeypatch.setattr(fake_tensor, "CONSTANT_NUMEL_LIMIT", 100)
    monkeypatch.setattr(torch, "arange", _drawn_on_the_host(torch.arange))
    still = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    loaded = {
        "planes": [torch.rand(1, 3, 96, 96), torch.rand(3, 3, 64, 64)],
        "still": [True, False],
        "ev": torch.rand(2, 3),
        "time": torch.tensor([[4, 2, 6], [9, 7, 11]]),
        "homography": torch.tensor([[still] * 3, [[[math.nan] * 3] * 3] * 3]),
        "window": torch.tensor([[0, 2], [0, 2]]),
        "keys": torch.tensor([[0], [0]]),
        "key_mask": torch.tensor([[True], [True]]),
        "references": torch.tensor([[[1, 2]], [[1, 0]]]),
        "reference_mask": torch.tensor([[[True, True]], [[True, False]]]),
        "name": ["a", "b"],
    }
    data, task = object.__new__(LongSequences), Mock(exact_motion=1.0, device=torch.device("cuda"))
    data.crop_size, task.trainer.world_size = 64, 1
    task._exposure_ratios = lambda batch, r: ICAMTask._exposure_ratios(task, batch, r)
    task.learner.reference_motion = lambda key, frame: Motion(key[:, :2], key[:, :1, :1, :1])
    task.learner.window = lambda ldr, times, keys: random(1, len(times), 3, 64, 64)
    task.network.flow = lambda x, y: x[:, :2] + y[:, :2]
    with Crossing():
        batch: Any = data.on_after_batch_transfer(data.transfer_batch_to_device(loaded, torch.device("cuda"), 0), 0)
        index = batch["references"][:, 0, ICAMTask._used_references(task, batch)]
        results = [*ICAMTask._motions(task, batch, index), *ICAMTask._true_flows(task, batch, index)]
        windows = FCPMTask._windows(task, batch)
    assert [tuple(x.shape) for x in results] == [(2, 2, 2, 64, 64), (2, 2), (2, 2, 2, 64, 64), (2, 2, 1, 64, 64)]
    assert {x.device.type for x in (*results, *windows)} == {"cuda"}


def _drawn_on_the_host(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a function that makes a tensor as it is, where that is on the device; else with the numbers."""

    def draw(*arguments: Any, device: Any = "cpu", **options: Any) -> Tensor:
        if torch.device(device).type != "cpu":
            return function(*arguments, device=device, **options)
        with unset_fake_temporarily():
            numbers = function(*arguments, **options).tolist()
        return torch.tensor(numbers)  # a fake that knows its numbers

    return draw


def _on_device(network: nn.Module) -> nn.Module:
    """Make a network anew on the device, which `to` must then leave alone: it cannot move fake parameters."""
    for module in network.modules():
        for key, parameter in [*module._parameters.items()]:
            if parameter is not None:
                module._parameters[key] = nn.Parameter(random(*parameter.shape), requires_grad=False)
        for key, buffer in [*module._buffers.items()]:
            if buffer is not None:
                module._buffers[key] = buffer.to("cuda")
    network.to = lambda *_, **__: network  # type: ignore[method-assign,assignment]
    return network.eval()
