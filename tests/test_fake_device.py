"""What a GPU would complain of, found without one: tensors of device type "cuda" that compute shapes and devices only.

Under `FakeTensorMode` an operation between devices raises as it would there, and so does a value that the host asks for
(`.item()`, `if tensor:`, a boolean index). `Crossing` sees what it lets pass: copies from one device to the other, for
which the host waits as well. Kernels do not run, and backward passes need a real device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitm.baselines.deep_vitm import luminance_and_color_loss
from vitm.baselines.hdrcnn import illumination_reflectance_loss
from vitm.data.open_scenes import OpenScenes, _Views
from vitm.data.production import PRODUCTIONS, Production, produce
from vitm.data.sequences.long_sequences import expose_batch
from vitm.metrics.registry import METRICS, build_metric
from vitm.nets import flow, perceptual
from vitm.nets.analytic import Analytic
from vitm.nets.flow import RAFTFlow, ZeroFlow
from vitm.nets.interface import SpillingNetwork, StreamingNetwork, stream
from vitm.nets.perceptual import PerceptualLoss
from vitm.papers.hdcfm.losses import patch_loss
from vitm.papers.kpn_mfi.losses import BrightnessConsistencyLoss, OfficialConsistencyLoss
from vitm.papers.vitm_tc.losses import HDRPerceptualLoss
from vitm.training.callbacks.finite import StopAtNonFinite
from vitm.training.callbacks.throughput import Throughput
from vitm.zoo import NETWORKS, network_class

pytestmark = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.10"), reason="fake tensors of PyTorch 2.9 ask for a CUDA driver"
)
SIZE = (136, 40)  # more rows than a band has
TABLES = {"hdrtvnet", "hdrtvnet_plus", "operator_map"}  # put tables onto the device at the first call of a size
FRAMES = {"kpn_mfi": 3, "dslnet": 5, "deep_vitm": 5, "basicvsr_pp": 3, "vitm_tc": 3}  # of `forward`; of others one
HOST_FLOW = {"vitm_tc", "basicvsr_pp"}  # their default optical flow is OpenCV's, on the host
HEAVY = {"hdrcnn", "pdcg", "vitm_tc"}  # many operations
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
ON_DEVICE = [name for name in NETWORKS if name != "clues"]  # it fits its homographies, and chooses frames, on the host
NOT_FAKE = {"color_video_vdp": "another package's", "warping_error": "OpenCV's flow", "tof": "OpenCV's flow"}


class Crossing(TorchDispatchMode):
    """Raises where a tensor is copied from one device to the other, unless the host goes on meanwhile."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copies = func is torch.ops.aten._to_copy.default
        if copies and kwargs.get("non_blocking"):
            return result
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
    monkeypatch.setattr(Tensor, "pin_memory", lambda x: x)
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


def test_sequences_are_filmed_and_exposed_on_the_device() -> None:
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
        frames = random(12, 3, 36, 64)
        draws = [str(i) for i in range(len(frames))]
        with Crossing():
            batch = module.on_after_batch_transfer({"hdr_pq": frames, "draw": draws, "production": [""] * 12}, 0)
    for side in ("sdr", "hdr_pq"):
        assert (batch[side].shape, batch[side].device.type) == ((12, 3, 36, 64), "cuda")


def test_callbacks_do_not_wait_for_the_step_that_has_just_begun() -> None:
    """Losses are looked at a step later; a fake loss that is asked for a value raises."""
    trainer = Mock(callback_metrics={"train/loss": random(1)[0]}, global_step=3, world_size=1, log_every_n_steps=1)
    trainer.strategy.root_device = torch.device("cuda")
    trainer.precision_plugin.scaler = None
    batch = {"sdr": random(2, 3, *SIZE), "name": ["a", "b"]}
    stop = StopAtNonFinite()
    with Crossing():
        for callback in (stop, Throughput()):
            callback.on_train_batch_end(trainer, Mock(), {"loss": random(1)[0]}, batch, 3)
        with pytest.raises(DataDependentOutputException):
            stop.on_train_batch_end(trainer, Mock(), {"loss": random(1)[0]}, batch, 4)


def _drawn_on_the_host(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the function as it is, where it draws on the device; else with the numbers."""

    def draw(*arguments: Any, device: Any = None, generator: Any = None, **options: Any) -> Tensor:
        if device is not None:
            return function(*arguments, device=device, **options)
        with unset_fake_temporarily():
            numbers = function(*arguments, generator=generator, **options).tolist()
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
