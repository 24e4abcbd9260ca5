"""Scripts that fail, are killed or are interrupted while Snakemake runs them in processes of its executor."""

import os
import signal
import time
from pathlib import Path

import pytest

from .projects import Started, copy_tree, snakemake

FAULTS = {
    "performance": ("os.kill(os.getpid(), 9)", "the process of the script was ended by signal 9"),
    "edges": ("raise TableError('cells of two studies')", "cells of two studies"),
    "similarity": ("raise ValueError('a bug')", "ValueError: a bug"),
}
"""Figure -> what its script does, and what is said of it."""


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    copy_tree(finished, tmp_path / "project")
    return tmp_path / "project"


def test_scripts_that_fail_say_why_and_leave_others_alone(project: Path) -> None:
    script = project / "workflow/scripts/figures.py"
    imports, body = script.read_text().split("with run_stage(snakemake) as stage:\n")
    lines = [
        f"    if snakemake.rule == 'draw_{n}':\n        {do}\n" for n, (do, _) in FAULTS.items()
    ]
    more = "import os\nfrom gammascape.tables.cells import TableError\n"
    script.write_text(
        "".join([imports, more, "with run_stage(snakemake) as stage:\n", *lines, body])
    )
    figures = {path: path.read_bytes() for path in project.glob("results/tiny/figures/*.svg")}
    done = snakemake(project, "--cores", "2")
    assert done.returncode != 0
    *_, first, second, third, last = done.stderr.strip().splitlines()
    assert last.endswith("3 jobs not run: mend this, and run the same command again.")
    for name, (_, said) in FAULTS.items():
        log = f"results/logs/figures/tiny/draw_{name}.log"
        assert f"1 draw_{name} job failed: {said} ({log})" in (first, second, third)
        *traceback, line = (project / log).read_text().splitlines()
        assert line == said
        assert bool(traceback) == (name == "similarity")
    # What failed is as it was; others were drawn again and name the other script.
    drawn = {path.stem for path, before in figures.items() if path.read_bytes() != before}
    assert drawn == {"dynamics", "phenomena"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_ends_with_snakemake_and_is_no_error(
    project: Path, tmp_path: Path, number: int
) -> None:
    script = project / "workflow/scripts/provenance.py"
    before = script.read_text()
    script.write_text(
        "import os, time; from pathlib import Path\n"
        "Path('new').write_text(str(os.getpid()))\n"
        "Path('new').rename('process')\n"
        "time.sleep(600)\n"
    )
    page = project / "results/tiny/provenance.html"
    page.unlink()
    output = tmp_path / "output"
    running = Started(project, "snakemake", "--cores", "1", said=[Path(os.devnull), output])
    while not (project / "process").exists():
        assert running.poll() is None, output.read_text()
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(60) != 0
    said = output.read_text()
    assert said.strip().splitlines()[-1].startswith("Interrupted after ")
    assert "Traceback" not in said
    assert "Error" not in said
    assert not Path("/proc", (project / "process").read_text()).exists()
    assert not page.exists()
    script.write_text(before)
    again = snakemake(project)
    assert again.returncode == 0, again.stderr
    assert page.exists()
