"""A process that has imported Snakemake and the library, which takes longer than most calls.

Each line of its standard input is a call as JSON, for which it forks: `words` of `python -m`, the `folder` and the
environment `env` in which, and the files for what is `said`. It answers with the exit status.
"""

import json
import os
import runpy
import signal
import sys
from importlib import import_module

from snakemake.cli import get_argument_parser

MODULES = (
    "smart_open",
    "gammascape.provenance.current",
    "gammascape.workflow.script",
    "gammascape.workflow.trial",
)
LONGEST = 600
"""Seconds after which a call is ended."""


def call(words: list[str], folder: str, env: dict[str, str], said: list[str]) -> None:
    signal.alarm(LONGEST)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for descriptor, path in enumerate(("/dev/null", *said)):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv[1:] = words[1:]
    # By these words a process may start itself anew.
    sys.orig_argv[1:] = ["-m", *words]
    sys.path[0] = folder
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    for module in MODULES:
        import_module(module)
    # Finds and imports all plugins.
    get_argument_parser()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            call(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
