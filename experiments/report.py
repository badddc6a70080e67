"""`python -m experiments.report`: see `vitm.runs.report`."""

import sys

from vitm.runs.report import main

if __name__ == "__main__":
    sys.exit(main())
