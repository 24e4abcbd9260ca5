"""The command `gammascape`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from gammascape.command import as_command, fix_hashes, leave

COMMANDS = (
    *("pilot", "map", "advise", "scale", "plan", "cost", "check-model", "why", "audit", "replay"),
    *("seal", "table", "figure", "explorer", "reference", "accept", "prune", "export-crate"),
)
"""Commands, each a module of `commands`."""

_PASSING_ON = ("pilot", "map", "plan")
"""Commands that take options of snakemake after `--`."""
_STUDIES = "[--study STUDY [STUDY ...]]"

DESCRIPTION = "Ask what snakemake would make next, at what cost, where results come from, and whether they hold."
EPILOG = (
    "Call it in the folder where you call snakemake; gammascape COMMAND --help explains a command."
)


@as_command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and given[:1] == ["replay"]:
        fix_hashes()
    parser = argparse.ArgumentParser(prog="gammascape", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Importing them all takes a second; here Ctrl-C prints no traceback.
    for name in {*COMMANDS}.intersection(given[:1]) or COMMANDS:
        module = import_module(f"gammascape.commands.{name.replace('-', '_')}")
        text = str(module.__doc__)
        summary = text[0].lower() + text.partition("\n")[0].rstrip(".")[1:]
        command = commands.add_parser(name, help=summary, description=text)
        module.add(command)
        command.set_defaults(run=module.run)
        usage = " ".join(command.format_usage().split()).removeprefix("usage: ")
        if f"{_STUDIES} " in usage and name not in _PASSING_ON:
            # Names that follow studies would be taken for further ones.
            command.usage = f"{usage.replace(f'{_STUDIES} ', '')} {_STUDIES}"
    # argparse takes no further words after options that follow a first one.
    passes_on = bool({*_PASSING_ON}.intersection(given[:1]))
    end = given.index("--") if passes_on and "--" in given else len(given)
    chosen, unknown = parser.parse_known_args(given[:end])
    if unknown:
        hint = "; options of snakemake come last, after --" if passes_on else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    chosen.after = given[end + 1 :]
    return int(chosen.run(chosen))


def command() -> NoReturn:
    """Run the console script."""
    leave(main())
