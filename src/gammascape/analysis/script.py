"""How a workflow script speaks: its messages go to its log, a user's mistake ends it without a traceback."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gammascape.analysis.cells import TableError


@contextmanager
def run_script(log: str) -> Iterator[None]:
    """Run the body; what goes wrong is written to the log and printed.

    A TableError is a fact about the user's data and ends the script with its message alone.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    try:
        yield
    except TableError as error:
        path.write_text(f"{error}\n")
        sys.exit(str(error))
    except Exception:
        path.write_text(traceback.format_exc())
        raise
