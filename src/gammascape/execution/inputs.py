"""Spare Snakemake repeated reads of the inputs of jobs; a stage of a large study has thousands.

Snakemake asks for the size of all inputs of all ready jobs whenever a job ends, and for the checksum of every
input of a job again for each of its outputs. Versions of Snakemake without these functions stay unchanged.
"""

from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from snakemake import io

from gammascape.layout import state_of


def remember_checksums() -> None:
    """Let Snakemake compute the checksum of a file again only after the file has changed."""
    files: Any = getattr(io, "_IOFile", None)
    compute: Any = getattr(files, "checksum", None)
    if compute is None or hasattr(compute, "__wrapped__"):
        return
    known: dict[object, str | None] = {}

    @wraps(compute)
    async def checksum(self: Any, *args: Any, **kwargs: Any) -> str | None:
        try:
            state = state_of(Path(self.file))
        except OSError:
            return await compute(self, *args, **kwargs)  # type: ignore[no-any-return]
        key = str(self.file), state, args, tuple(sorted(kwargs.items()))
        if key not in known:
            known[key] = await compute(self, *args, **kwargs)
        return known[key]

    files.checksum = checksum


def leave_out_sizes() -> None:
    """Let Snakemake hand no sizes of inputs to its scheduler."""

    async def nothing(self: Any, jobs: Any) -> None:
        pass

    with suppress(ImportError):
        # Its module imports all plugins.
        from snakemake.scheduling.job_scheduler import JobScheduler

        JobScheduler.update_input_sizes = nothing
