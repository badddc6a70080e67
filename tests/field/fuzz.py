"""Feed changed files to one of the parsers of `tests/strangers.py` until the time is over or one breaks.

    python -m tests.field.fuzz --seconds 60 "film.mkv" "gain map"

Where atheris is installed (`pip install atheris`, Python 3.11), it is guided by the branches that each file takes;
otherwise changes are drawn at random. A file that breaks a parser is kept in the current folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from types import FunctionType

from tests.strangers import TARGETS, Target, check, mutations


def main() -> int:
    """Fuzz and print; the exit status is 1 if a parser broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target (10)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (1)")
    parser.add_argument("--guided", action="store_true", help="use atheris, for a single target")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        if options.guided:
            return _guided(TARGETS[names[0]], Path(folder), options.seconds)
        return max([_at_random(name, Path(folder), options.seconds, options.seed) for name in names])


def _at_random(name: str, folder: Path, seconds: float, seed: int) -> int:
    target, end, count = TARGETS[name], time.monotonic() + seconds, 0
    for count, data in enumerate(mutations(target.seed(), sys.maxsize, seed)):
        if time.monotonic() > end:
            break
        try:
            check(target, folder / f"a{target.suffix}", data)
        except Exception as error:
            kept = Path(f"broken-{name.replace(' ', '-').replace('.', '-')}-{seed}-{count}{target.suffix}")
            kept.write_bytes(data)
            traceback.print_exc()
            print(f"{name}: {type(error).__name__}: {error} (after {count} files; kept as {kept})", flush=True)
            return 1
    print(f"{name}: {count} files, no foreign error", flush=True)
    return 0


def _guided(target: Target, folder: Path, seconds: float) -> int:
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(target.seed())
    for module in [module for name, module in sys.modules.items() if name.startswith(("vitm.video", "vitm.runs"))]:
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)  # of these modules alone: to follow all of torch takes minutes
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={seconds:.0f}", "-max_len=65536"],
        lambda data: check(target, folder / f"a{target.suffix}", data),
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
