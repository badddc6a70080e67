"""A network as an ONNX graph, for TensorRT, ONNX Runtime and the filters of players."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vitm.conversion.level import LevelControl
from vitm.nets.interface import as_hdr_pq, forward_frames

TOLERANCE = 1e-4  # of codes, between ONNX Runtime and PyTorch
CHECKED = ((128, 192), (101, 135))  # heights and widths, of which all, and none, divide by 64
_TRACED = (131, 167)  # primes, so that nothing is left out that sizes which divide do not need
_LARGE = (2161, 3847)  # primes, at which the branches must be the same
_HALF = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "LeakyRelu", "DepthToSpace", "Concat", "MaxPool"}
_INPUT = "sdr: RGB of BT.709, gamma code in [0, 1], full range"
_OUTPUT = "hdr_pq: RGB of BT.2020, PQ code (SMPTE ST 2084) in [0, 1], 1 = 10000 cd/m2, full range"


class Converter(nn.Module):
    """A network and the level of its picture, as a conversion has them: sdr to hdr_pq, within [0, 1].

    Args:
        network: network in eval mode, of single frames or of windows.
        control: level of the picture.
    """

    def __init__(self, network: nn.Module, control: LevelControl) -> None:
        super().__init__()
        self.network, self.control = network, control
        self.taken, self.returned = forward_frames(network)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert (1, 3, H, W), or a window (1, N, 3, H, W): all of its frames, or (1, 3, H, W) of the middle one."""
        hdr_pq = as_hdr_pq(self.network, self.network(sdr)).float().clamp(0, 1)
        return self.control(hdr_pq, sdr if self.taken == self.returned else sdr[:, self.taken // 2])

    def example(self, size: tuple[int, int]) -> Tensor:
        """Return random frames for `forward`, the same at each call."""
        window = () if self.taken == 1 else (self.taken,)
        return torch.rand(1, *window, 3, *size, generator=torch.Generator().manual_seed(0))


def write_graph(path: Path, converter: Converter, half: bool, facts: Mapping[str, str]) -> dict[str, str]:
    """Write an ONNX file for frames of any height and width.

    Args:
        path: the file.
        converter: network and level, on the CPU.
        half: whether convolutions and matrix products, and what follows them directly, are in fp16. Inputs, outputs
            and the mathematics of colour stay in fp32.
        facts: what else the file says of itself.

    Returns:
        The facts of the file: domains, ranges, frames, precision.

    Raises:
        ValueError: the network has a step that ONNX has not, or that holds for some sizes only.
    """
    sdr = converter.example(_TRACED)
    free = {sdr.ndim - 2: torch.export.Dim.DYNAMIC, sdr.ndim - 1: torch.export.Dim.DYNAMIC}
    name = type(converter.network).__name__
    with _quietly(), torch.no_grad():
        try:
            program = torch.export.export(converter, (sdr,), dynamic_shapes=(free,))
            _check_any_size(program, sdr, name)
            graph = torch.onnx.export(program, input_names=["sdr"], output_names=["hdr_pq"], verbose=False)
        except (RuntimeError, torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.UserError) as error:
            raise ValueError(f"{name} has a step that cannot be exported: {_reason(error)}") from error
    assert graph is not None
    model = graph.model
    for tensor in (*model.graph.inputs, *model.graph.outputs):
        assert tensor.shape is not None
        for dimension, called in zip((-2, -1), ("height", "width"), strict=True):
            tensor.shape[dimension] = called
    facts = {
        **facts,
        "input": _INPUT,
        "output": _OUTPUT,
        "frames_in": str(converter.taken),
        "frames_out": str(converter.returned),
        "precision": "fp16 inside, fp32 at both ends" if half else "fp32",
        "opset": str(model.opset_imports[""]),
    }
    model.metadata_props.update(facts)
    graph.save(path, external_data=False)
    if half:
        _to_half(path)
    return dict(facts)


def graph_differences(path: Path, converter: Converter) -> dict[tuple[int, int], float]:
    """Return for heights and widths how far ONNX Runtime's codes are from PyTorch's in fp32, on the CPU, at most."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    differences = {}
    for size in CHECKED:
        sdr = converter.example(size)
        with torch.inference_mode():
            expected = converter(sdr).numpy()
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            (result,) = session.run(["hdr_pq"], {"sdr": sdr.numpy()})
        except Exception as error:  # its classes have no base of their own
            raise RuntimeError(f"ONNX Runtime refuses the graph at {size[0]}x{size[1]}: {_reason(error)}") from error
        same = result.shape == expected.shape
        differences[size] = float(np.abs(result - expected).max()) if same else float("inf")
    return differences


def _to_half(path: Path) -> None:
    """Bring the operations of `_HALF` to fp16, with casts around them."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(path)
    others = {node.op_type for graph in (model.graph, *model.functions) for node in graph.node} - _HALF
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=sorted(others))
    onnx.save(half, path)


def check_packages() -> None:
    """Raise if a package is missing that graphs are written and checked with."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        try:
            __import__(package)
        except ImportError as error:
            raise ImportError(f'ONNX needs {package}: pip install "vitm[export]"') from error


def _check_any_size(program: torch.export.ExportedProgram, sdr: Tensor, name: str) -> None:
    """Raise if branches were taken that large frames do not take.

    The exporter keeps the conditions of branches: bounds of each side, and others as lines of Python.
    """
    from torch.utils._sympy.numbers import int_oo

    large = torch.empty(*sdr.shape[:-2], *_LARGE, device="meta")
    names = {"math": math, "torch": torch, "L": {"sdr": large}}
    others = [line for line in getattr(program, "_guards_code", []) if not eval(line, dict(names))]
    if others or any(bound.upper < int_oo for bound in program.range_constraints.values()):
        raise ValueError(f"{name} does something else for large frames, which a graph cannot")


def _reason(error: BaseException) -> str:
    """Return the first line of what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's advice for its developers from the console."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
