"""What the next run would make, and why, from given jobs of Snakemake."""

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gammascape.cli import main
from gammascape.commands import plan as plan_module
from gammascape.commands.plan import text
from gammascape.manifests import fingerprint, read_manifest, write_manifest
from gammascape.manifests.code import CELL_MODULES
from gammascape.provenance.dryrun import Job
from gammascape.provenance.estimate import Estimate, estimate
from gammascape.provenance.next_run import NextRun, next_run
from gammascape.provenance.project import CELLS, cells_on_disk, open_project, previous_cells
from gammascape.study import Cell
from gammascape.workflow.catalogue import TABLES, everything

from ..project import STUDY, change_code


def edit(old: str, new: str) -> None:
    assert STUDY.count(old) == 1
    Path("config/studies/tiny.yaml").write_text(STUDY.replace(old, new))


def coming(*others: Job) -> NextRun:
    """The next run, if Snakemake trains what is missing."""
    plan = open_project()
    jobs = [
        Job(
            "train",
            {"cell": path},
            (f"results/cells/{path}/summary.json",),
            "Missing output files: x",
        )
        for path in plan.cells
        if not (CELLS / path / "summary.json").exists()
    ]
    return next_run(plan, [*jobs, *others])


def reasons(found: NextRun) -> set[tuple[str, int, str, str]]:
    return {
        (part.slice, len(why.cells), why.kind, why.text)
        for part in found.slices
        for why in part.reasons
    }


def test_what_was_left_half_made_is_said_to_be(project: Path) -> None:
    # With rerun-incomplete Snakemake gives the reason that it has for what a person forces.
    path = next(iter(open_project().cells))
    cell = Job("train", {"cell": path}, (f"results/cells/{path}/summary.json",), "Forced execution")
    assert [(count, kind) for _, count, kind, _ in reasons(coming(cell))] == [(1, "again")]
    [(_, _, _, words)] = reasons(coming(cell))
    assert words == "it was left half-made, or is forced"


def test_an_added_gamma_is_named_and_nothing_else(project: Path) -> None:
    edit(
        "log10: [0, 1]}\n    eta: {log10: [-1, 0, 1]}",
        "log10: [0, 1, 2]}\n    eta: {log10: [-1, 0, 1]}",
    )
    assert reasons(coming()) == {("small-digits-mse-B16-T30", 3, "new", "log10 gamma 2")}


def test_a_changed_width_is_a_change_of_that_field_and_leaves_the_old_cells(project: Path) -> None:
    edit("small: {kind: mlp, depth: 2, width: 16}", "small: {kind: mlp, depth: 2, width: 32}")
    found = coming()
    assert reasons(found) == {("small-digits-mse-B16-T30", 6, "changed", "model.width 16 -> 32")}
    assert found.removed == {"tiny": 6}


def test_an_option_that_is_added_to_cells_is_named(project: Path) -> None:
    edit(
        "eta: {log10: [-1, 0, 1]}\n    batch_size: 16",
        "eta: {log10: [-1, 0, 1]}\n    observables: [sharpness]\n    batch_size: 16",
    )
    (reason,) = reasons(coming())
    assert reason[1:3] == (6, "changed")
    assert reason[3] == "observables not given -> [sharpness]"


