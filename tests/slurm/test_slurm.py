"""Packs on a real SLURM of one node. Needs Debian's slurm-wlm and munge, and root to start them."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..integration.projects import Started, empty_project
from ..integration.test_recovery import artifacts

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAULTY_PATH = os.pathsep.join(
    filter(None, [str(ROOT / "tests/integration/faults"), os.environ.get("PYTHONPATH")])
)
CELLS = 6
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
OPTIONS = (
    *("--workflow-profile", "profiles/slurm", "--until", "train", "--latency-wait", "10"),
    *("--default-resources", "mem_mb=500", "runtime=5"),
    *("--set-resources", "train:cpus_per_task=1"),
    *("--packed-slurm-checkpoint-seconds", "0", "--seconds-between-status-checks", "2"),
    *("--packed-slurm-init-seconds-before-status-checks", "2"),
)

missing = [name for name in ("sbatch", "slurmctld", "munged") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SLURM is started by root only"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running SLURM; yields the environment in which commands find it."""
    folder = tmp_path_factory.mktemp("slurm")
    with Path(tempfile.gettempdir(), "gammascape-tests-slurm.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        subprocess.run([HERE / "cluster.sh", "start", folder], check=True)
        try:
            yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        finally:
            subprocess.run([HERE / "cluster.sh", "stop", folder], check=True)


def snakemake(project: Path, env: dict[str, str], *options: str) -> Started:
    said = [Path(os.devnull), project / "output"]
    return Started(project, "snakemake", *options, env=env, said=said)


def resumed(project: Path) -> list[int]:
    return [
        json.loads(path.read_text())["attempts"][-1]["from_step"]
        for path in project.glob("results/cells/*/*/manifest.json")
    ]


def ask(env: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout


def running_jobs(env: dict[str, str]) -> list[str]:
    return ask(env, "squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


def active_jobs(env: dict[str, str]) -> list[str]:
    """Jobs that wait, run or are being ended."""
    return ask(env, "squeue", "--noheader", "--format=%i").split()


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, trained on this machine without SLURM."""
    project = empty_project(tmp_path_factory.mktemp("undisturbed"), STUDY)
    assert snakemake(project, dict(os.environ), "--until", "train").wait(120) == 0
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return empty_project(tmp_path / "project", STUDY)


@pytest.fixture
def slow(
    project: Path, cluster: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[Started]:
    """Snakemake with all cells in one pack in SLURM, somewhere in the middle of their runs."""
    faults = {"FAULT_SLOW": str(request.param), "FAULT_WHILE": str(project / "slow")}
    env = {**cluster, "PYTHONPATH": FAULTY_PATH, **faults}
    (project / "slow").touch()
    # SLURM learns of the end of a job after Snakemake does: the last test's are not among ours.
    wait_until(lambda: not active_jobs(cluster))
    process = snakemake(project, env, *OPTIONS)
    try:
        wait_until(lambda: len(list(project.glob("results/.scratch/checkpoints/[!.]*"))) == CELLS)
        yield process
    finally:
        process.kill()
        process.wait(10)
        for job in active_jobs(cluster):
            ask(cluster, "scancel", job)


def test_each_pack_is_one_slurm_job_with_the_resources_of_one_cell(
    project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    before = set(ask(cluster, "squeue", "--noheader", "--states=all", "--format=%i").split())
    process = snakemake(project, cluster, *OPTIONS, "--packed-slurm-cells", "3")
    assert process.wait(120) == 0, (project / "output").read_text()
    assert artifacts(project) == artifacts(undisturbed)
    # Snakemake ends with the cells, which may be before SLURM has seen the ends of their jobs.
    wait_until(lambda: not active_jobs(cluster))
    listed = ask(cluster, "squeue", "--noheader", "--states=all", "--format=%i %m %C %l %T")
    jobs = [line.split() for line in listed.splitlines()]
    new = [job[1:] for job in jobs if job[0] not in before]
    assert new == [["500M", "1", "5:00", "COMPLETED"]] * 2
    assert not list(project.glob("results/.scratch/packs/*"))


def test_each_round_of_a_map_is_trained_in_slurm(tmp_path: Path, cluster: dict[str, str]) -> None:
    one = STUDY.replace("[0, 1, 2]", "[0]").replace("steps: 1000", "steps: 100")
    study = one.replace(
        "{log10: [0, 1]}", "{map: {finest: 2, beyond: 0, edges: [eta_max_trained]}}"
    )
    project = empty_project(tmp_path / "project", study)
    points = project / "config/studies/tiny.points.yaml"
    wait_until(lambda: not active_jobs(cluster))
    listed = ("squeue", "--noheader", "--states=all", "--format=%i")
    before = set(ask(cluster, *listed).split())
    said = [Path(os.devnull), project / "output"]
    options = [option for option in OPTIONS if option not in ("--until", "train")]
    command = ("gammascape", "map", "config/studies/tiny.yaml", "--", *options)
    process = Started(project, *command, env=cluster, said=said)

    def rounds() -> int:
        return len({*re.findall(r": (round \d+),", points.read_text())}) if points.is_file() else 0

    try:
        # A third round begins with what the second one trained.
        wait_until(lambda: rounds() > 2 or process.poll() is not None, 240)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert rounds() > 2, said[1].read_text()
    wait_until(lambda: not active_jobs(cluster))
    assert len(set(ask(cluster, *listed).split()) - before) in (rounds() - 1, rounds())


@pytest.mark.parametrize("slow", [0.3], indirect=True)
def test_cells_of_a_requeued_and_then_cancelled_pack_go_on(
    slow: Started, project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    [job] = running_jobs(cluster)
    ask(cluster, "scontrol", "requeue", job)
    state = ("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")
    wait_until(lambda: ask(cluster, *state).strip() == "PENDING")
    # SLURM lets a requeued job wait for two minutes.
    ask(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: running_jobs(cluster) == [job])
    ask(cluster, "scancel", job)
    wait_until(lambda: ask(cluster, *state).strip() == "CANCELLED")
    (project / "slow").unlink()
    assert slow.wait(240) == 0, (project / "output").read_text()
    assert artifacts(project) == artifacts(undisturbed)
    assert all(step > 0 for step in resumed(project))


@pytest.mark.parametrize("slow", [4], indirect=True)
def test_cells_of_a_pack_that_is_out_of_time_go_on(
    slow: Started, project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    [job] = running_jobs(cluster)
    # The shortest limit is a minute, an end may be at once; SLURM looks at both twice a minute.
    ask(cluster, "scontrol", "update", f"JobId={job}", "EndTime=now+1")
    states = ("squeue", "--noheader", "--states=all", "--format=%i %T")
    wait_until(lambda: f"{job} TIMEOUT" in ask(cluster, *states), seconds=150)
    (project / "slow").unlink()
    assert slow.wait(120) == 0, (project / "output").read_text()
    assert artifacts(project) == artifacts(undisturbed)
    assert all(step > 0 for step in resumed(project))


@pytest.mark.parametrize("slow", [0.3], indirect=True)
def test_ending_snakemake_cancels_its_packs_and_a_new_run_goes_on(
    slow: Started, project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    slow.send_signal(signal.SIGTERM)
    assert slow.wait(60) != 0
    wait_until(lambda: not running_jobs(cluster))
    assert snakemake(project, cluster, *OPTIONS).wait(120) == 0
    assert artifacts(project) == artifacts(undisturbed)
    assert all(step > 0 for step in resumed(project))


@pytest.mark.parametrize("slow", [4], indirect=True)
def test_packs_of_a_killed_snakemake_are_cancelled_and_a_new_run_goes_on(
    slow: Started, project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    slow.kill()
    slow.wait(10)
    [job] = running_jobs(cluster)
    shutil.rmtree(project / ".snakemake/locks")
    again = snakemake(project, cluster, *OPTIONS)
    wait_until(lambda: job not in running_jobs(cluster))
    (project / "slow").unlink()
    assert again.wait(120) == 0, (project / "output").read_text()
    assert artifacts(project) == artifacts(undisturbed)
    assert all(step > 0 for step in resumed(project))
    assert not list(project.glob("results/.scratch/packs/*"))


@pytest.mark.parametrize("slow", [4], indirect=True)
def test_two_projects_that_share_results_train_each_cell_once(
    slow: Started,
    project: Path,
    cluster: dict[str, str],
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    other = empty_project(tmp_path / "other", STUDY)
    (other / "results").symlink_to(project / "results")
    second = snakemake(other, cluster, *OPTIONS)
    # On a node of one core the second waits in the queue, else for the locks of the cells.
    wait_until(lambda: len(active_jobs(cluster)) == 2)
    (project / "slow").unlink()
    assert slow.wait(120) == 0, (project / "output").read_text()
    assert second.wait(120) == 0, (other / "output").read_text()
    assert artifacts(project) == artifacts(undisturbed)
    # Begun anew and trained without a break: by the first of the two.
    assert resumed(project) == [0] * CELLS
    assert not list(project.glob("results/.scratch/packs/*"))


def test_cells_that_kill_their_job_are_found_and_only_they_fail(
    project: Path, cluster: dict[str, str], undisturbed: Path
) -> None:
    env = {**cluster, "PYTHONPATH": FAULTY_PATH, "FAULT_KILL": "2"}
    # Fewer resubmissions than halving six cells down to one takes.
    options = ("--keep-going", "--packed-slurm-resubmissions", "1")
    options += ("--packed-slurm-cells", "3", "--packed-slurm-checkpoint-seconds", "60")
    assert snakemake(project, env, *OPTIONS, *options).wait(240) != 0
    expected = {k: v for k, v in artifacts(undisturbed).items() if "/g2_" not in k}
    assert artifacts(project) == expected, (project / "output").read_text()
    failed = [
        log for log in project.glob("results/logs/cells/*/*.log") if "FAILED" in log.read_text()
    ]
    assert sorted(log.name.partition("_")[0] for log in failed) == ["g2", "g2"]
