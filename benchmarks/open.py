"""The open benchmark's leaderboard: networks and curves, by production, as converted and at the best level.

    python -m benchmarks.open VIEWS --weights FOLDER         VIEWS: what `vitm prepare open` made

FOLDER holds released weights under the names below; those that are missing are left out. What is measured is added to
`experiments/open/leaderboard.json`, which `vitm table open` prints.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch import nn

from vitm.checkpoints import read_checkpoint, recorded
from vitm.evaluation.open_benchmark import benchmark_views, score
from vitm.runs.leaderboard import LEADERBOARD, print_leaderboard
from vitm.zoo import OPERATORS, load_network

RELEASED = {
    "hdcfm": ("hdcfm", "hdcfm_official.pth.tar"),
    "hdrtvnet_plus AGCM": ("hdrtvnet_plus", "hdrtvnet_plus_AGCM.pth"),
    "hdrtvnet_plus AGCM+LE": ("hdrtvnet_plus", "hdrtvnet_plus_Ensemble_AGCM_LE.pth"),
    "hdrtvdm": ("hdrtvdm", "hdrtvdm.pth"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="yours, named `NETWORK, trained`")
    parser.add_argument("--views-count", type=int, default=22)
    parser.add_argument("--only", nargs="+", help="names of systems (default: all)")
    parser.add_argument("--output", type=Path, default=LEADERBOARD)
    options = parser.parse_args()
    nits = benchmark_views(options.views, options.views_count)
    rows = json.loads(options.output.read_text()) if options.output.is_file() else {}
    for name, network in networks(options).items():
        if options.only is None or name in options.only:
            rows[name] = score(network, nits)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    print_leaderboard(options.output)


def networks(options: argparse.Namespace) -> dict[str, nn.Module]:
    chosen = {name: load_network(name) for name in ("default", "mixed_map", *OPERATORS)}
    for file in options.checkpoint:
        if about := recorded(read_checkpoint(file)):
            chosen[f"{about.network}, trained"] = load_network(about.network, file)
    for name, (network, released) in RELEASED.items():
        if options.weights and (options.weights / released).is_file():
            chosen[name] = load_network(network, options.weights / released)
    return chosen


if __name__ == "__main__":
    main()
