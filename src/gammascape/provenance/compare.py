"""Compare a retrained cell with its artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammascape.manifests import Manifest
from gammascape.manifests.paths import inside, read_object
from gammascape.manifests.whole import ARRAYS, FILES, SUMMARY
from gammascape.study import Cell
from gammascape.tables.cells import open_arrays

FLOOR = 1e-3
"""Smallest allowed relative difference on another device, version or size of pack.

One operation rounds at 6e-8 in float32 and at 5e-4 in TF32, and training sums many of them. The effect on a number
differs from cell to cell: at a small eta nothing grows, in a chaotic run everything does. So the cell is trained
once more with a slightly different eta (see `disturbed`), and a number may differ by _MARGIN times as much as this
twin does."""
_MARGIN = 10.0
SHARP = 0.1
"""Largest allowed relative difference at which a number is compared; beyond it agreement means nothing."""
ACCURACY = 0.01
"""Smallest allowed difference of an accuracy: rounding moves the few samples near a boundary."""
_DISTURBANCE = {True: Decimal("0.000001"), False: Decimal("0.0001")}
"""Increase of log10 eta, if both devices are CPUs or not: 2e-6 or 2e-4 of each step, above rounding."""

BACKEND = ("device", "device_model", "matmul_precision", "threads", "compiler", "torch", "numpy")
"""Properties of a device that decide the bits of its results."""


@dataclass(frozen=True)
class Comparison:
    """Result of the comparison of one cell."""

    agrees: bool | None
    """Verdict; None if too much cannot be compared."""
    identical: bool
    """True if every byte is the same, required or not."""
    text: str


def must_be_exact(made: Manifest, again: Manifest) -> bool:
    """Return whether two trainings of a cell must give the same bytes.

    They must on the same device with the same versions, if both were alone in their packs; MLPs on a CPU must in
    any pack. Other models in packs of other sizes agree up to rounding.
    """
    first, second = made.device or {}, again.device or {}
    if any(first.get(key) != second.get(key) for key in BACKEND):
        return False
    alone = made.cost.get("lanes") == again.cost.get("lanes") == 1
    mlp_on_cpu = made.record["model"]["kind"] == "mlp" and first["device"] == "cpu"
    return alone or bool(mlp_on_cpu)


def disturbed(cell: Cell, made: Manifest, again: Manifest) -> Cell:
    """Increase a cell's eta slightly, to measure its sensitivity to rounding."""
    devices = {(manifest.device or {}).get("device") for manifest in (made, again)}
    eta = Decimal(cell.eta) + _DISTURBANCE[devices == {"cpu"}]
    return replace(cell, eta=f"{eta.normalize():f}")


def same_files(made: Path, again: Path) -> bool:
    """Return whether two artifacts of one cell are the same byte for byte."""
    return all(inside(made, n).read_bytes() == (again / n).read_bytes() for n in FILES[:-1])


def compare(made: Path, again: Path, twin: Path | None = None) -> Comparison:
    """Compare all numbers of two artifacts of one cell.

    Args:
        made: folder of the artifact.
        again: folder of the retrained cell.
        twin: folder of the cell trained with a disturbed eta; None requires the same bytes.

    Raises:
        OSError, ValueError, TableError: if a file of an artifact cannot be read.
    """
    if same_files(made, again):
        return Comparison(True, True, "the same bytes")
    if twin is None:
        return Comparison(False, False, _first_difference(made, again))
    tally = _Tally()
    contents = [read_object(f / SUMMARY) | _arrays(f) for f in (made, again, twin)]
    for content in contents:
        # The twin has another eta, and the audit compares the record with the manifest.
        del content["cell"]
    tally.hold("", *contents)
    if tally.different:
        return Comparison(False, False, tally.different[0])
    text = f"{tally.compared:,} numbers within what rounding does, the worst at {tally.worst:.0%} of it"
    if not tally.unclear:
        return Comparison(True, False, text)
    count = tally.compared + len(tally.unclear)
    text += f"; rounding decides {len(tally.unclear):,} of {count:,}, like {tally.unclear[0]}"
    # Single observables at the level of noise leave the run as a whole comparable.
    essential = any(name.startswith(_ESSENTIAL) for name in tally.unclear)
    return Comparison(None if essential else True, False, text)