def test_a_new_version_of_the_numerics_makes_every_cell_stale_by_code(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gammascape.study.cell.NUMERICS_VERSION", 2)
    found = coming()
    assert {(kind, words) for _, _, kind, words in reasons(found)} == {
        ("numerics", "numerics 1 -> 2")
    }
    assert found.training == 8
    assert "stale by code: the version of the numerics 1 -> 2" in text(open_project(), found)


def test_a_new_slice_says_what_is_new_about_it(project: Path) -> None:
    Path("config/studies/tiny.yaml").write_text(
        STUDY + STUDY[STUDY.index("  - model: deep") :].replace("batch_size: 16", "batch_size: 32")
    )
    assert reasons(coming()) == {
        ("deep-digits-mse-B32-T30", 2, "new", "a new slice: batch_size 32")
    }


def test_removed_cells_stay_and_are_counted(project: Path) -> None:
    edit("eta: {log10: [-1, 0, 1]}", "eta: {log10: [-1, 0]}")
    found = coming()
    assert (found.training, found.removed) == (0, {"tiny": 2})
    assert "removed from study tiny: 2 cells, still on disk" in text(open_project(), found)


def test_removed_slices_leave_tables_and_figures_that_are_counted(project: Path) -> None:
    Path("config/studies/tiny.yaml").write_text(
        STUDY[: STUDY.index("  - model: deep")].replace(
            "  deep: {kind: mlp, depth: 3, width: 16}\n", ""
        )
    )
    # Ten tables and four figures were made of the slice.
    assert len(coming().gone_tables) == 14


def test_cells_of_other_training_code_are_information_and_no_job(project: Path) -> None:
    change_code(next(CELLS.glob("*/*/manifest.json")), "training/backend.py")
    found = coming()
    assert (found.training, found.other_code) == (0, {"training/backend.py": 1})
    assert "training/backend.py differ" in text(open_project(), found)


def table_job(reason: str) -> Job:
    stem = "results/tiny/tables/scaling/small-digits-mse-B16-T30"
    names = {"study": "tiny", "slice": "small-digits-mse-B16-T30"}
    return Job("edges", names, (f"{stem}.parquet", f"{stem}.manifest.json"), reason)


def causes(*jobs: Job) -> dict[str, dict[str, int]]:
    return {cause: dict(counts) for cause, counts in coming(*jobs).made.items()}


def test_a_table_stale_by_code_names_the_module(project: Path) -> None:
    job = table_job("Updated input files: results/.fingerprints/edges.sha256")
    change_code(Path(job.output[1]), "tables/edges/exponents.py")
    assert causes(job) == {"code of tables changed: tables/edges/exponents.py": {"edges": 1}}


def test_a_figure_whose_files_are_gone_is_told_from_one_that_was_never_made(project: Path) -> None:
    stem = "results/tiny/figures/edges"
    files = (f"{stem}.svg", f"{stem}.png", f"{stem}.manifest.json")
    job = Job(
        "draw_edges", {"study": "tiny"}, files, f"Missing output files: {files[0]}, {files[1]}"
    )
    assert causes(job) == {"files are missing": {"draw_edges": 1}}
    job = replace(job, reason=f"Missing output files: {', '.join(files)}")
    assert causes(job) == {"not there yet": {"draw_edges": 1}}


def test_a_table_with_other_parameters_names_the_parameter(project: Path) -> None:
    with Path("config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {confidence: 0.9}\n")
    job = table_job("Forced execution")
    assert causes(job) == {"parameters changed: analysis.confidence 0.95 -> 0.9": {"edges": 1}}


def test_each_parameter_is_named_once_by_its_key_in_the_study(project: Path) -> None:
    with Path("config/studies/tiny.yaml").open("a") as file:
        file.write("analysis: {trained_below: 0.7, lazy: {from: -2, to: 0}}\n")
    slice_ = table_job("").wildcards["slice"]
    items = [i for i in everything(open_project()).values() if i.wildcards.get("slice") == slice_]
    outputs = [path for i in items if i.rule == "edges" for path in (*i.outputs, i.manifest)]
    job = Job("edges", table_job("").wildcards, tuple(outputs), "Forced execution")
    ((cause, _),) = causes(job).items()
    assert sorted(cause.removeprefix("parameters changed: ").split(", ")) == [
        "analysis.lazy.from not given -> -2",
        "analysis.lazy.to -1.5 -> 0",
        "analysis.trained_below 0.5 -> 0.7",
    ]


_LACKING = "observables", "optimum"


@pytest.mark.parametrize("name", [n for n, e in TABLES.items() if e.params and n not in _LACKING])
def test_every_table_with_other_parameters_names_them(project: Path, name: str) -> None:
    # A study without measurements has no table of observables, and one of endless data no best gamma on few.
    item = next(
        item
        for item in everything(open_project()).values()
        if item.entry in (TABLES[name], TABLES[name].toy)
    )
    path = Path(item.manifest)
    content = json.loads(path.read_text())
    first = next(iter(content["record"]["params"]))
    content["record"]["params"][first] = "of old"
    path.write_text(json.dumps(content))
    job = Job(item.rule, dict(item.wildcards), (*item.outputs, item.manifest), "Forced execution")
    ((cause, counts),) = causes(job).items()
    key = {"thresholds": "analysis.", "confidence": "analysis.confidence"}.get(first, first)
    assert cause.startswith(f"parameters changed: {key}")
    assert counts == {item.rule: 1}


def test_the_time_is_that_of_cells_alike_and_else_by_operations(project: Path) -> None:
    plan, found = open_project(), cells_on_disk()
    cells = list(plan.cells.values())
    alike = estimate(cells, found.values())
    assert (alike.seconds, alike.alike, alike.scaled) == (pytest.approx(0.25 * 8), 8, 0)

    longer = estimate([replace(cells[0], steps=60)], [found[cells[0].path]])
    assert (longer.seconds, longer.scaled) == (pytest.approx(2 * 0.25), 1)
    other = estimate([replace(cells[0], dtype="float64")], found.values())
    assert (other.seconds, other.unknown) == (0, 1)


def test_where_nothing_is_recorded_steps_are_timed_once_for_a_kind(project: Path) -> None:
    timed: list[int] = []

    def clock(alike: Sequence[Cell]) -> float:
        timed.append(len(alike))
        return 30.0

    cells = list(open_project().cells.values())
    found = estimate(cells, [], clock)
    assert timed == [6]
    assert (found.timed, found.scaled, found.unknown) == (6, 2, 0)
    assert found.seconds > 6 * 30
    said = text(open_project(), replace(coming(), jobs=(table_job(""),), training=8, time=found))
    assert "2 by operations, from other cells of the kind of model, 6 from a few steps" in said
    assert re.search(r"device time: about \d min \d\d s, within \d min \d\d s and", said)
    failed = estimate(cells, [], lambda alike: "data.npz is not there")
    said = text(open_project(), replace(coming(), jobs=(table_job(""),), training=8, time=failed))
    assert "device time of 8 cells: not known yet: data.npz is not there" in said
    assert "about" not in said


def test_memory_that_a_laptop_does_not_have_is_said(project: Path) -> None:
    assert "memory" not in text(open_project(), coming())
    edit("1]}\n    batch_size: 16\n    steps: 30", "1]}\n    batch_size: 16\n    steps: 2147483647")
    said = "memory: tiny, small-digits-mse-B16-T2147483647: one network needs at least 64 GiB"
    assert said in text(open_project(), coming())


def test_the_previous_cells_are_those_of_the_tables(project: Path) -> None:
    assert previous_cells("tiny") == set(open_project().cells)
    assert previous_cells("other") == set()


def test_accepted_code_is_no_news(project: Path) -> None:
    path = next(CELLS.glob("*/*/manifest.json"))
    change_code(path, "training/backend.py")
    entry = {"at": "", "reason": "", "source_sha256": fingerprint(*CELL_MODULES)}
    write_manifest(path, replace(read_manifest(path), accepted=(entry,)))
    assert coming().other_code == {}


def test_a_threshold_that_needs_no_feature_is_warned_of(project: Path) -> None:
    path = Path("config/studies/tiny.yaml")
    for level, warned in ((0.85, False), (0.88, True)):
        path.write_text(STUDY + f"analysis: {{trained_below: {level}}}\n")
        assert ("warning: trained_below" in text(open_project(), coming())) == warned
    said = text(open_project(), coming())
    assert "has 0.9 of the loss of f = 0 (small-digits-mse-B16-T30)" in said
    assert "Write less than 0.855" in said
    # Under cross-entropy the frequencies of equal classes are what f = 0 answers.
    path.write_text(path.read_text().replace("loss: mse", "loss: xent"))
    assert "warning" not in text(open_project(), coming())
    path.write_text(path.read_text().replace("kind: digits", "kind: digits, imbalance: 0.01"))
    assert "has 0.714 of the loss of f = 0" in text(open_project(), coming())


def test_steps_are_timed_where_they_would_be_made_on_a_gpu_that_is_free(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gammascape.training import device, timing

    gpu, asked = SimpleNamespace(type="cuda"), list[object]()
    monkeypatch.setattr(device, "set_up_backend", lambda: (gpu, None))
    free = iter((True, True, False))
    monkeypatch.setattr(device, "alone_on", lambda where, go_on: nullcontext(next(free)))
    monkeypatch.setattr(plan_module, "_data", lambda spec, where: asked.append(where))
    monkeypatch.setattr(
        timing, "seconds_of_cell", lambda records, data, where: asked.append(where) or 2.0
    )
    plan = open_project()
    cells = list(plan.cells.values())
    assert plan_module.clock(plan, cells) == 2.0
    assert asked == [gpu, gpu]

    def fail(*_: object) -> float:
        raise RuntimeError("CUDA error: no kernel image\nmore")

    monkeypatch.setattr(timing, "seconds_of_cell", fail)
    assert plan_module.clock(plan, cells) == "RuntimeError: CUDA error: no kernel image"
    assert plan_module.clock(plan, cells) == "the GPU is in use"


def test_steps_are_timed_on_data_from_files(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("cat/a", "dog/b"):
        for number in range(40):
            path = Path(f"photos/{name}{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), number).save(path)
    study = STUDY.replace("kind: digits", "kind: folder, path: photos, repeat: true")
    Path("config/studies/tiny.yaml").write_text(study)
    plan = open_project()
    cells = plan.studies["tiny"].slices[0].cells
    assert isinstance(plan_module.clock(plan, cells), float)
    for name in ("config/studies/tiny.yaml", "tiny"):
        assert main(["plan", name]) == 2
        assert f"write --study {name};" in capsys.readouterr().err


def test_seconds_that_are_lost_among_those_of_processes_are_not_told_in_numbers() -> None:
    short = Estimate(0.17, alike=0, scaled=0, unknown=0, timed=6, devices=())
    first, last = plan_module._time(short, 29)
    assert first == "device time: some seconds (6 from a few steps timed now)"
    assert last == "and some seconds for each of 29 other jobs, which share the cores"
    [long, *_] = plan_module._time(replace(short, seconds=100.0), 0)
    assert "about 1 min 40 s, within 50 s and 3 min 20 s" in long
