"""The table of what was measured during runs."""

import json
from pathlib import Path
from typing import Any

from gammascape.tables.dynamics.observables import OBSERVABLE_SCHEMA, observable_table

LABELS = {
    "slice": "mlp3-digits-mse-B32-T2",
    "model": "mlp3",
    "dataset": "digits",
    "loss": "mse",
    "batch_size": 32,
    "steps": 2,
    "passes": None,
}


def cell(folder: Path, name: str, **more: Any) -> Path:
    path = folder / "mlp_digits_mse" / name
    path.mkdir(parents=True)
    record = {"gamma": "-0.5", "eta": "1", "seed": 3, "data_seed": 0}
    (path / "summary.json").write_text(json.dumps({"cell": record, **more}))
    return path


def test_every_number_of_every_layer_is_a_row(tmp_path: Path) -> None:
    taken = [
        {"step": 0, "sharpness": 2.5, "initial_cka": {"layer1": 1.0, "layer2": 0.9}},
        {"step": 2, "sharpness": None, "initial_cka": {"layer1": 0.8, "layer2": None}},
    ]
    table = observable_table([cell(tmp_path, "a", observables=taken), cell(tmp_path, "b")], LABELS)
    assert dict(table.schema) == OBSERVABLE_SCHEMA
    assert table.select("step", "observable", "layer", "value").rows() == [
        (0, "sharpness", None, 2.5),
        (0, "initial_cka", "layer1", 1.0),
        (0, "initial_cka", "layer2", 0.9),
        (2, "sharpness", None, None),
        (2, "initial_cka", "layer1", 0.8),
        (2, "initial_cka", "layer2", None),
    ]
    assert table.select("cell", "gamma_log10", "eta_log10", "seed").unique().rows() == [
        ("mlp_digits_mse/a", -0.5, 1.0, 3)
    ]


def test_cells_without_observables_make_an_empty_table(tmp_path: Path) -> None:
    table = observable_table([cell(tmp_path, "a")], LABELS)
    assert table.is_empty()
    assert dict(table.schema) == OBSERVABLE_SCHEMA