@dataclass
class _Tally:
    """Findings so far in a comparison of two artifacts."""

    different: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    """Names of values that a disturbance changes too much for a comparison."""
    compared: int = 0
    worst: float = 0.0
    """Largest difference, as a share of the allowed one."""

    def hold(self, name: str, made: Any, again: Any, twin: Any) -> None:
        """Compare one value of any type."""
        made, again, twin = (
            value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind != "f" else value
            for value in (made, again, twin)
        )
        if isinstance(made, dict) and isinstance(again, dict) and set(made) == set(again):
            for key in made:
                other = twin.get(key) if isinstance(twin, dict) else None
                self.hold(f"{name}.{key}".lstrip("."), made[key], again[key], other)
        elif _is_numbers(made) and _is_numbers(again):
            self._hold_numbers(name, *(np.asarray(value) for value in (made, again, twin)))
        elif isinstance(made, list) and isinstance(again, list) and len(made) == len(again):
            others = (
                twin if isinstance(twin, list) and len(twin) == len(made) else [None] * len(made)
            )
            for k, (a, b, c) in enumerate(zip(made, again, others, strict=True)):
                self.hold(f"{name}[{k}]", a, b, c)
        elif made != again and again == twin:
            self.different.append(f"{name} is {_short(made)}, trained again {_short(again)}")
        elif again != twin:
            self.unclear.append(name)
        else:
            self.compared += 1

    def _hold_numbers(
        self, name: str, made: NDArray[Any], again: NDArray[Any], twin: NDArray[Any]
    ) -> None:
        """Compare entry by entry; each entry of a history has its own scale, other arrays have one."""
        if not made.shape == again.shape == twin.shape or twin.dtype == object:
            if made.shape != again.shape and twin.shape == again.shape:
                self.different.append(f"{name} has shape {made.shape}, trained again {again.shape}")
            else:
                self.unclear.append(name)
            return
        if not made.size:
            return
        a, b, c = (np.asarray(values, dtype=np.float64) for values in (made, again, twin))
        with np.errstate(invalid="ignore", over="ignore"):
            history = name in _HISTORIES
            scale = np.maximum(np.where(np.isfinite(b), np.abs(b), 0.0), _least(b, history))
            floor = ACCURACY if name.endswith("accuracy") else FLOOR * scale
            drift = np.where(_same(b, c), 0.0, np.nan_to_num(np.abs(c - b), nan=np.inf))
            # Once runs have drifted apart they stay apart, though their curves may cross.
            drift = np.maximum.accumulate(drift / scale) * scale if history else np.max(drift)
            allowed = np.maximum(floor, _MARGIN * drift)
            apart = np.where(_same(a, b), 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
            sharp = allowed <= np.maximum(SHARP * scale, floor)
            share = np.where(sharp, apart / allowed, 0.0)
        k = np.unravel_index(int(np.argmax(share)), share.shape)
        self.compared += int(sharp.sum())
        self.worst = max(self.worst, min(float(share[k]), 1.0))
        if share[k] > 1:
            where = "".join(f"[{int(at):,}]" for at in k)
            text = f"{name}{where} is {made[k]:.6g}, trained again {again[k]:.6g}"
            self.different.append(
                f"{text}, allowed +- {np.broadcast_to(allowed, share.shape)[k]:.1g}"
            )
        elif not sharp.all():
            self.unclear.append(name)


_ESSENTIAL = ("status", "facts", "evaluations", "loss", "probe_outputs", "gram.")
_HISTORIES = ("loss", "loss_min", "loss_max", "zero_loss")


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def _least(values: NDArray[np.float64], history: bool) -> float:
    """Smallest scale for comparing entries: the root mean square of an array."""
    finite = values[np.isfinite(values)]
    if history or not finite.size:
        return 1e-300
    return max(float(np.sqrt(np.mean(finite**2))), 1e-300)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind == "f")
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _short(value: Any) -> str:
    return str(value) if len(str(value)) < 60 else f"{str(value)[:60]}..."


def _arrays(folder: Path) -> dict[str, NDArray[Any]]:
    with open_arrays(folder) as arrays:
        return dict(arrays)


def _first_difference(made: Path, again: Path) -> str:
    """First loss that differs between two artifacts, or else the names of all differing entries."""
    arrays = _arrays(made), _arrays(again)
    a, b = (found["loss"] for found in arrays)
    if len(a) != len(b):
        return f"the loss history has {len(a):,} entries, trained again {len(b):,}"
    different = np.flatnonzero(~_same(a, b))
    if len(different):
        k, step = int(different[0]), arrays[0]["step"]
        return f"the loss of step {int(step[k]):,} is {a[k]:.9g}, trained again {b[k]:.9g}"
    summaries = [read_object(f / SUMMARY) for f in (made, again)]
    for file, (first, second) in ((ARRAYS, arrays), (SUMMARY, summaries)):
        if names := [n for n in sorted({*first, *second}) if _bits(first, n) != _bits(second, n)]:
            return f"{file} differs in {', '.join(names)}"
    return "the files differ only in form"


def _bits(content: Mapping[str, Any], name: str) -> Any:
    value = content.get(name)
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
