"""The page that sums up the manifests of a study."""

from dataclasses import replace
from pathlib import Path

from gammascape.figures.page.provenance import Row, declarations, summary, write_provenance
from gammascape.manifests import File, Manifest, write_manifest

START = "2026-01-01T00:00:00+00:00"
CELL = Manifest(
    kind="cell",
    name="results/cells/a/b",
    rule="train",
    record={
        **{"model": {"kind": "mlp"}, "dataset": {"kind": "digits"}, "loss": "mse"},
        **{"gamma": "0", "eta": "0", "batch_size": 4, "steps": 2, "seed": 0, "data_seed": 0},
        **{"dtype": "float32", "numerics": 1},
    },
    inputs=(),
    code={
        **{"commit": "c" * 40, "dirty": False, "diff_sha256": None, "lock_sha256": None},
        **{"source_sha256": "d" * 64, "modules": {}},
    },
    environment={
        "host": "there",
        "system": "Linux",
        "python": "3.11.7",
        "driver": None,
        "packages": {"torch": "2.15.0"},
    },
    started=START,
    outputs=(File("summary.json", 1, "e" * 64),),
    finished="2026-01-01T00:01:00+00:00",
    device={"device": "cpu", "device_model": "Zen"},
    executor="packed",
    attempts=({"started": START, "from_step": 0, "reason": "fresh"},),
    cost={"seconds": 30.0, "lanes": 4},
)
LATER = replace(
    CELL,
    code={**CELL.code, "dirty": True},
    finished="2026-01-03T00:00:00+00:00",
    attempts=(*CELL.attempts, *CELL.attempts),
    accepted=({"at": "2026", "reason": "a <name>", "source_sha256": "f" * 64},),
)


def test_each_value_stands_with_the_number_of_its_artifacts() -> None:
    rows = summary([CELL, LATER, CELL])
    assert Row("cell: made", f"{CELL.started} to {LATER.finished}", 3) in rows
    assert Row("time on the device", "1 min 30 s", 3) in rows
    assert Row("cells with more than one attempt", "resumed or retried", 1) in rows
    assert Row("commit", "c" * 40, 2) in rows
    assert Row("commit", f"{'c' * 40} with uncommitted changes", 1) in rows
    assert Row("torch", "2.15.0", 3) in rows
    assert declarations([CELL, LATER]) == ["2026: a <name> (1 artifact)"]


def test_the_page_is_escaped_and_reads_the_manifests_of_its_inputs(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", LATER)
    page = tmp_path / "provenance.html"
    write_provenance("tiny", [tmp_path / "manifest.json"], page)
    text = page.read_text()
    assert "a &lt;name&gt;" in text
    assert '<a href="../index.html">' in text
    assert "1 min" not in text
    assert "30 s" in text
