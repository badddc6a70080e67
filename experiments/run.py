"""`python -m experiments.run` is `vitm run`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
