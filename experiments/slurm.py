"""`python -m experiments.slurm` is `vitm slurm`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main(["slurm", *sys.argv[1:]]))
