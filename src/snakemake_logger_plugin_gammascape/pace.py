"""Rate of finished cells, and the time left."""

from collections import deque
from dataclasses import dataclass, field

from gammascape.durations import duration

_MEMORY = 50


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
    def left(self) -> int:
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
            return f"{self.left} left"
        return f"{self.left} left, {60 * rate:.0f} a minute, {duration(self.left / rate)} to go"
