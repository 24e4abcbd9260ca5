"""`python -m gammascape.study.describe`, as `gammascape cost` was called before."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("gammascape.cli").main(["cost", *sys.argv[1:]]))
