"""`python -m gammascape.study.describe`, as `gammascape cost` was called before."""

import os
import sys

if __name__ == "__main__":
    # The command stands above this package, which may not import it.
    os.execv(sys.executable, [sys.executable, "-m", "gammascape", "cost", *sys.argv[1:]])
