"""Progress of a study while Snakemake runs it: cells, packs on each device, rate and time left.

Snakemake finds the module by its name; `profiles/default` enables it with `logger: gammascape`. On a terminal
it shows a live display; elsewhere it prints a plain line now and then. Messages of other rules and all errors are
printed in Snakemake's words. Cells are counted from Snakemake's own events, which works with every executor; an
executor that trains in packs adds details on the board.
"""

import json
import time
from collections import deque
from dataclasses import dataclass, field
from logging import WARNING, LogRecord
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from gammascape.durations import count_of, duration
from gammascape.execution import option
from gammascape.execution.board import BOARD, Board
from gammascape.execution.ending import PAGE, UNLOCK, Ending
from gammascape.execution.so_far import CONFIG, SoFar
from gammascape.execution.tasks import TRAIN_RULES
from gammascape.terminal import visible_lines

_PLAIN_INTERVAL = 10.0
"""Seconds between two plain lines."""
_MEMORY = 50
"""Cells over which their rate is taken."""
_BAR = 40
_MOST_DEVICES = 16
_CHATTER = ("Select jobs", "Execute ", "[", "Finished job", "Job rate limit")
_ENDINGS = (
    *("Exiting because a job", "Cannot restore ", "Elapsed time:"),
    "WorkflowError:\nAt least one job did not",
)
"""Snakemake's last words, in place of which `Ending` speaks."""
_STOPPING = ("Terminating processes on user request", "Will exit after finishing")
"""Messages of Snakemake about an interruption, some of them for each job."""
_SILENT = (LogEvent.PROGRESS, LogEvent.JOB_FINISHED, LogEvent.JOB_STARTED, LogEvent.SHELLCMD)


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Command-line options, --logger-gammascape-<name>."""

    jobs: str | None = option(
        None, "File to which each job is appended as a line of JSON instead of being printed.", str
    )


class LogHandler(LogHandlerBase):
    """Log handler that shows progress."""

    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.pace: Pace | None = None
        self.started = time.monotonic()
        self.ending: Ending | None = None
        self.so_far: SoFar | None = None
        self.running: dict[int, tuple[bool, list[str]]] = {}
        """Job -> whether it trains a cell, and its outputs."""
        self.printed = 0.0
        self.live = Live(
            console=self.console,
            get_renderable=lambda: cells_display(self.pace, BOARD),
            refresh_per_second=4,
            transient=True,
        )

    def emit(self, record: LogRecord) -> None:
        """Count the cells' events, and print other messages."""
        try:
            if self._write_down(record):
                return
            if self.common_settings.dryrun or not self._count(record):
                self._print(self.format(record))
        except Exception:
            self.handleError(record)

    def _print(self, text: str) -> None:
        """Print a message, with escapes so that text from users' code and logs cannot control the terminal."""
        self.console.print(visible_lines(text), markup=False, soft_wrap=True)

    def _write_down(self, record: LogRecord) -> bool:
        """Append a job to the file of jobs; return False if the record is not a job, or no file is given."""
        path = self.settings.jobs if isinstance(self.settings, LogHandlerSettings) else None
        if path is None or getattr(record, "event", None) != LogEvent.JOB_INFO:
            return False
        given = vars(record)
        job = {
            "rule": given["rule_name"],
            "wildcards": dict(given["wildcards"]),
            "input": [str(file) for file in given["input"]],
            "output": _outputs(record),
            "reason": given["reason"],
        }
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(job) + "\n")
        return True

    def _count(self, record: LogRecord) -> bool:
        """Process a record; return True if it need not be printed."""
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            stats = getattr(record, "stats", {})
            cells = sum(int(stats.get(rule, 0)) for rule in TRAIN_RULES)
            self.ending = Ending(int(stats.get("total", 0)), cells)
            if CONFIG and not self.common_settings.dryrun:
                self.so_far = SoFar(CONFIG, self._print)
            if cells:
                self.pace = Pace(cells, time.monotonic())
                self._print(
                    f"{count_of(cells, 'cell')} to train; `gammascape plan` says for about how long"
                )
                if self.console.is_terminal:
                    self.live.start()
                if self.so_far is not None:
                    self.so_far.watch()
            return False
        if event == LogEvent.JOB_INFO:
            trains = getattr(record, "rule_name", "") in TRAIN_RULES
            self.running[int(getattr(record, "jobid", -1))] = trains, _outputs(record)
            message = getattr(record, "rule_msg", None)
            if not trains and message:
                self._print(message)
            # The job that only gathers others has nothing to say, nor has a module's, whose name ends so.
            return trains or bool(message) or str(getattr(record, "rule_name", "")).endswith("all")
        if event == LogEvent.JOB_FINISHED:
            trains, outputs = self.running.pop(int(getattr(record, "job_id", -1)), (False, []))
            if self.ending is not None:
                self.ending.finish(trains, outputs)
            if trains:
                self._advance()
            return True
        return (
            self._ends(record)
            or event in _SILENT
            or (
                # Snakemake announces each set of started jobs, which is noise with thousands of cells.
                event is None
                and record.levelno < WARNING
                and record.getMessage().startswith(_CHATTER)
            )
        )

    def _ends(self, record: LogRecord) -> bool:
        """Process a record about an error or the end; return True if it need not be printed."""
        event, text = getattr(record, "event", None), str(record.msg)
        if event == LogEvent.ERROR and getattr(record, "exception", "") == "LockException":
            self._print(f"{text}\n{UNLOCK}")
            return True
        if self.ending is None:
            if text.startswith("Nothing to be done") and Path(PAGE).is_file():
                self._print(f"{text} Open {PAGE}")
                return True
            return False
        if event == LogEvent.JOB_ERROR:
            given = vars(record)
            rule, log = given["rule_name"], next(iter(given["log"]), "")
            what = "cell" if rule in TRAIN_RULES else f"{rule} job"
            # Thousands of cells may fail for one reason: their logs have the rest.
            return not self.ending.fail(what, given["rule_msg"], log.partition(" (")[0])
        if text.startswith(_STOPPING):
            again, self.ending.interrupted = self.ending.interrupted, True
            return again
        self.ending.failed |= event == LogEvent.ERROR or text.startswith(_ENDINGS[0])
        return text.startswith(_ENDINGS)

    def _advance(self) -> None:
        if self.pace is None:
            return
        now = time.monotonic()
        self.pace.finish(now)
        if not self.console.is_terminal and (
            now - self.printed >= _PLAIN_INTERVAL or self.pace.remaining == 0
        ):
            self.printed = now
            words = board_words(BOARD) if BOARD.active else self.pace.words(now)
            line = f"cells: {self.pace.done} of {self.pace.total} done, {words}"
            self.console.print(line, soft_wrap=True)
        if self.pace.remaining == 0:
            self.live.stop()

    def close(self) -> None:
        """Restore the terminal, and say how the run ended."""
        self.live.stop()
        if self.ending is not None and self.so_far is not None:
            self.so_far.stop(self.ending.finished)
        if self.ending is not None and not self.common_settings.dryrun:
            self._print("\n".join(self.ending.lines(time.monotonic() - self.started)))
            self.ending = None
        super().close()


