"""The command `gammascape`; each of its commands is a module with `add` and a function that runs it."""

import argparse
from collections.abc import Callable, Sequence
from typing import TypeAlias

from gammascape.origin import ManifestError
from gammascape.provenance import accept, audit, export_crate, plan, prune, replay, seal, why
from gammascape.study import StudyError
from gammascape.terminal import complain

Run = Callable[[argparse.Namespace], int]
"""Runs a command; returns the exit status."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

COMMANDS: tuple[Callable[[Commands], None], ...] = (
    plan.add,
    why.add,
    audit.add,
    replay.add,
    seal.add,
    accept.add,
    prune.add,
    export_crate.add,
)
"""Each adds one command to the parser and sets its default `run`."""

DESCRIPTION = (
    "Ask what snakemake would make next, where results come from, and whether they still hold."
)
EPILOG = (
    "Call it in the folder where you call snakemake; gammascape COMMAND --help explains a command."
)

USER_MISTAKE = 2
"""Exit status after a mistake in the command or in a study."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gammascape", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    chosen = parser.parse_args(arguments)
    run: Run = chosen.run
    try:
        return run(chosen)
    except (StudyError, ManifestError) as error:
        complain(error)
        return USER_MISTAKE
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough.
        return 0
