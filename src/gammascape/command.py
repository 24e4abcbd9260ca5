"""End of every command: a mistake is one message, and neither it nor Ctrl-C is a traceback."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec

from gammascape.terminal import visible_lines

P = ParamSpec("P")

USER_MISTAKE = 2
"""Exit status after a mistake in the command, in a study or in a file."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it."""


class UserError(Exception):
    """A mistake of the person who gave the command; `str(error)` is the whole message, ready to be printed."""

    def __init__(self, text: str) -> None:
        super().__init__(visible_lines(text))


def fix_hashes() -> None:
    """Start this process anew unless texts have the hashes that they have in every process.

    The order of a set follows them, so a user's network could be another one in each process.
    """
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def as_command(main: Callable[P, int]) -> Callable[P, int]:
    """Wrap a function that runs a command: a mistake is printed as one message and becomes an exit status."""

    @wraps(main)
    def run(*arguments: P.args, **options: P.kwargs) -> int:
        # A character that the encoding of the output lacks is escaped. Not every stream in its place can do that.
        with suppress(AttributeError):
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        message, status = "", 0
        try:
            status = main(*arguments, **options)
            print(end="", flush=True)
        except UserError as error:
            message, status = str(error), USER_MISTAKE
        except BrokenPipeError:
            pass  # The reader of a pipe, such as `head`, has seen enough.
        except (OSError, RuntimeError) as error:
            # `Path.resolve` of Python before 3.13 has no OSError for links that lead to each other.
            if not isinstance(error, OSError) and not str(error).startswith("Symlink loop"):
                raise
            message, status = visible_lines(error), USER_MISTAKE
        except KeyboardInterrupt:
            # From now on another Ctrl-C ends the process at once.
            with suppress(ValueError):
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            message, status = "interrupted", INTERRUPTED
        try:
            print(end="", flush=True)
        except OSError:
            # What cannot be written now cannot be written when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if message:
            print(message, file=sys.stderr)
        return status

    return run
