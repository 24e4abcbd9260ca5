"""Every command ends in an exit status and at most one message, whatever happens in it."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gammascape
from gammascape import cli
from gammascape.command import UserError, as_command
from gammascape.terminal import visible_lines

ROOT = Path(gammascape.__file__).parent
SERVANTS = {ROOT / p for p in ("training/serve.py", "execution/scripts.py", "provenance/so_far.py")}
"""Those that no person calls: their parents read what they say."""
COMMANDS = [path for path in ROOT.rglob("*.py") if '__name__ == "__main__"' in path.read_text()]


def test_every_command_ends_as_commands_do() -> None:
    others = {path for path in COMMANDS if "@as_command\ndef main(" not in path.read_text()}
    assert len(COMMANDS) > 4
    # `python -m gammascape` is the command `gammascape`, and two have names of before.
    former = {ROOT / "check_model.py", ROOT / "study/describe.py"}
    assert others == {*SERVANTS, ROOT / "__main__.py", *former}


@pytest.mark.parametrize(
    ("module", "command"), [("check_model", "check-model"), ("study.describe", "cost")]
)
def test_former_names_of_commands_are_understood(module: str, command: str) -> None:
    line = [sys.executable, "-m", f"gammascape.{module}", "--help"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"usage: gammascape {command}")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    assert f"usage: gammascape {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("mine.yaml: \x1b[31mred"), 2, "mine.yaml: \\x1b[31mred\n"),
        (OSError(28, "No space left on device", "\x07"), 2, "[Errno 28] No space left on device: '\\x07'\n"),
        (RuntimeError("Symlink loop from 'a'"), 2, "Symlink loop from 'a'\n"),
        (BrokenPipeError(), 0, ""),
    ],
)  # fmt: skip
def test_an_error_is_one_message(
    error: Exception, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @as_command
    def main() -> int:
        raise error

    assert main() == status
    assert capsys.readouterr().err == said


def test_characters_that_a_terminal_obeys_are_shown() -> None:
    assert visible_lines("a\x1b]0;\x07\x9b\ud800\u202e\r") == r"a\x1b]0;\x07\x9b\ud800\u202e\r"
    assert visible_lines("Ünïcode\nin lines") == "Ünïcode\nin lines"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: gammascape {name} ")


def test_texts_have_the_same_hash_in_every_process() -> None:
    code = "from gammascape.command import fix_hashes; fix_hashes(); print(hash('a'), sys.argv[1])"
    started = [sys.executable, "-c", f"import sys; {code}", "kept"]
    random = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    said = {subprocess.check_output(started, env=random, text=True) for _ in range(2)}
    assert len(said) == 1
    assert said.pop().endswith(" kept\n")


LEAVING = """\
import atexit, ctypes, sys
from gammascape.command import leave
library = ctypes.CDLL(None)
library.on_exit(library.abort, None)
open_file = open(sys.argv[1], "w")
open_file.write("kept")
atexit.register(print, "at exit")
print("said", end=" ")
leave(7)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "on_exit"), reason="not the C library of GNU")
def test_a_process_that_leaves_ends_as_any_other_but_unloads_no_library(tmp_path: Path) -> None:
    file = tmp_path / "file"
    started = [sys.executable, "-c", LEAVING, str(file)]
    done = subprocess.run(started, stdout=subprocess.PIPE, text=True, check=False)
    # Libraries would be unloaded where `abort` would be called.
    assert (done.returncode, done.stdout, file.read_text()) == (7, "said at exit\n", "kept")


BUSY = """\
import sys, time
from gammascape.command import as_command
@as_command
def main():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("cleaning up", flush=True)
        time.sleep(60)
sys.exit(main())
"""


def test_ctrl_c_again_while_a_command_cleans_up_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")


TALKING = """\
import sys
from gammascape.command import as_command
sys.exit(as_command(lambda: print('x' * 100_000) or 0)())
"""


def test_what_cannot_be_written_at_the_end_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TALKING],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert re.fullmatch(r"\[Errno 28\].*\n", done.stderr)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", TALKING],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_usage_names_artifacts_before_studies(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("why", "audit", "accept", "export-crate", "replay"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([name, "--help"])
        usage = capsys.readouterr().out.partition("\n\n")[0]
        assert usage.endswith(" [--study STUDY [STUDY ...]]"), name
