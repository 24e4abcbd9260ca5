"""`python -m gammascape` is the command `gammascape`."""

import sys

from gammascape.cli import main

if __name__ == "__main__":
    sys.exit(main())
