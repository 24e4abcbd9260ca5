"""A trained cell on disk: its parameters and outcome, its arrays, and the provenance of both.

summary.json and arrays.npz depend on the cell alone, so the same cell on the same backend gives the same bytes.
Everything that differs from run to run (times, machine) is in manifest.json.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammascape import manifests
from gammascape.data.dataset import Dataset
from gammascape.layout import whole
from gammascape.manifests.code import CELL_MODULES
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.whole import ARRAYS, SUMMARY
from gammascape.models import Model
from gammascape.runs.history import thin
from gammascape.runs.outcome import Thresholds, judge
from gammascape.training import equal_loss
from gammascape.training.device import Backend
from gammascape.training.engine import Run


@dataclass(frozen=True)
class Origin:
    """Provenance of a trained cell."""

    inputs: tuple[manifests.Source, ...]
    """Prepared data and source files that it read."""
    backend: Backend
    executor: str
    attempts: Sequence[Mapping[str, Any]]
    seconds: float
    lanes: int
    captures: int = 0
    """CUDA graphs captured for its pack."""
    fallback: str | None = None
    """Replacement for compiled or captured steps, with the reason, if those failed."""
    unfolded: Sequence[str] = ()
    """Shapes of the model's convolutions that were computed as unfolded products."""


def make_summary(
    record: Mapping[str, Any], run: Run, dataset: Dataset, model: Model
) -> dict[str, Any]:
    """Summary of a run, without its arrays: parameters, facts, status under the default thresholds."""
    observed: dict[str, Any] = {}
    if record.get("observables"):
        observed["observables"] = run.observations
    if equal_loss.NAME in record.get("observables", ()):
        observed[equal_loss.NAME] = equal_loss.summary_of(run.reached)
    return {
        "cell": dict(record),
        **asdict(judge(run.facts, Thresholds())),
        "facts": asdict(run.facts),
        "steps_done": run.steps_done,
        "peak_step": run.peak_step,
        "evaluations": [_without_validation(asdict(taken)) for taken in run.evaluations],
        "relative_change": run.relative_change,
        **observed,
        "hidden_layers": list(model.hidden),
        "depth_exponent": model.depth,
        "data": {"name": dataset.name, "digest": dataset.digest},
        # State of a user's network besides its weights; built-in networks have none.
        **({} if model.constants is None else {"constants": model.constants}),
    }


def _without_validation(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was not measured, so that the bytes of artifacts without a validation split stay."""
    return {
        name: value
        for name, value in evaluation.items()
        if value is not None or not name.startswith("validation_")
    }


def make_arrays(run: Run) -> dict[str, np.ndarray[Any, Any]]:
    """Thinned loss history, loss of f = 0 on the same batches, outputs and Gram matrices on the probe set.

    If the cell asks for them, also the final singular values of each layer's weights, largest first, and outputs
    and Gram matrices at levels of the loss.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = dict(thin(run.losses))
    arrays["zero_loss"] = thin(run.zero_losses)["loss"]
    if run.probe_outputs is not None and run.grams is not None:
        arrays["probe_outputs"] = run.probe_outputs
        arrays |= {f"gram.{layer}": gram for layer, gram in run.grams.items()}
    arrays |= {f"singular.{name}": values for name, values in run.singular_values.items()}
    arrays |= equal_loss.arrays_of(run.reached)
    return arrays


def write_cell(
    folder: Path,
    summary: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    origin: Origin,
) -> None:
    """Write the artifact; each file appears only when it is complete, and the manifest comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    text = json.dumps(_finite(summary), indent=1, allow_nan=False) + "\n"
    outputs = tuple(
        _write(folder / name, content)
        for name, content in ((ARRAYS, packed.getbuffer()), (SUMMARY, text.encode()))
    )
    captures = {"captures": origin.captures} if origin.captures else {}
    manifest = manifests.Manifest(
        kind="cell",
        name=folder.as_posix(),
        rule="train",
        record=summary["cell"],
        inputs=origin.inputs,
        code=manifests.code_state(*CELL_MODULES),
        environment=manifests.environment(("torch", "numpy")),
        started=origin.attempts[0]["started"],
        outputs=outputs,
        finished=manifests.utc_now(),
        device=_device(origin),
        executor=origin.executor,
        attempts=tuple(origin.attempts),
        cost={"seconds": round(origin.seconds, 4), "lanes": origin.lanes, **captures},
    )
    manifests.write_manifest(folder / FILE_NAME, manifest)


def remove_cell(folder: Path) -> None:
    """Remove the files of an incomplete artifact, which would take up space on a full disk."""
    with suppress(OSError):
        for name in (FILE_NAME, SUMMARY, ARRAYS):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _device(origin: Origin) -> dict[str, Any]:
    """Record of the backend, with choices and failures during training."""
    found: dict[str, Any] = origin.backend.as_record()
    if origin.fallback is not None:
        found["steps"] = origin.fallback
    if origin.unfolded:
        found["unfolded_convolutions"] = ", ".join(origin.unfolded)
    return found


def _write(path: Path, content: bytes | memoryview) -> manifests.File:
    with whole(path) as partial:
        partial.write_bytes(content)
    return manifests.File(path.name, len(content), hashlib.sha256(content).hexdigest())


def _finite(value: Any) -> Any:
    # JSON has no NaN or infinity: write null instead.
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
