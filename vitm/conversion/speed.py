"""How fast networks convert frames here, and how near to what the machine can do."""

from __future__ import annotations

import ctypes
import gc
import math
import platform
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vitm.nets.complexity import count_parameters
from vitm.nets.interface import SpillingNetwork, forward_frames
from vitm.nets.work import Work, count_work, whole_maps

Precision = Literal["fp32", "bf16", "fp16"]
CODES = 1023  # of 10 bits
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MIB = 2**20
_CLIP = 3  # frames of a network that looks at whole scenes


@dataclass(frozen=True)
class Machine:
    """What a machine can do, measured.

    Attributes:
        name: the processor.
        device: "cpu" or the name of a GPU's device.
        precision: precision of products.
        threads: CPU threads.
        gmacs: 10^9 multiply-adds of a large product in a second (of a CPU: in a second of one core).
        gbytes: 10^9 bytes that are read and written in a second by copying (of a CPU: by one core).
    """

    name: str
    device: str
    precision: Precision
    threads: int
    gmacs: float
    gbytes: float


@dataclass(frozen=True)
class Speed:
    """How fast a network is at one size.

    Attributes:
        network: its name.
        size: height and width.
        device: where it ran.
        precision: fp32, or the precision of autocast.
        parameters: number of parameters.
        gmacs: 10^9 multiply-adds of convolutions and products for a frame; None where shapes do not tell.
        elementwise: 10^9 results of other operations for a frame, dynamic filters among them.
        seconds: time of a frame: processor seconds on a CPU, seconds on a GPU; the best round.
        peak_mib: memory that a call holds at most beyond what was there before, its result included.
        codes: largest difference from fp32, in codes of 10 bits.
        share: share of the machine's limit: the least time for the layers, over the measured one.
        plain_seconds: `seconds` of whole maps by plain operations; None where it was not measured.
    """

    network: str
    size: tuple[int, int]
    device: str
    precision: Precision
    parameters: int
    gmacs: float | None
    elementwise: float | None
    seconds: float
    peak_mib: float
    codes: float | None
    share: float | None
    plain_seconds: float | None = None


class PeakMemory:
    """Memory that what runs inside holds at most beyond what was held before, in MiB; nan where no system tells it.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self.device, self.mib = device, math.nan

    def __enter__(self) -> PeakMemory:
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device) / _MIB
        elif platform.system() == "Linux":
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
            self.before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.startswith("cuda"):
            self.mib = torch.cuda.max_memory_allocated(self.device) / _MIB - self.before
        elif platform.system() == "Linux":
            self.mib = _status("VmHWM") - self.before


def processor(device: str) -> str:
    """Return the name of a GPU, or of the CPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return model[1] if model else platform.processor() or platform.machine()


def measure_machine(device: str = "cpu", precision: Precision = "fp32") -> Machine:
    """Measure how fast a machine multiplies and copies."""
    n = 1024 if device == "cpu" else 8192
    dtype = _HALF.get(precision, torch.float32)
    a, b = (torch.rand(n, n, device=device, dtype=dtype) for _ in range(2))
    source = torch.rand(2**24 if device == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    multiply, copy = (_best(f, device, rounds=5) for f in (lambda: a @ b, lambda: target.copy_(source)))
    bytes_moved = 2 * source.numel() * source.element_size()
    threads = torch.get_num_threads()
    return Machine(processor(device), device, precision, threads, n**3 / multiply / 1e9, bytes_moved / copy / 1e9)


def measure_network(
    name: str,
    network: nn.Module,
    size: tuple[int, int],
    machine: Machine,
    rounds: int = 3,
    plain: bool = False,
    expected: Tensor | None = None,
) -> tuple[Speed, Tensor]:
    """Measure a network at one size, with the precision of the machine.

    Args:
        name: what it is called.
        network: network in eval mode.
        size: height and width.
        machine: the machine, measured; the network is brought to its device.
        rounds: calls after the first, of which the best counts.
        plain: whether whole maps by plain operations are measured too.
        expected: its result in fp32, with which a result in half precision is compared.

    Returns:
        Its speed, and its result on the CPU.
    """
    device = machine.device
    network = network.to(device).to(memory_format=torch.channels_last)
    taken, returned = (_CLIP, _CLIP) if isinstance(network, SpillingNetwork) else forward_frames(network)
    shape = (1, *([taken] if taken > 1 else []), 3, *size)
    sdr = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
    half = torch.autocast(torch.device(device).type, dtype=_HALF.get(machine.precision, torch.float16))
    with torch.inference_mode(), half if machine.precision in _HALF else nullcontext():
        with PeakMemory(device) as memory:
            output = network(sdr).float().cpu()
        seconds = _best(lambda: network(sdr), device, rounds) / returned
        plain_seconds = None
        if plain:
            with whole_maps():
                plain_seconds = _best(lambda: network(sdr), device, rounds) / returned
    work = _work(network, shape)
    least = None
    if work is not None:
        width = 2 if machine.precision in _HALF else 4  # bytes of a number
        least = work.least_seconds(machine.gmacs * 1e9, machine.gbytes * 1e9 / width) / returned
    speed = Speed(
        network=name,
        size=size,
        device=device,
        precision=machine.precision,
        parameters=count_parameters(network),
        gmacs=None if work is None else work.products / returned / 1e9,
        elementwise=None if work is None else work.elementwise / returned / 1e9,
        seconds=seconds,
        peak_mib=memory.mib,
        codes=None if expected is None else CODES * float((output - expected).abs().max()),
        share=None if least is None else least / seconds,
        plain_seconds=plain_seconds,
    )
    return speed, output


def _work(network: nn.Module, shape: tuple[int, ...]) -> Work | None:
    """Return the work of a call; None where a step asks for values, as optical flow of the host does."""
    try:
        return count_work(network.to("cpu"), shape)
    except (RuntimeError, TypeError, ValueError):
        return None


def _best(fn: Callable[[], object], device: str, rounds: int) -> float:
    """Return the least time of a call: processor seconds on a CPU, seconds elsewhere."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = math.inf
    for _ in range(max(1, rounds)):
        if device != "cpu":
            torch.cuda.synchronize(device)
        start = clock()
        fn()
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, clock() - start)
    return best


def _status(key: str) -> float:
    match = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024
