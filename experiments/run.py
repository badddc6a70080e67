"""`python -m experiments.run`: see `vitm.runs.run`."""

import sys

from vitm.runs.run import main

if __name__ == "__main__":
    sys.exit(main())
