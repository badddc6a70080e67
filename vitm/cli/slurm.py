"""`vitm slurm`: an entry or a table on a cluster."""

from __future__ import annotations

from rich.console import Console

from vitm.cli.options import add_cluster, add_runs, cluster, parser_before_dashes, split

DESCRIPTION = """\
Write a job for Slurm and submit it: one process a device, DDP over all of them. A table is a job array.

Shortly before its time limit a run saves itself and goes back to the queue; it then goes on in the same folder, as the
same run on W&B, also after `scontrol requeue` or a preemption. Nodes must share the working directory and the data.
"""
EXAMPLES = """\
vitm slurm kpn_mfi --nodes 2 --gpus 4 --time 12:00:00 -- --data.root DATA
vitm slurm kpn_mfi/table3 --seeds 3 --at-once 4 -- --data.root DATA      each element is a row with a seed
vitm slurm --gpus 2 --partition gpu --sbatch account=hdr --sbatch gres=gpu:a100:2 dslnet
vitm slurm hdcfm --tasks 8 --dry-run                                     on CPUs; shows the script
"""


def main(arguments: list[str], console: Console) -> int:
    """Submit an entry or a table; return the exit status."""
    mine, passed = split(arguments)
    parser = parser_before_dashes("slurm", "ENTRY|TABLE", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", metavar="ENTRY|TABLE", help="such as kpn_mfi or kpn_mfi/table3")
    parser.add_argument("--seeds", type=int, help="number of seeds: 0, 1, ... (the entry's own seed)")
    add_runs(parser)
    parser.add_argument("--dry-run", action="store_true", help="check and print the script; needs no Slurm")
    add_cluster(parser)
    options = parser.parse_args(mine)
    asked = cluster(options)

    from vitm.runs import slurm

    chosen = {"cluster": asked, "seeds": options.seeds, "runs": options.runs, "passed": passed}
    if options.dry_run:
        print(slurm.dry_run(options.name, **chosen), end="")
        return 0
    submitted = slurm.launch(options.name, **chosen)
    console.print(f"job {submitted.job}: {submitted.script}, log {submitted.log}", highlight=False, soft_wrap=True)
    for run in submitted.folders:
        console.print(f"run folder: {run}", highlight=False, soft_wrap=True)
    return 0
