"""`python -m gammascape.check_model`, as `gammascape check-model` was called before."""

import sys

from gammascape.cli import main

if __name__ == "__main__":
    sys.exit(main(["check-model", *sys.argv[1:]]))
