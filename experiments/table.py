"""`python -m experiments.table`: see `vitm.runs.table`."""

import sys

from vitm.runs.table import main

if __name__ == "__main__":
    sys.exit(main())
