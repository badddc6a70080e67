"""`vitm sweep`: all rows of a table."""

from __future__ import annotations

from rich.console import Console

from vitm.cli.options import add_cluster, add_runs, cluster, natural, parser_before_dashes, positive, split

DESCRIPTION = """\
Run all rows of a table, each with each seed, then print the table with the paper's numbers beside ours.

Finished runs are skipped, interrupted ones resume, failures are reported and do not stop the sweep.
Without --data.root behind --: the demo data. Started twice, two processes share the work.
"""
EXAMPLES = """\
vitm sweep kpn_mfi/table3                              on the demo data
vitm sweep kpn_mfi/table3 --seeds 3 -- --data.root DATA --trainer.precision bf16-mixed
vitm sweep kpn_mfi/table3 --where wandb                W&B's agents, on any machines, do the same
vitm sweep kpn_mfi/table3 --where slurm --gpus 4 --time 12:00:00 -- --data.root DATA
"""


def main(arguments: list[str], console: Console) -> int:
    """Run a sweep; return the exit status: 0 if all runs are finished, 1 if not."""
    mine, passed = split(arguments)
    parser = parser_before_dashes("sweep", "TABLE", DESCRIPTION, EXAMPLES)
    parser.add_argument("table", metavar="TABLE", help="such as kpn_mfi/table3, or a YAML file of your own")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument(
        "--seeds", type=positive, default=1, help="number of seeds, of weights and dropout: 0, 1, ... (1)"
    )
    seeds.add_argument("--seed", type=natural, help="the only seed")
    parser.add_argument("--row", help="the only row: its name, such as no_mfi")
    parser.add_argument("--where", choices=("here", "wandb", "slurm"), default="here", help="(here)")
    add_runs(parser)
    add_cluster(parser)
    options, unknown = parser.parse_known_args(mine)
    if unknown:
        raise ValueError(f"{unknown[0]} is no option of a sweep; options of vitm run go behind --")

    from vitm.runs.sweep import sweep

    return sweep(
        options.table,
        seeds=range(options.seeds) if options.seed is None else [options.seed],
        row=options.row,
        where=options.where,
        cluster=cluster(options),
        runs=options.runs,
        passed=passed,
    )
