"""Scripts that run one after another in one process leave each other alone, and their failures are reported."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gammascape.execution import scripts as scripts_module
from gammascape.execution.scripts import ScriptError, Scripts

PROCESS = (
    "import os; from pathlib import Path; Path('new').write_text(str(os.getpid()));"
    "Path('new').rename('process');"
)


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripts]:
    monkeypatch.chdir(tmp_path)
    made = Scripts()
    yield made
    made.stop()


def run(scripts: Scripts, text: str, **given: Any) -> int:
    """Run a script of this text and return the process that ran it."""
    path = Path("script.py").absolute()
    path.write_text(PROCESS + text)
    job = SimpleNamespace(log=["log"], threads=1, resources={"tmpdir": "/some/folder"})
    scripts.run(path, SimpleNamespace(**{**vars(job), **given}))
    return int(Path("process").read_text())


def test_scripts_share_a_process_and_nothing_else(scripts: Scripts) -> None:
    first = run(scripts, "left = 1; import warnings; warnings.simplefilter('error')")
    # A module that was imported stays; names and filters of warnings do not.
    text = "\nassert 'left' not in globals(); import warnings; warnings.warn('not an error')"
    assert run(scripts, text) == first
    environment = "{os.environ[name] for name in ('OMP_NUM_THREADS', 'TMPDIR')}"
    assert run(scripts, f"assert {environment} == {{'1', '/some/folder'}}") == first
    # Files of the project are no modules.
    Path("beside.py").touch()
    text = "from importlib.util import find_spec; assert find_spec('beside') is None"
    assert run(scripts, text) == first
    assert run(scripts, "assert __name__ == '__main__'; assert snakemake.rule == 'x'", rule="x")


def test_each_script_that_runs_beside_others_has_its_process(scripts: Scripts) -> None:
    """A second one waits for nothing; later, either process is taken again."""
    wait = "import time\nwhile not Path('go').exists(): time.sleep(0.01)"
    beside = threading.Thread(target=run, args=(scripts, wait))
    beside.start()
    while not Path("process").exists():
        time.sleep(0.01)
    busy = int(Path("process").read_text())
    other = run(scripts, "")
    assert other != busy
    Path("go").touch()
    beside.join()
    assert run(scripts, "") in (busy, other)


@pytest.mark.parametrize(
    ("text", "said", "log"),
    [
        ("import sys; sys.exit('cells of two studies')", "^cells of two studies$", None),
        ("import sys; sys.exit(3)", "^the script ended with status 3$", None),
        ("1 / 0", "^ZeroDivisionError: division by zero$", None),
        ("this is no Python", "SyntaxError: invalid syntax", None),
        (
            "import signal; os.kill(os.getpid(), signal.SIGKILL)",
            "^the process of the script was ended by signal 9$",
            "the process of the script was ended by signal 9\n",
        ),
        (
            "os._exit(4)",
            "the process of the script ended with status 4",
            "the process of the script ended with status 4\n",
        ),
    ],
)
def test_a_failure_says_why_and_the_next_script_has_a_new_process(
    scripts: Scripts, text: str, said: str, log: str | None
) -> None:
    first = run(scripts, "import sys; sys.exit()")
    with pytest.raises(ScriptError, match=said):
        run(scripts, text)
    assert (Path("log").read_text() if Path("log").exists() else None) == log
    assert run(scripts, "") != first


def test_a_traceback_is_printed(scripts: Scripts, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScriptError):
        run(scripts, "1 / 0")
    assert "Traceback" in capfd.readouterr().err


def test_a_process_that_was_killed_between_scripts_costs_nothing(scripts: Scripts) -> None:
    first = run(scripts, "")
    [process] = scripts._idle
    process.process.kill()
    process.process.wait()
    assert run(scripts, "") != first


@pytest.mark.parametrize("name", ["module.py", "page.html.j2", "page.js"])
def test_other_code_or_another_environment_need_a_new_process(
    scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(scripts_module, "PACKAGE", tmp_path / "library")
    module = tmp_path / "library" / name
    module.parent.mkdir()
    module.touch()
    first = run(scripts, "")
    assert run(scripts, "") == first
    os.utime(module, (1, 1))
    second = run(scripts, "")
    assert second != first
    monkeypatch.setenv("SOME_NAME", "x")
    assert run(scripts, "assert os.environ['SOME_NAME'] == 'x'") != second
    assert not Path(f"/proc/{first}").exists()


def test_a_script_that_runs_ends_when_the_run_is_told_to_stop(scripts: Scripts) -> None:
    failed = []

    def fail() -> None:
        with pytest.raises(ScriptError) as caught:
            run(scripts, "import time; time.sleep(600)")
        failed.append(caught.value)

    thread = threading.Thread(target=fail)
    thread.start()
    while not Path("process").exists():
        time.sleep(0.01)
    scripts.stop()
    thread.join(60)
    assert failed
    assert not Path(f"/proc/{Path('process').read_text()}").exists()
    with pytest.raises(ScriptError, match="told to stop"):
        run(scripts, "")


def test_a_script_ends_when_the_process_that_asked_for_it_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, time; from pathlib import Path\n"
        "Path('process').write_text(str(os.getpid())); os.kill(os.getppid(), signal.SIGKILL)\n"
        "time.sleep(600)\n"
    )
    text = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as Job\n"
        "from gammascape.execution.scripts import Scripts\n"
        "Scripts().run(Path(sys.argv[1]), Job(log=['log'], threads=1, resources={}))\n"
    )
    words = [sys.executable, "-c", text, str(script)]
    done = subprocess.run(words, cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    process = Path(f"/proc/{(tmp_path / 'process').read_text()}")
    deadline = time.monotonic() + 60
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process.exists()
