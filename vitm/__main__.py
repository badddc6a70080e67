"""`python -m vitm` is `vitm`."""

import sys

from vitm.cli import main

if __name__ == "__main__":
    sys.exit(main())
