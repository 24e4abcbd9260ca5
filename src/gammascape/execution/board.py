"""Progress of the workers, written by an executor and read by the logger for display.

Both are plugins in one Snakemake process and do not know each other; they communicate through this board.
"""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gammascape.durations import count_of, duration
from gammascape.execution.tasks import Task
from gammascape.manifests.paths import cell_of
from gammascape.manifests.whole import SUMMARY
from gammascape.runs.outcome import Facts, Thresholds, judge

_WINDOW = 30.0
"""Seconds over which the rate is averaged."""

_LEAST = 5.0
"""Seconds of training before there is a rate: workers first load their libraries and data."""
_FEW_DEVICES = 4


@dataclass
class DeviceState:
    """State of one device: packs trained, and the pack being trained."""

    packs: int = 0
    lanes: int = 0
    step: int = 0
    steps: int = 0
    busy_since: float | None = None
    busy_seconds: float = 0.0

    def busy(self, now: float) -> float:
        """Seconds that the device has spent training packs."""
        return self.busy_seconds + (0.0 if self.busy_since is None else now - self.busy_since)


@dataclass
class Board:
    """Counts of expected and ended cells, and the state of each device; times are on one monotonic clock."""

    expected: int = 0
    expected_steps: int = 0
    """Steps of all expected cells; all steps of a cell that ends early count as done."""
    ended_steps: int = 0
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    """Thresholds for the status of cells, by their paths, where a study has other ones than the default."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of cells by outcome: diverged, trained, ..., failed."""
    devices: dict[str, DeviceState] = field(default_factory=dict)
    started: float | None = None
    training_since: float | None = None
    """Time at which the first pack began."""
    _last: float = 0.0
    """Time at which a cell ended last."""
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _guard: threading.RLock = field(default_factory=threading.RLock)

    @property
    def active(self) -> bool:
        """True if an executor has begun to fill in the board."""
        return self.started is not None

    @property
    def done(self) -> int:
        """Number of cells that have ended."""
        return sum(self.counts.values())

    def start(self, devices: Sequence[str]) -> None:
        """Record that training begins on these devices."""
        with self._guard:
            self.started = time.monotonic()
            self.devices = {name: DeviceState() for name in devices}

    def expect(self, steps: Sequence[int]) -> None:
        """Add cells to be trained, for these numbers of steps."""
        with self._guard:
            self.expected += len(steps)
            self.expected_steps += sum(steps)

    def ended(self, task: Task, status: str) -> None:
        """Record that a cell has ended, early or not."""
        status, steps = self._status_in_study(task, status), task.record["steps"]
        with self._guard:
            self._last = time.monotonic()
            self.counts[status] += 1
            self.ended_steps += steps

    def _status_in_study(self, task: Task, status: str) -> str:
        """Status of a cell under its study's thresholds; its own is under the default ones."""
        own = self.thresholds.get(cell_of(f"{task.output}/{SUMMARY}") or "", Thresholds())
        if own == Thresholds() or status == "failed":
            return status
        try:
            summary = json.loads(Path(task.output, SUMMARY).read_bytes())
            return judge(Facts(**summary["facts"]), own).status
        except (OSError, ValueError, KeyError, TypeError):
            return status

    def seconds_left(self) -> float | None:
        """Seconds until all expected cells are done at the present rate; None before a rate is known."""
        rate = self.rate()
        with self._guard:
            running = sum(state.lanes * state.step for state in self.devices.values())
            left = self.expected_steps - self.ended_steps - running
        return max(0, left) / rate if rate else None

    def words(self) -> str:
        """Outcomes of the ended cells: `60 trained, 12 diverged`."""
        with self._guard:
            return ", ".join(f"{n} {status}" for status, n in sorted(self.counts.items()))

    def record_event(self, device: str, event: Mapping[str, Any]) -> None:
        """Record an event of a worker."""
        now = time.monotonic()
        with self._guard:
            state = self.devices.setdefault(device, DeviceState())
            kind = event["event"]
            if kind == "pack":
                state.lanes, state.step, state.steps = event["lanes"], 0, event["steps"]
                state.busy_since = now
                self.training_since = self.training_since or now
            elif kind == "progress":
                state.lanes, state.step = event["lanes"], event["step"]
                state.steps = event["steps"]
                self._recent.append((now, event["cell_steps"]))
            elif kind in ("idle", "warning"):
                state.packs += kind == "idle"
                state.lanes = 0
                # A journal may be read long after it was written.
                spent = event.get("seconds", state.busy(now) - state.busy_seconds)
                state.busy_seconds, state.busy_since = state.busy_seconds + spent, None

    def rate(self) -> float | None:
        """Cell-steps per second of all devices over the last half minute; None before the first."""
        now = time.monotonic()
        with self._guard:
            while self._recent and now - self._recent[0][0] > _WINDOW:
                self._recent.popleft()
            span = min(_WINDOW, now - (self.training_since or now))
            if not self._recent or span < _LEAST:
                return None
            return sum(count for _, count in self._recent) / span

    def report(self) -> str:
        """One line: cells trained, time taken, and device time used."""
        now = time.monotonic()
        # What follows the last cell is no training.
        elapsed = (self._last if self.done >= self.expected else now) - (self.started or now)
        with self._guard:
            packs = sum(state.packs for state in self.devices.values())
            spent = sum(state.busy(now) for state in self.devices.values())
        few = len(self.devices) <= _FEW_DEVICES
        where = ", ".join(self.devices) if few else f"{len(self.devices)} devices or jobs"
        return (
            f"{self.done} of {self.expected} cells in {count_of(max(packs, 1), 'pack')} on {where}: "
            f"{self.words() or 'none has ended'}; {duration(elapsed)}, "
            f"{duration(spent)} of device time"
        )


BOARD = Board()
"""Board of this process."""
