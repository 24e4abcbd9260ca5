"""The package stays light: the workflow imports it anew for every job."""

import subprocess
import sys


def test_importing_the_study_package_loads_no_heavy_library() -> None:
    heavy = {"torch", "polars", "numpy", "altair", "sklearn", "snakemake"}
    code = f"import sys, gammascape.study; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
