"""A list of conversions on a cluster: an array of jobs for Slurm, which share its lines."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitm.conversion.lists import check_list
from vitm.runs.slurm import Cluster, Submitted, hand_over, heading, log_pattern, needs_sbatch, new_stamp

_NAME = "convert"


def script(path: Path, passed: Sequence[str], cluster: Cluster, *, elements: int, folder: Path) -> str:
    """Return the text of a job: each process of each element claims lines until none is left.

    Near its time limit an element goes back to the queue; its conversions go on at their last finished segments.

    Args:
        path: The list.
        passed: Options for `vitm convert`.
        cluster: Nodes, devices and time of each element.
        elements: Number of elements of the array; 1 for no array.
        folder: Folder of the log.
    """
    directives = cluster.directives(_NAME, log_pattern(folder, elements), elements, tell_script=True)
    device = "cuda:$SLURM_LOCALID" if cluster.gpus else "cpu"
    return "\n".join(
        [
            *heading(directives),
            "",
            f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cluster.cpus}}}",
            'element="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"',
            "trap 'scontrol requeue \"$element\"' USR1",
            f"convert=({shlex.join([sys.executable, '-m', 'vitm', 'convert', str(path), *passed])})",
            f'srun --cpus-per-task={cluster.cpus} bash -c \'exec "$@" --device "{device}"\' - "${{convert[@]}}" &',
            "wait $! || wait $!  # the signal ends the first wait",
            "",
        ]
    )


def dry_run(
    path: Path, *, cluster: Cluster, arguments: dict[str, Any], runs: Path = Path("runs"), passed: Sequence[str] = ()
) -> str:
    """Return the text of the job that `launch` would submit; needs no Slurm.

    Args:
        path: The list.
        cluster: Nodes, devices and time of each element. An array has one element a line, or `cluster.at_once`.
        arguments: What `passed` means for `vitm.conversion.convert_list`, to be checked now.
        runs: Folder where jobs are kept, in `convert`.
        passed: Options for `vitm convert`.

    Raises:
        FileNotFoundError: The list, a source, or a file of weights is missing.
        ValueError: `vitm convert` would refuse a line, or there is nothing to do.
    """
    elements = _elements(path, cluster, arguments)
    return script(path, passed, cluster, elements=elements, folder=_folder(runs))


def launch(
    path: Path, *, cluster: Cluster, arguments: dict[str, Any], runs: Path = Path("runs"), passed: Sequence[str] = ()
) -> Submitted:
    """Submit a list as an array; for the arguments see `dry_run`.

    Raises:
        FileNotFoundError: As `dry_run`, or there is no Slurm here.
        ValueError: As `dry_run`, or Slurm refuses the job.
    """
    needs_sbatch()
    elements, folder = _elements(path, cluster, arguments), _folder(runs)
    return hand_over(script(path, passed, cluster, elements=elements, folder=folder), folder, elements)


def _elements(path: Path, cluster: Cluster, arguments: dict[str, Any]) -> int:
    lines = check_list(path, **arguments)
    if not lines:
        raise ValueError(f"{path}: all outputs are there already: remove those that are to be made anew")
    processes = cluster.nodes * cluster.devices  # of an element
    return min(-(-lines // processes), cluster.at_once or lines)


def _folder(runs: Path) -> Path:
    return runs.absolute() / _NAME / new_stamp()
