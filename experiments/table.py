"""`python -m experiments.table` is `vitm table`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main(["table", *sys.argv[1:]]))
