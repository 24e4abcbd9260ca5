"""What is left after a fault, and that going on ends in the bytes of an undisturbed run."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from .projects import Started, copy_tree, empty_project, snakemake

STUDY = """\
datasets:
  digits: {kind: digits}
models:
  small: {kind: mlp, depth: 2, width: 16}
grids:
  - model: small
    dataset: digits
    loss: mse
    gamma: {log10: [0, 1, 2]}
    eta: {log10: [0, 1]}
    batch_size: 16
    steps: 1000
"""
CELLS = 6
OPTIONS = ("--until", "train", "--packed-checkpoint-seconds", "0")


def with_faults(**faults: object) -> dict[str, str]:
    faulty = str(Path(__file__).parent / "faults")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [faulty, os.environ.get("PYTHONPATH")])),
        **{f"FAULT_{name.upper()}": str(value) for name, value in faults.items()},
    }


def artifacts(project: Path) -> dict[str, bytes]:
    """What the cells determine, by path."""
    cells = project / "results/cells"
    return {
        str(path.relative_to(cells)): path.read_bytes()
        for name in ("summary.json", "arrays.npz")
        for path in cells.glob(f"*/*/{name}")
    }


def attempts(project: Path) -> dict[str, list[int]]:
    """Steps from which each cell was trained, by identity."""
    return {
        path.parent.name.rpartition("-")[2]: [
            one["from_step"] for one in json.loads(path.read_text())["attempts"]
        ]
        for path in project.glob("results/cells/*/*/manifest.json")
    }


def checkpoints(project: Path) -> dict[str, Path]:
    """Checkpoints by identity of their cell."""
    return {
        path.name.partition("-")[0]: path
        for path in project.glob("results/.scratch/checkpoints/*-n*")
        if not path.name.startswith(".")
    }


def steps(project: Path) -> dict[str, int]:
    """Step of each checkpoint."""
    return {
        identity: json.loads(path.read_bytes().partition(b"\n")[0])["step"]
        for identity, path in checkpoints(project).items()
    }


def workers(project: Path) -> list[int]:
    """Processes of workers that run in this project."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            name = (process / "comm").read_text()
            here = (process / "cwd").readlink() == project
        except (OSError, ValueError):
            continue
        if here and name == "serve\n":
            found.append(int(process.name))
    return found


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = empty_project(tmp_path_factory.mktemp("undisturbed"), STUDY)
    done = snakemake(project, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert len(artifacts(project)) == 2 * CELLS
    assert not checkpoints(project), "checkpoints must go when the artifact is in place"
    return project


def before_the_first_cell(undisturbed: Path, project: Path) -> Path:
    """A copy of the study with its data prepared."""
    copy_tree(undisturbed, project)
    shutil.rmtree(project / "results/cells")
    shutil.rmtree(project / "results/logs/cells")
    return project


@pytest.fixture
def project(undisturbed: Path, tmp_path: Path) -> Path:
    return before_the_first_cell(undisturbed, tmp_path / "project")


@contextlib.contextmanager
def training(project: Path, *options: str, slow: float) -> Iterator[Started]:
    """Snakemake, with every cell somewhere in the middle of its run."""
    before = steps(project)
    output = project / "output"
    output.unlink(missing_ok=True)
    words = ("snakemake", "--cores", "1", *OPTIONS, *options)
    process = Started(project, *words, env=with_faults(slow=slow), said=[Path(os.devnull), output])
    try:
        wait_until(lambda: sum(n > before.get(k, 0) for k, n in steps(project).items()) == CELLS)
        yield process
    finally:
        process.kill()
        process.wait(10)


def unlock(project: Path) -> None:
    # What `snakemake --unlock` does: the killed process could not.
    shutil.rmtree(project / ".snakemake/locks", ignore_errors=True)


def go_on(project: Path) -> None:
    done = snakemake(project, *OPTIONS)
    assert done.returncode == 0, done.stderr


def test_killed_workers_are_replaced_and_their_cells_go_on(
    project: Path, undisturbed: Path
) -> None:
    with training(project, "--cores", "2", slow=0.2) as running:
        for pid in workers(project):
            kill(pid)
        assert running.wait(120) == 0
    assert artifacts(project) == artifacts(undisturbed)
    assert all(begun[-1] > 0 for begun in attempts(project).values())


@pytest.fixture(scope="module")
def stopped(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, begun and stopped by one test after the other: each goes on where the one before it ended."""
    return before_the_first_cell(undisturbed, tmp_path_factory.mktemp("stopped") / "project")


def stop(project: Path, signals: Sequence[signal.Signals]) -> None:
    """Go on, and be told to stop after some blocks of the 21 that there are."""
    with training(project, slow=0.5) as running:
        for number in signals:
            running.send_signal(number)
            time.sleep(0.1)
        assert running.wait(30) != 0
    assert not workers(project)
    assert len(checkpoints(project)) == CELLS
    said = (project / "output").read_text()
    assert "Traceback" not in said
    assert said.rstrip().endswith("run the same command again, and it goes on from there.")
    assert not list(project.glob(".snakemake/locks/*"))


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGINT] * 3])
def test_a_run_told_to_stop_leaves_checkpoints(
    stopped: Path, signals: list[signal.Signals]
) -> None:
    stop(stopped, signals)


@pytest.mark.parametrize("whose", ["snakemake", "all"])
def test_workers_of_a_killed_snakemake_stop(stopped: Path, whose: str) -> None:
    with training(stopped, slow=0.5) as running:
        there = workers(stopped)
        assert there
        kill(running.pid)
        if whose == "all":
            for pid in there:
                kill(pid)
        wait_until(lambda: not workers(stopped), seconds=10)
    assert not artifacts(stopped)
    unlock(stopped)


def test_all_cells_go_on_but_those_whose_checkpoints_are_damaged(
    stopped: Path, undisturbed: Path
) -> None:
    stop(stopped, [signal.SIGTERM])
    damaged = sorted(checkpoints(stopped))[:2]
    half, empty = (checkpoints(stopped)[identity] for identity in damaged)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    empty.write_bytes(b"")
    go_on(stopped)
    assert artifacts(stopped) == artifacts(undisturbed)
    for cell, begun in attempts(stopped).items():
        assert begun == sorted(set(begun)), "every attempt begins after the one before it"
        assert (begun[-1] == 0) == (cell in damaged)


def incomplete(project: Path, cells: Sequence[Path]) -> None:
    """What Snakemake leaves when it is killed before it has noted these cells."""
    for path in (path for cell in cells for path in cell.iterdir()):
        name = base64.urlsafe_b64encode(str(path.relative_to(project)).encode()).decode()
        (project / ".snakemake/incomplete" / name).write_text('{"external_jobid": null}')


@pytest.mark.parametrize("executor", ["packed", "local"])
def test_whole_cells_are_kept_unless_a_person_forces_them(
    undisturbed: Path, tmp_path: Path, executor: str
) -> None:
    project = tmp_path / "project"
    copy_tree(undisturbed, project)
    cells = sorted(project.glob("results/cells/*/*"))
    incomplete(project, cells[:3])
    before = {cell: (cell / "manifest.json").read_bytes() for cell in cells}
    damaged, forced = cells[:2]
    (damaged / "arrays.npz").write_bytes(b"half")
    forcing = ("--forcerun", str((forced / "summary.json").relative_to(project)))
    done = snakemake(project, *OPTIONS, "--executor", executor, *forcing)
    assert done.returncode == 0, done.stderr
    trained = {cell for cell in cells if (cell / "manifest.json").read_bytes() != before[cell]}
    assert trained == {damaged, forced}
    assert artifacts(project) == artifacts(undisturbed)
    assert not list(project.glob(".snakemake/incomplete/*"))


def test_a_full_disk_costs_no_cell(project: Path, undisturbed: Path) -> None:
    results = project / "results"
    content = project / "content"
    results.rename(content)
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", results], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        copy_tree(content, results)
        filler = results / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        # Room for folders and logs, not for all artifacts or checkpoints.
        os.truncate(filler, filler.stat().st_size - 64 * 1024)
        done = snakemake(project, *OPTIONS)
        assert done.returncode != 0
        assert "No space left on device" in done.stderr
        filler.unlink()
        go_on(project)
        assert artifacts(project) == artifacts(undisturbed)
    finally:
        subprocess.run(["umount", results], check=True)


@pytest.mark.parametrize(
    ("fault", "said"), [("kill", "ended by signal 9"), ("raise", "a mistake in the model")]
)
def test_only_the_cell_at_fault_fails(
    project: Path, undisturbed: Path, fault: str, said: str
) -> None:
    done = snakemake(project, *OPTIONS, "--packed-lanes", "6", env=with_faults(**{fault: 2}))
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith("mend this, and run the same command again.")
    assert "2 cells failed for one reason: " in done.stderr.splitlines()[-2] or fault == "kill"
    expected = {k: v for k, v in artifacts(undisturbed).items() if "/g2_" not in k}
    assert artifacts(project) == expected
    for log in project.glob("results/logs/cells/*/*.log"):
        # Others are trained again in a smaller pack, and their logs say after what.
        told = log.read_text().replace(f"retried after ValueError: {said}", "")
        assert (said in told) == log.name.startswith("g2_"), log.name
    go_on(project)
    assert artifacts(project) == artifacts(undisturbed)


def test_packs_shrink_to_what_fits_into_memory(project: Path, undisturbed: Path) -> None:
    done = snakemake(project, *OPTIONS, "--packed-lanes", "6", env=with_faults(memory=2))
    assert done.returncode == 0, done.stderr
    assert artifacts(project) == artifacts(undisturbed)
    [limit] = json.loads((project / "results/.scratch/lanes.json").read_text()).values()
    assert limit == 2
