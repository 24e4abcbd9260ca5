"""A process that has imported Snakemake, PyTorch and the library, which takes longer than most calls.

All processes of the tests share it, through a socket whose path it is given. Each line there is a call as JSON,
for which it forks and answers with the number of the process: `words` of `python -m`, the `folder` and the
environment `env` in which, and files for what is `said`. Or it is the number of a process, and the answer is its
exit status, null while it runs. Processes of the library that a call starts are forks, too, made before the call
begins, which leaves them nothing of its state.
"""

import gc
import json
import os
import re
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ctypes import CDLL
from fcntl import F_DUPFD, fcntl
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, TextIO

from snakemake.cli import get_argument_parser

from gammascape.manifests.code import PACKAGE, meaning
from gammascape.workflow.catalogue import FIGURES, TABLES

MODULES = (
    "smart_open",
    "gammascape.commands.check_model",
    "gammascape.figures.style.save",
    "gammascape.provenance.current",
    "gammascape.provenance.so_far",
    "gammascape.training.worker",
    "gammascape.workflow.script",
    "gammascape.workflow.trial",
)
LONGEST = 600
"""Seconds after which a call is ended."""
STARTERS = ("gammascape", "snakemake")
SHELL_RULE = re.compile("set -euo pipefail; *(.*) >( .*) 2>&1", re.DOTALL)
"""What Snakemake makes of a rule that is one command with its log."""
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
exec_in_fork = subprocess._fork_exec  # type: ignore[attr-defined]


def call(words: Sequence[str], folder: str, env: Mapping[str, str], said: Sequence[str]) -> None:
    signal.alarm(LONGEST)
    files = ("/dev/null", *said)
    run(words, folder, env, {n: os.open(path, os.O_RDWR) for n, path in enumerate(files)})


def run(
    words: Sequence[str], folder: str, env: Mapping[str, str], files: Mapping[int, int]
) -> None:
    """Do what `python -m` does in a new process with these files by number."""
    high = {number: fcntl(file, F_DUPFD, 1000) for number, file in files.items()}
    close_all_but(*high.values())
    for number, file in high.items():
        os.dup2(file, number)
        os.close(file)
    subprocess._fork_exec = Forks() if words[0] in STARTERS else exec_in_fork  # type: ignore[attr-defined]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    # The name by which tests find it.
    CDLL(None).prctl(PR_SET_NAME, words[0].rpartition(".")[2].encode())
    sys.argv[1:] = words[1:]
    # By these words a process may start itself anew.
    sys.orig_argv[1:] = ["-m", *words]
    paths = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path.cwd()), *(path for path in paths if path not in sys.path)]
    sys.modules.pop("sitecustomize", None)
    with suppress(ImportError):
        import_module("sitecustomize")
    if words[0] not in STARTERS and not hasattr(sys.modules.get(words[0]), "__path__"):
        sys.modules.pop(words[0], None)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    sys.exit()


def close_all_but(*kept: int) -> None:
    for one, next_one in pairwise(sorted((2, *kept, 2**16))):
        os.closerange(one + 1, next_one)


class Forks:
    """In place of the function by which `subprocess` starts a program: a fork for `python -m`, also in a rule.

    One fork that was made before the call began waits for what the call starts. Before it runs that it leaves
    another one waiting in its place, by a child that ends at once: the kernel gives the orphan to the caller.
    """

    def __init__(self) -> None:
        CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._turn = threading.Lock()
        self._waiting, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if not os.fork():
            wait_for_a_call(theirs)
        theirs.close()

    def __call__(
        self, words: Sequence[str], programs: Any, close: Any, kept: Sequence[int], *rest: Any
    ) -> int:
        python, *others = (os.fsdecode(word) for word in words if word != "-P")
        log = None
        if others[:1] == ["-c"] and (rule := SHELL_RULE.fullmatch(others[1])):
            python, *others, log = shlex.split(rule[1] + rule[2])
        if python != sys.executable or others[:1] != ["-m"]:
            started: int = exec_in_fork(words, programs, close, kept, *rest)
            return started
        folder, env, stdin, _, _, stdout, _, stderr, _, failure, _, session, *_ = rest
        files = {0: stdin, 1: stdout, 2: stderr} | {file: file for file in kept}
        files = {number: file for number, file in files.items() if file not in (-1, failure)}
        if log is not None:
            files[1] = files[2] = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        pairs = (os.fsdecode(pair).split("=", 1) for pair in env or ())
        asked = {
            "words": others[1:],
            "folder": os.fsdecode(folder or Path.cwd()),
            "env": dict(os.environ if env is None else pairs),
        }
        message = json.dumps([asked, session, [*files]]).encode()
        with self._turn:
            socket.send_fds(self._waiting, [message], [*files.values()])
            number = int(self._waiting.recv(32))
        if log is not None:
            os.close(files[1])
        return number


def wait_for_a_call(connection: socket.socket) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.alarm(0)
    close_all_but(connection.fileno())
    while True:
        message, files, *_ = socket.recv_fds(connection, 2**20, 64)
        if not message:
            os._exit(0)
        if not (between := os.fork()):
            if os.fork():
                os._exit(0)
            for file in files:
                os.close(file)
            continue
        os.waitpid(between, 0)
        connection.send(str(os.getpid()).encode())
        connection.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked, session, numbers = json.loads(message)
        if session:
            os.setsid()
        run(**asked, files=dict(zip(numbers, files, strict=True)))
        sys.exit()


def serve(listener: socket.socket) -> None:
    """Answer all who connect, until the last one of them has left."""
    clients: dict[socket.socket, TextIO] = {}
    while True:
        for readable in select.select([listener, *clients], [], [])[0]:
            if readable is listener:
                client, _ = listener.accept()
                clients[client] = client.makefile("rw")
            elif line := clients[readable].readline():
                print(answer(json.loads(line), [listener, *clients]), file=clients[readable])
                clients[readable].flush()
            else:
                clients.pop(readable).close()
                readable.close()
                if not clients:
                    return


def answer(asked: Any, ours: Sequence[socket.socket]) -> str | int:
    if isinstance(asked, int):
        ended, status = os.waitpid(asked, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else "null"
    if not (child := os.fork()):
        for one in ours:
            # A call closes it, and may open another file of its number.
            one.detach()
        call(**asked)
    os.setpgid(child, child)
    return child


if __name__ == "__main__":
    place = Path(sys.argv.pop())
    of_entries = (
        f"gammascape.{one.function.partition(':')[0]}"
        for one in (*TABLES.values(), *FIGURES.values())
    )
    for module in (*MODULES, *of_entries):
        import_module(module)
    # Finds and imports all plugins.
    get_argument_parser()
    # To read the library's code takes the first process of each project as long.
    for path in PACKAGE.rglob("*.py"):
        meaning(path)
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    print("listening", flush=True)
    serve(listener)
    for left in (place, place.with_suffix(".lock")):
        left.unlink(missing_ok=True)
