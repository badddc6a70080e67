"""`python -m experiments.slurm`: see `vitm.runs.slurm`."""

import sys

from vitm.runs.slurm import main

if __name__ == "__main__":
    sys.exit(main())
