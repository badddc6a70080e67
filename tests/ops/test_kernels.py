"""Triton kernels: the numbers of their plain forms, machine code for a GPU, and where they are chosen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vitm.ops import color_table, ddf, deform, kernels, pixel_conv

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")


def run(what: str, **environment: str) -> dict[str, Any]:
    """What `tests/ops/kernels.py` finds in a process of its own."""
    command = [sys.executable, "-m", "tests.ops.kernels", what]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
@needs_triton
def test_kernels_equal_their_plain_forms() -> None:
    """Forward and backward in Triton's interpreter, against fp64, with odd sizes and strides."""
    differences = run("differences", TRITON_INTERPRET="1")
    assert len(differences) == 11
    assert max(value for values in differences.values() for value in values) < 1e-5, differences


@pytest.mark.slow
@needs_triton
def test_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    """The interpreter takes what the compiler does not."""
    sizes = run("compiled", TRITON_CACHE_DIR=str(tmp_path))
    assert len(sizes) == 8
    assert min(sizes.values()) > 1000, sizes


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_works", lambda device: True)


def test_kernels_run_on_gpus_alone(works: None) -> None:
    assert not kernels.can_run(torch.zeros(1))


def test_fake_tensors_have_no_memory(works: None) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        x = torch.empty(1, 3, 4, 5)
        assert not kernels.can_run(x)
        assert color_table.apply_color_table(x, torch.empty(1, 3, 5, 5, 5)).shape == (1, 3, 4, 5)


class OnGPU:
    """What `can_run` asks of a tensor on a GPU."""

    device = torch.device("cuda")


def test_nothing_is_chosen_while_operations_are_traced(works: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "Tensor", OnGPU)
    tensor: Any = OnGPU()
    assert kernels.can_run(tensor)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not kernels.can_run(tensor)


def test_where_triton_fails_there_is_a_warning_and_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ModuleType("vitm.ops.kernels.color_table")
    monkeypatch.setitem(sys.modules, "vitm.ops.kernels.color_table", broken)
    monkeypatch.setattr(kernels, "find_spec", lambda name: object())
    kernels._works.cache_clear()
    with pytest.warns(UserWarning, match="plain operations are used"):
        assert not kernels._works(torch.device("cpu"))
    kernels._works.cache_clear()


def test_kernels_are_given_what_the_operators_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "can_run", lambda *tensors: True)
    played = {name: ModuleType(f"vitm.ops.kernels.{name}") for name in ("color_table", "ddf", "deform", "pixel_conv")}
    played["color_table"].look_up = lambda rgb, table: (rgb, table)  # type: ignore[attr-defined]
    played["ddf"].ddf = lambda *inputs: inputs  # type: ignore[attr-defined]
    played["ddf"].filter_pixels = lambda out, *rest: out.fill_(len(rest))  # type: ignore[attr-defined]
    played["deform"].sample = lambda *inputs: inputs[0]  # type: ignore[attr-defined]
    played["pixel_conv"].pixel_conv = lambda *inputs: inputs  # type: ignore[attr-defined]
    for name, module in played.items():
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(kernels, name, module, raising=False)
    x, spatial, channel = torch.rand(1, 2, 3, 4), torch.rand(1, 9, 3, 4), torch.rand(1, 2, 9)
    assert [*map(id, ddf.ddf(x, spatial, channel))] == [id(x), id(spatial), id(channel)]
    nine = torch.rand(1, 18, 3, 4)
    assert [*map(id, pixel_conv.pixel_conv(x, nine)[:2])] == [id(x), id(nine)]
    assert pixel_conv.pixel_conv(x.double(), nine).dtype == torch.float64
    assert deform._sampler(x, x, x, x, trained=False) is played["deform"].sample  # type: ignore[attr-defined]
    out = torch.zeros(2, 4)
    ddf.filter_pixels(out, x[0].flatten(1), spatial[0].flatten(1)[:, :4], channel[0], 4, 0, lambda *_: [])
    assert out.eq(5).all()
    rgb, table = torch.rand(1, 3, 2, 2, requires_grad=True), torch.rand(1, 3, 2, 2, 2)
    assert color_table.apply_color_table(rgb, table)[0] is rgb
    half = color_table.apply_color_table(rgb.detach().bfloat16().requires_grad_(), table.bfloat16())
    assert half.dtype == torch.bfloat16
