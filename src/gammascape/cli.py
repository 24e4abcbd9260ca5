"""The command `gammascape`; each of its commands is a module with `add` and a function that runs it."""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeAlias

from gammascape.command import as_command

Run = Callable[[argparse.Namespace], int]
"""Runs a command; returns the exit status."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

COMMANDS = ("plan", "why", "audit", "replay", "seal", "accept", "prune", "export_crate")
"""Modules of gammascape.provenance; each adds one command to the parser and sets its default `run`."""

DESCRIPTION = (
    "Ask what snakemake would make next, where results come from, and whether they still hold."
)
EPILOG = (
    "Call it in the folder where you call snakemake; gammascape COMMAND --help explains a command."
)


@as_command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gammascape", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Imported here, where Ctrl-C is no traceback: it takes a second.
    for name in COMMANDS:
        import_module(f"gammascape.provenance.{name}").add(commands)
    chosen = parser.parse_args(arguments)
    run: Run = chosen.run
    return run(chosen)
