"""`python -m experiments.sweep` is `vitm sweep`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
