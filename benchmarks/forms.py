"""Several forms of one computation in one process: time, memory and how far they differ."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vitm.conversion.speed import PeakMemory, processor


def compare(known: Mapping[str, Callable[[Tensor], Tensor]], forms: Sequence[str], x: Tensor, rounds: int) -> None:
    """Print a table of the chosen forms, called with (..., H, W): they take turns, each row has its best round."""
    cpu, wall, peak = (dict.fromkeys(forms, math.inf) for _ in range(3))
    outputs = {}
    with torch.inference_mode():
        for form in forms:
            known[form](x)  # compiles, fills the caches
            with PeakMemory("cpu") as memory:
                outputs[form] = known[form](x)
            peak[form] = memory.mib
        for _ in range(rounds):
            for form in forms:
                starts = time.process_time(), time.perf_counter()
                known[form](x)
                cpu[form] = min(cpu[form], time.process_time() - starts[0])
                wall[form] = min(wall[form], time.perf_counter() - starts[1])
    size = "x".join(map(str, x.shape[-2:]))
    print(f"{processor('cpu')}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, fp32, {size}\n")
    print("| form | CPU s | wall s | CPU / vitm | wall / vitm | extra peak MiB | memory / vitm | largest difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for form in forms:
        ratios = [d[form] / d.get("vitm", math.nan) for d in (cpu, wall, peak)]
        difference = (outputs[form] - outputs.get("vitm", outputs[form])).abs().max()
        print(
            f"| {form} | {cpu[form]:.2f} | {wall[form]:.2f} | {ratios[0]:.1f} | {ratios[1]:.1f} | {peak[form]:.0f} | "
            f"{ratios[2]:.1f} | {difference:.0e} |"
        )
    if len(forms) == 1:
        print(f"\nThe whole process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most.")
