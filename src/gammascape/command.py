"""End commands cleanly: a user's mistake is one message, and neither it nor Ctrl-C prints a traceback."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import NoReturn, ParamSpec

from gammascape.terminal import visible_lines

P = ParamSpec("P")

USER_MISTAKE = 2
"""Exit status after a mistake in the command, in a study or in a file."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it."""


class UserError(Exception):
    """A mistake by the user; `str(error)` is the whole message, ready to print."""

    def __init__(self, text: str) -> None:
        super().__init__(visible_lines(text))


def child_environment(**more: str) -> dict[str, str]:
    """Environment of another Python, which finds the package and its plugins where they are imported from here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def fix_hashes() -> None:
    """Restart this process with PYTHONHASHSEED=0 unless it is set, so that strings hash alike in every process.

    The order of a set depends on these hashes, and a user's network may depend on the order of a set.
    """
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def leave(status: int) -> NoReturn:
    """End as `sys.exit` does, but without unloading libraries: PyTorch's take up to a second."""
    # What the C library calls last is called first; only GNU's has `on_exit`.
    with suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.on_exit(library._exit, None)
        library.fflush(None)
    sys.exit(status)


def as_command(main: Callable[P, int]) -> Callable[P, int]:
    """Wrap the main function of a command: print a mistake as one message and turn it into an exit status."""

    @wraps(main)
    def run(*arguments: P.args, **options: P.kwargs) -> int:
        # Escape characters that the output's encoding lacks. A stream put in place of stdout may lack this method.
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
            # Before Python 3.13, `Path.resolve` raises RuntimeError for links that lead to each other.
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
            # Output that cannot be written now cannot be written when the process ends either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if message:
            print(message, file=sys.stderr)
        return status

    return run
