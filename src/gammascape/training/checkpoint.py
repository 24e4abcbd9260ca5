"""Checkpoints: one file for each cell, in a scratch folder unknown to Snakemake, which thus does not delete them.

A checkpoint is written under a temporary name and renamed, so a reader sees the old one or the new one. It names
the cell, the version of the numerics and the backend. A run resumes only if it would give the bytes of an
uninterrupted run; otherwise it starts again. A checksum detects damaged files.
"""

import fcntl
import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gammascape.layout import whole
from gammascape.manifests.paths import inside
from gammascape.numerics import NUMERICS_VERSION
from gammascape.training import equal_loss
from gammascape.training.engine import Evaluation, State

LOG = logging.getLogger(__name__)

_WEIGHT = "weight."
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile)
"""Errors that reading a damaged checkpoint can raise."""


def scratch_of(output: Path) -> Path:
    """Scratch folder for an artifact: results/.scratch for results/cells/<family>/<id>, else next to it."""
    in_results = len(output.parents) > 2 and output.parents[1].name == "cells"
    return (output.parents[2] if in_results else output.parent) / ".scratch"


class Checkpoints:
    """Checkpoints and locks of one scratch folder, for one backend."""

    def __init__(self, scratch: Path, backend: Mapping[str, Any]) -> None:
        self._folder = scratch / "checkpoints"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._backend = dict(backend)
        # One file holds the locks of all cells, one byte for each. The system frees them however the process ends,
        # and thousands of locks take one file descriptor.
        self._locks = os.open(scratch / "locks", os.O_RDWR | os.O_CREAT, 0o666)

    def lock(self, identity: str) -> bool:
        """Become the only process that trains this cell; return False while another process trains it.

        Raises:
            OSError: if the file system has no locks.
        """
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(identity, 16))
        except (BlockingIOError, PermissionError):
            # POSIX allows either error for a lock that another process holds.
            return False
        return True

    def unlock(self, identity: str) -> None:
        """Let other processes train this cell."""
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, int(identity, 16))

    def path(self, identity: str) -> Path:
        """Path of a cell's checkpoint."""
        return self._folder / f"{identity}-n{NUMERICS_VERSION}"

    def save(
        self,
        identity: str,
        state: State,
        attempts: Sequence[Mapping[str, Any]] = (),
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the cell's checkpoint; `attempts` are all attempts so far, including the current one.

        `constants` are digests of inputs to training that the cell's identity does not fix.

        Raises:
            OSError: if it cannot be written, e.g. on a full disk; the previous checkpoint remains.
        """
        arrays = {_WEIGHT + name: value for name, value in state.weights.items()}
        arrays |= equal_loss.arrays_of(state.reached)
        buffer = io.BytesIO()
        np.savez(
            buffer, allow_pickle=False, losses=state.losses, zero_losses=state.zero_losses, **arrays
        )
        header = {
            "cell": identity,
            "numerics": NUMERICS_VERSION,
            "backend": self._backend,
            "constants": dict(constants or {}),
            "step": state.step,
            "seconds": state.seconds,
            "attempts": list(attempts),
            "evaluations": [asdict(evaluation) for evaluation in state.evaluations],
            "observations": list(state.observations),
            "reached": equal_loss.summary_of(state.reached),
            "sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(),
        }
        with whole(self.path(identity)) as partial, partial.open("wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            file.write(buffer.getbuffer())

    def load(self, identity: str, constants: Mapping[str, Any] | None = None) -> State | None:
        """State to resume from, or None without an intact checkpoint of this cell for this backend.

        A checkpoint with other constants belongs to another network or other data and is ignored.
        """
        try:
            content = inside(self._folder, self.path(identity).name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            LOG.warning("checkpoint of cell %s cannot be read (%s): starting anew", identity, error)
            return None
        first, _, body = content.partition(b"\n")
        try:
            header = json.loads(first)
            if hashlib.sha256(body).hexdigest() != header["sha256"]:
                raise ValueError("the checksum does not match")
            if header["cell"] != identity or header["backend"] != self._backend:
                LOG.info("checkpoint of cell %s is of another machine or version", identity)
                return None
            present = dict(constants or {})
            # Older checkpoints lack this entry.
            if header.get("constants", present) != present:
                LOG.warning(
                    "checkpoint of cell %s has other constants or data than there are now: starting anew",
                    identity,
                )
                return None
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                arrays = dict(stored)
            return State(
                step=header["step"],
                weights={
                    name.removeprefix(_WEIGHT): value
                    for name, value in arrays.items()
                    if name.startswith(_WEIGHT)
                },
                losses=arrays["losses"],
                zero_losses=arrays["zero_losses"],
                # Standard JSON has no infinity or NaN, but Python's reader accepts what its writer wrote.
                evaluations=tuple(Evaluation(**item) for item in header["evaluations"]),
                seconds=header["seconds"],
                observations=tuple(header.get("observations", ())),
                reached=equal_loss.snapshots_of(header.get("reached", ()), arrays),
            )
        except _DAMAGED as error:
            LOG.warning("checkpoint of cell %s is damaged (%s): starting anew", identity, error)
            return None

    def attempts(self, identity: str) -> list[dict[str, Any]]:
        """Attempts that led to the cell's checkpoint; empty without one."""
        try:
            with self.path(identity).open("rb") as file:
                found = json.loads(file.readline())["attempts"]
                return [dict(attempt) for attempt in found]
        except (OSError, *_DAMAGED):
            return []

    def discard(self, identity: str) -> None:
        """Remove the cell's checkpoint, once its artifact is in place."""
        try:
            self.path(identity).unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("checkpoint of cell %s cannot be removed: %s", identity, error)

    def clear(self, identities: Collection[str]) -> None:
        """Remove partial checkpoints that killed processes have left of these cells, which must be locked."""
        with suppress(OSError):
            for path in self._folder.glob(".*"):
                if path.name[1:].partition("-")[0] in identities:
                    path.unlink()
