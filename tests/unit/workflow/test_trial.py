"""What is tried and looked for before a study runs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gammascape.study import StudyError
from gammascape.workflow.plan import Plan, load_plan
from gammascape.workflow.trial import check_inputs

STUDY = """\
models:
  net: {factory: "net:make", width: 8}
  mlp: {kind: mlp, depth: 2, width: 8}
datasets:
  digits: {kind: digits}
grids:
  - model: MODEL
    dataset: digits
    loss: mse
    gamma: {log10: 0}
    eta: {log10: 0}
    batch_size: 8
    steps: 8
"""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Exit status and message of the process that tries, then the commands that were called."""
    state: list[Any] = [0, ""]

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        state.append(command[3:])
        return subprocess.CompletedProcess(
            command, state[0], "data own: 3\nmine: tried\n", state[1]
        )

    monkeypatch.setattr("gammascape.workflow.trial.subprocess.run", run)
    return state


def planned(folder: Path, text: str = "net", model: str = "[net, mlp]") -> Plan:
    (folder / "net.py").write_text(f"def make(input_shape, outputs, width):\n    return {text}\n")
    study = STUDY.replace("MODEL", model)
    study = study if "net" in model else study.replace(STUDY.splitlines()[1] + "\n", "")
    (folder / "mine.yaml").write_text(study)
    return load_plan({"study": str(folder / "mine.yaml")})


def test_once_for_each_version_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert check_inputs(planned(tmp_path)) == ["data own: 3"]
    assert ended[2:] == [["check-model", str(tmp_path / "mine.yaml")]]
    check_inputs(planned(tmp_path, "other"))
    assert len(ended) == 4
    # A mistake is told as often as it is asked for.
    ended[:2] = 2, "mine.yaml: models.net: no network\n"
    for _ in range(2):
        with pytest.raises(StudyError, match=r"^mine\.yaml: models\.net: no network$"):
            check_inputs(planned(tmp_path, "third"))
    assert len(ended) == 6
    # Nothing is known of a process that has crashed.
    ended[0] = -11
    for _ in range(2):
        check_inputs(planned(tmp_path, "third"))
    assert len(ended) == 8


def test_not_without_own_code_or_when_all_cells_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    check_inputs(planned(tmp_path, model="mlp"))
    plan = planned(tmp_path)
    for path in plan.cells:
        summary = Path(f"results/cells/{path}/summary.json")
        summary.parent.mkdir(parents=True)
        summary.touch()
    check_inputs(plan)
    assert ended[2:] == []
    summary.unlink()
    next(Path("results/cells").glob("make*/*/summary.json")).unlink(missing_ok=True)
    check_inputs(plan)
    assert len(ended) == 3


def test_all_files_that_may_not_be_fetched_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = STUDY.replace("MODEL", "mlp").replace(STUDY.splitlines()[1] + "\n", "")
    study = study.replace("{kind: digits}", "{kind: mnist}\n  cifar: {kind: cifar10}")
    (tmp_path / "mine.yaml").write_text(
        study.replace("dataset: digits", "dataset: [digits, cifar]")
    )
    values = {"study": "mine.yaml", "data": {"download": False, "mnist": "m", "cifar10": "c"}}
    plan = load_plan(values)
    names = [f"{a}-{b}-ubyte.gz" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1")]
    with pytest.raises(StudyError) as caught:
        check_inputs(plan)
    assert str(caught.value).splitlines() == [
        f"config/config.yaml: data: m lacks {', '.join(names)}: put them there, or write download: true",
        "config/config.yaml: data: c lacks cifar-10-python.tar.gz: put it there, or write download: true",
    ]
    for path in (
        *(Path("m") / name for name in names[:3]),
        Path("c/cifar-10-batches-py/data_batch_1"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    (Path("m") / names[3]).touch()
    with pytest.raises(
        StudyError, match=rf"^[^,]*: m lacks {names[3]} \(is empty\): put it there[^\n]*$"
    ):
        check_inputs(plan)
    check_inputs(load_plan({**values, "data": {"mnist": "m"}}))
    prepared = Path("results/data/mnist/manifest.json")
    prepared.parent.mkdir(parents=True)
    prepared.touch()
    check_inputs(plan)
