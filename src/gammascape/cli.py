"""The command `gammascape`; each of its commands is a module with `add` and a function that runs it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeAlias

from gammascape.command import as_command, fix_hashes

Run = Callable[[argparse.Namespace], int]
"""Runs a command; returns the exit status."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

COMMANDS = (
    *("plan", "cost", "check-model", "why", "audit", "replay"),
    *("seal", "reference", "accept", "prune", "export-crate"),
)
"""Modules of `commands`; the `add` of each adds the command to the parser and sets the default `run`."""

DESCRIPTION = "Ask what snakemake would make next, at what cost, where results come from, and whether they hold."
EPILOG = (
    "Call it in the folder where you call snakemake; gammascape COMMAND --help explains a command."
)


@as_command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None and given[:1] == ["replay"]:
        fix_hashes()
    parser = argparse.ArgumentParser(prog="gammascape", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Imported here, where Ctrl-C is no traceback: all of them take a second.
    for name in {*COMMANDS} & {*given[:1]} or COMMANDS:
        import_module(f"gammascape.commands.{name.replace('-', '_')}").add(commands)
    chosen = parser.parse_args(given)
    run: Run = chosen.run
    return run(chosen)
