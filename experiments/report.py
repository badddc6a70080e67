"""`python -m experiments.report` is `vitm report`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
