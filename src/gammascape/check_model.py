"""`python -m gammascape.check_model`, as `gammascape check-model` was called before."""

import sys

from gammascape.cli import main
from gammascape.command import leave

if __name__ == "__main__":
    leave(main(["check-model", *sys.argv[1:]]))
