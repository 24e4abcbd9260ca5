"""The last lines of a run."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_gammascape as plugin
from snakemake_logger_plugin_gammascape import LogHandler

CELL = "results/cells/mlp/g0_e{}/summary.json"
STOP = "Terminating processes on user request, this might take some time."
FAILED = "WorkflowError:\nAt least one job did not complete successfully."


def told(*events: tuple[LogEvent | None, str, dict[str, object]]) -> list[str]:
    """What is printed of these records and at the end."""
    handler = LogHandler(SimpleNamespace(dryrun=False), None)
    handler.console = Console(file=io.StringIO(), width=200)
    for event, text, given in events:
        record = logging.makeLogRecord({"msg": text, "levelno": 40, **given})
        if event is not None:
            record.event = event
        handler.emit(record)
    handler.close()
    return handler.console.file.getvalue().splitlines()


def run(cells: int, others: int) -> tuple[LogEvent, str, dict[str, object]]:
    stats = {"train": cells, "edges": others, "total": cells + others}
    return LogEvent.RUN_INFO, "Job stats", {"stats": stats}


def job(number: int, rule: str, *outputs: str) -> list[tuple[LogEvent, str, dict[str, object]]]:
    given = {"jobid": number, "rule_name": rule, "rule_msg": f"Make {rule}", "output": outputs}
    return [(LogEvent.JOB_INFO, "", given), (LogEvent.JOB_FINISHED, "", {"job_id": number})]


def fault(rule: str, log: str, message: str | None) -> tuple[LogEvent, str, dict[str, object]]:
    given = {"rule_name": rule, "rule_msg": message, "log": [f"{log} (check log file(s))"]}
    return LogEvent.JOB_ERROR, f"Error in {log}", given


END = [(None, "Elapsed time: 0:01", {}), (LogEvent.ERROR, FAILED, {"exception": "WorkflowError"})]


def test_a_finished_run_names_what_was_made_and_the_page() -> None:
    tables = ("results/a/tables/x.parquet", "results/a/tables/x.manifest.json (update)")
    lines = told(
        run(1, 2),
        *job(1, "train", CELL.format(0)),
        *job(2, "edges", *tables, "results/a/tables/y.parquet (update)"),
        *job(3, "index", "results/index.html"),
        END[0],
    )
    assert lines[-1].startswith("Done in ")
    assert lines[-1].endswith("s: 1 cell, 2 tables. Open results/index.html")
    assert "Elapsed" not in "".join(lines)
    gathers = {"jobid": 4, "rule_name": "all", "rule_msg": None, "output": []}
    silent = told(run(1, 2), (LogEvent.JOB_INFO, "localrule all:", gathers), END[0])
    assert not any("all" in line for line in silent)
    other = {**gathers, "rule_name": "mine"}
    assert any("mine" in line for line in told(run(1, 2), (LogEvent.JOB_INFO, "rule mine:", other)))
    assert not told(run(1, 0), *job(1, "train", CELL.format(0)))[-1].endswith("index.html")


def test_an_interrupted_run_says_that_it_goes_on() -> None:
    last = told(run(3, 1), *job(1, "train", CELL.format(0)), (None, STOP, {}), *END)[-1]
    assert "with 1 of 3 cells done. Checkpoints are kept: run the same command again" in last
    last = told(run(1, 1), *job(1, "train", CELL.format(0)), (None, STOP, {}), *END)[-1]
    assert "with 1 of 1 cell done: run the same command again" in last


def test_an_interruption_is_said_once() -> None:
    stop = (None, "Will exit after finishing currently running jobs (scheduler).", {})
    restore = (None, "Cannot restore results/a/figures/x.svg: no backup found.", {})
    *_, before, said, last = told(run(1, 1), stop, restore, stop, *END)
    assert (before == stop[1], said) == (False, stop[1])
    assert last.startswith("Interrupted after ")


def test_a_failed_run_has_a_line_for_each_reason(tmp_path: Path) -> None:
    log = tmp_path / "edges.log"
    log.write_text("Traceback\nKeyError: 'gamma'\n  a note\n\n")
    lines = told(
        run(5, 3),
        *job(1, "train", CELL.format(0)),
        *(fault("train", f"{n}.log", "ValueError: labels begin at 1\nmore") for n in range(3)),
        fault("train", "3.log", "out of memory"),
        fault("edges", str(log), None),
        (None, "Exiting because a job execution failed. Look above for error messages", {}),
        *END,
    )
    *reasons, last = lines[-4:]
    assert reasons == [
        "3 cells failed for one reason: ValueError: labels begin at 1 (0.log)",
        "1 cell failed: out of memory (3.log)",
        f"1 edges job failed: KeyError: 'gamma' ({log})",
    ]
    assert "(1 of 5 cells done, which stay, 2 jobs not run): mend this, and run the same" in last
    # Snakemake tells of the first cell of each reason.
    assert [line for line in lines if line.startswith("Error in")] == [
        *("Error in 0.log", "Error in 3.log"),
        f"Error in {log}",
    ]


def test_a_lock_that_was_left_is_answered_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = (LogEvent.ERROR, "Error: Directory cannot be locked.", {"exception": "LockException"})
    assert "snakemake --unlock, then run the same command again" in told(lock)[-1]
    monkeypatch.chdir(tmp_path)
    assert told((None, "Nothing to be done (all).", {})) == ["Nothing to be done (all)."]
    Path("results").mkdir()
    Path("results/index.html").touch()
    assert told((None, "Nothing to be done (all).", {}))[-1].endswith("Open results/index.html")


def test_cells_are_shown_so_far_until_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []

    class SoFar:
        def __init__(self, config: object, say: object) -> None:
            heard.append(config)

        def watch(self) -> None:
            heard.append("watch")

        def stop(self, finished: bool) -> None:
            heard.append(finished)

    monkeypatch.setattr(plugin, "SoFar", SoFar)
    done = job(1, "train", CELL.format(0))
    for config, events, known in (
        ({"study": ["a.yaml"]}, [run(1, 0), *done], ["watch", True]),
        ({"study": ["a.yaml"]}, [run(2, 0), *done, (None, STOP, {}), *END], ["watch", False]),
        ({"study": ["a.yaml"]}, [run(0, 1), *job(1, "edges")], [True]),
        ({}, [run(1, 0), *done], None),
    ):
        heard.clear()
        monkeypatch.setattr(plugin, "CONFIG", config)
        told(*events)
        assert heard == ([] if known is None else [config, *known])
