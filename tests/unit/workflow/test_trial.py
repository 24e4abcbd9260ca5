"""When a study's own models and data are tried before it runs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gammascape.study import StudyError
from gammascape.workflow.plan import Plan, load_plan
from gammascape.workflow.trial import try_own_code

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
        return subprocess.CompletedProcess(command, state[0], "", state[1])

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
        try_own_code(planned(tmp_path))
    assert ended[2:] == [["check-model", str(tmp_path / "mine.yaml")]]
    try_own_code(planned(tmp_path, "other"))
    assert len(ended) == 4
    # A mistake is told as often as it is asked for.
    ended[:2] = 2, "mine.yaml: models.net: no network\n"
    for _ in range(2):
        with pytest.raises(StudyError, match=r"^mine\.yaml: models\.net: no network$"):
            try_own_code(planned(tmp_path, "third"))
    assert len(ended) == 6
    # Nothing is known of a process that has crashed.
    ended[0] = -11
    for _ in range(2):
        try_own_code(planned(tmp_path, "third"))
    assert len(ended) == 8


def test_not_without_own_code_or_when_all_cells_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    try_own_code(planned(tmp_path, model="mlp"))
    plan = planned(tmp_path)
    for path in plan.cells:
        summary = Path(f"results/cells/{path}/summary.json")
        summary.parent.mkdir(parents=True)
        summary.touch()
    try_own_code(plan)
    assert ended[2:] == []
    summary.unlink()
    next(Path("results/cells").glob("make*/*/summary.json")).unlink(missing_ok=True)
    try_own_code(plan)
    assert len(ended) == 3
