"""`python -m experiments.sweep`: see `vitm.runs.sweep`."""

import sys

from vitm.runs.sweep import main

if __name__ == "__main__":
    sys.exit(main())