def _outputs(record: LogRecord) -> list[str]:
    # Snakemake marks files that a job updates in place.
    return [str(file).removesuffix(" (update)") for file in vars(record)["output"]]


@dataclass
class Pace:
    """Count of finished cells; times in seconds on one monotonic clock.

    The rate is taken over the last 50 cells: cells that diverge early finish sooner than others, and the grid is
    not in random order, so the mean over the whole run would mislead.
    """

    total: int
    started: float
    done: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))

    @property
    def remaining(self) -> int:
        """Number of cells still to be done."""
        return self.total - self.done

    def finish(self, now: float) -> None:
        """Count one more finished cell."""
        self.done += 1
        self.recent.append(now)

    def rate(self) -> float | None:
        """Cells per second; None before the first two are done."""
        first = self.started if self.done <= _MEMORY else self.recent[0]
        count = self.done if self.done <= _MEMORY else len(self.recent) - 1
        elapsed = self.recent[-1] - first if self.recent else 0.0
        return count / elapsed if self.done > 1 and elapsed > 0 else None

    def words(self, now: float) -> str:
        """Summary: cells left, rate, time left."""
        rate = self.rate()
        if rate is None:
            return f"{self.remaining} left"
        return f"{self.remaining} left, {60 * rate:.0f} a minute, {duration(self.remaining / rate)} to go"


def board_words(board: Board) -> str:
    """Outcomes of cells, rate and time left: `60 trained, 12 diverged; 9,100 cell-steps/s, 20 s to go`."""
    words = board.words()
    rate, left = board.rate(), board.seconds_left()
    if rate:
        words += f"; {rate:,.0f} cell-steps/s"
    if left:
        words += f", {duration(left)} to go"
    return words


def cells_display(pace: Pace | None, board: Board) -> RenderableType:
    """Display for a terminal."""
    if pace is None:
        return Text("")
    head = Table.grid(padding=(0, 1))
    words = board_words(board) if board.active else pace.words(time.monotonic())
    head.add_row(
        "cells",
        ProgressBar(total=pace.total, completed=pace.done, width=_BAR),
        f"{pace.done} of {pace.total}",
        words,
    )
    if not board.active:
        return head
    devices = Table.grid(padding=(0, 2))
    # SLURM jobs come and go: show active ones first, and no more than fit on a screen.
    ordered = sorted(board.devices.items(), key=lambda item: not item[1].lanes)
    for name, state in ordered[:_MOST_DEVICES]:
        doing = (
            f"{state.lanes} lanes, step {state.step:,} of {state.steps:,}"
            if state.lanes
            else "idle"
        )
        devices.add_row(name, f"{state.packs} packs done", doing)
    return Group(head, devices)
