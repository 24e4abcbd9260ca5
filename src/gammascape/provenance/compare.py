"""Whether a cell that was trained again gives what its artifact holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammascape.analysis.cells import open_arrays
from gammascape.origin import Manifest
from gammascape.origin.inside import inside, read_object

EARLY = 20
EARLY_TOLERANCE = 1e-3
"""Largest relative difference of the loss of one of the first EARLY steps, for another device or version.

Rounding differs by 1e-7 in the first step (float32). Training at a large eta multiplies differences from step to
step, in chaotic runs without bound, so that later steps prove nothing one by one."""
MEDIAN_TOLERANCE = 0.05
"""Largest median, over all steps, of the relative difference of the loss."""

_SAME_BACKEND = (
    "device",
    "device_model",
    "matmul_precision",
    "threads",
    "compiler",
    "torch",
    "numpy",
)
_FILES = ("summary.json", "arrays.npz")
_TINY = 1e-300


@dataclass(frozen=True)
class Comparison:
    """What became of one cell."""

    agrees: bool
    identical: bool
    """Whether every byte is the same, asked for or not."""
    text: str


def must_be_exact(made: Manifest, again: Manifest) -> bool:
    """Whether two trainings of a cell must give the same bytes.

    They do on the same device with the same versions, if both were alone in their pack; MLPs on a CPU do in any
    pack. Other models in packs of other sizes agree to rounding.
    """
    first, second = made.device or {}, again.device or {}
    if any(first.get(key) != second.get(key) for key in _SAME_BACKEND):
        return False
    alone = made.cost.get("lanes") == again.cost.get("lanes") == 1
    mlp_on_cpu = made.record["model"]["kind"] == "mlp" and first["device"] == "cpu"
    return alone or bool(mlp_on_cpu)


def compare(made: Path, again: Path, *, exact: bool) -> Comparison:
    """Compare the files of two artifacts of one cell.

    Args:
        made: folder of the artifact.
        again: folder of what was trained again.
        exact: demand the same bytes; otherwise EARLY_TOLERANCE, MEDIAN_TOLERANCE and the same status.

    Raises:
        OSError, ValueError: if a file of an artifact cannot be read.
    """
    if all(inside(made, n).read_bytes() == (again / n).read_bytes() for n in _FILES):
        return Comparison(True, True, "the same bytes")
    arrays = _arrays(made), _arrays(again)
    summaries = _summary(made), _summary(again)
    if exact:
        return Comparison(False, False, _first_difference(*arrays, *summaries))
    return _within_tolerance(*arrays, *summaries)


def _arrays(folder: Path) -> dict[str, NDArray[Any]]:
    with open_arrays(folder) as arrays:
        return dict(arrays)


def _summary(folder: Path) -> dict[str, Any]:
    return read_object(folder / "summary.json")


def _first_difference(
    made: Mapping[str, NDArray[Any]],
    again: Mapping[str, NDArray[Any]],
    summary: Mapping[str, Any],
    summary_again: Mapping[str, Any],
) -> str:
    a, b = made["loss"], again["loss"]
    if len(a) != len(b):
        return f"the loss history has {len(a):,} entries, trained again {len(b):,}"
    different = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
    if len(different):
        k = int(different[0])
        return f"the loss of step {int(made['step'][k]):,} is {a[k]:.9g}, trained again {b[k]:.9g}"
    names = {*made, *again}
    arrays = [
        name
        for name in sorted(names)
        if name not in made
        or name not in again
        or made[name].shape != again[name].shape
        or made[name].tobytes() != again[name].tobytes()
    ]
    if arrays:
        return f"arrays.npz differs in {', '.join(arrays)}"
    keys = [
        key
        for key in sorted({*summary, *summary_again})
        if summary.get(key) != summary_again.get(key)
    ]
    return (
        f"summary.json differs in {', '.join(keys)}" if keys else "the files differ in form alone"
    )


def _within_tolerance(
    made: Mapping[str, NDArray[Any]],
    again: Mapping[str, NDArray[Any]],
    summary: Mapping[str, Any],
    summary_again: Mapping[str, Any],
) -> Comparison:
    statuses = summary["status"], summary_again["status"]
    if statuses[0] != statuses[1]:
        return Comparison(False, False, f"status {statuses[0]}, trained again {statuses[1]}")
    a, b = made["loss"], again["loss"]
    # Two diverging runs may reach infinity a step apart.
    if len(a) != len(b) and statuses[0] != "diverged":
        text = f"the loss history has {len(a):,} entries, trained again {len(b):,}"
        return Comparison(False, False, text)
    count = min(len(a), len(b))
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(np.maximum(np.abs(a[:count]), np.abs(b[:count])), _TINY)
        relative = np.abs(a[:count] - b[:count]) / scale
    relative = relative[np.isfinite(a[:count]) & np.isfinite(b[:count])]
    early = float(relative[:EARLY].max(initial=0.0))
    median = float(np.median(relative)) if len(relative) else 0.0
    text = (
        f"loss within {early:.1e} in the first {EARLY} steps (allowed {EARLY_TOLERANCE:.0e}), "
        f"median {median:.1e} over all (allowed {MEDIAN_TOLERANCE:.0e}), status {statuses[0]}"
    )
    return Comparison(early <= EARLY_TOLERANCE and median <= MEDIAN_TOLERANCE, False, text)
