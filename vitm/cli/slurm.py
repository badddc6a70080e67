"""`vitm slurm`: an entry, a table, or a list of conversions on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vitm.cli.convert import arguments_of_list
from vitm.cli.options import add_cluster, add_runs, cluster, parser_before_dashes, split

if TYPE_CHECKING:
    from vitm.runs.slurm import Submitted

DESCRIPTION = """\
Write a job for Slurm and submit it: one process a device, DDP over all of them. A table is a job array.

Shortly before its time limit a run saves itself and goes back to the queue; it then goes on in the same folder, as the
same run on W&B, also after `scontrol requeue` or a preemption. Nodes must share the working directory and the data.

`vitm slurm convert LIST.csv` makes an array of jobs that share the lines of a list for `vitm convert`, one process a
device; what is behind -- are options of `vitm convert`. Near the limit it goes back to the queue as runs do.
"""
EXAMPLES = """\
vitm slurm kpn_mfi --nodes 2 --gpus 4 --time 12:00:00 -- --data.root DATA
vitm slurm kpn_mfi/table3 --seeds 3 --at-once 4 -- --data.root DATA      each element is a row with a seed
vitm slurm --gpus 2 --partition gpu --sbatch account=hdr --sbatch gres=gpu:a100:2 dslnet
vitm slurm hdcfm --tasks 8 --dry-run                                     on CPUs; shows the script
vitm slurm convert LIST.csv --at-once 8 --time 12:00:00 -- --model hdcfm --checkpoint HDCFM.pth
"""


def main(arguments: list[str], console: Console) -> int:
    """Submit an entry, a table or a list; return the exit status."""
    mine, passed = split(arguments)
    parser = parser_before_dashes("slurm", "ENTRY|TABLE|convert LIST", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", metavar="ENTRY|TABLE|convert", help="such as kpn_mfi or kpn_mfi/table3; or convert")
    parser.add_argument("list", metavar="LIST", nargs="?", type=Path, help="CSV list of `vitm convert`")
    parser.add_argument("--seeds", type=int, help="number of seeds: 0, 1, ... (the entry's own seed)")
    add_runs(parser)
    parser.add_argument("--dry-run", action="store_true", help="check and print the script; needs no Slurm")
    add_cluster(parser)
    options = parser.parse_intermixed_args(mine)
    asked = cluster(options)
    if (options.name == "convert") != (options.list is not None):
        raise ValueError(
            f"{options.name} {options.list or ''}".rstrip() + ": expected ENTRY, TABLE or convert LIST.csv"
        )

    from vitm.runs import slurm, slurm_list

    if options.list is not None:
        if options.seeds is not None:
            raise ValueError(f"a conversion has no seeds; got --seeds {options.seeds}")
        job = {"cluster": asked, "runs": options.runs, "passed": passed, "arguments": arguments_of_list(passed)}
        if options.dry_run:
            print(slurm_list.dry_run(options.list, **job), end="")
            return 0
        _print_job(slurm_list.launch(options.list, **job), console)
        return 0
    chosen = {"cluster": asked, "seeds": options.seeds, "runs": options.runs, "passed": passed}
    if options.dry_run:
        print(slurm.dry_run(options.name, **chosen), end="")
        return 0
    _print_job(slurm.launch(options.name, **chosen), console)
    return 0


def _print_job(submitted: Submitted, console: Console) -> None:
    console.print(f"job {submitted.job}: {submitted.script}, log {submitted.log}", highlight=False, soft_wrap=True)
    for run in submitted.folders:
        console.print(f"run folder: {run}", highlight=False, soft_wrap=True)
