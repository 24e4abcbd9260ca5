"""Last lines of a run: what was made and what to open, how to go on after an interruption, or why jobs failed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gammascape.durations import count_of, duration

PAGE = "results/index.html"
_AGAIN = "run the same command again"
_MADE = {".parquet": "table", ".svg": "figure"}
UNLOCK = f"If snakemake was killed here: snakemake --unlock, then {_AGAIN}; training goes on from checkpoints."


@dataclass
class Ending:
    """Jobs of a run, as they end."""

    jobs: int = 0
    cells: int = 0
    """Numbers of all jobs, and of those that train a cell."""
    done: int = 0
    made: Counter[str] = field(default_factory=Counter)
    """Numbers of finished cells, tables and figures."""
    page: bool = False
    reasons: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Kind and reason of a failure -> a log for each job."""
    interrupted: bool = False
    failed: bool = False

    @property
    def finished(self) -> bool:
        """True if all jobs have been done."""
        return self.done >= self.jobs and not (self.reasons or self.interrupted or self.failed)

    def finish(self, trains: bool, outputs: Sequence[str]) -> None:
        """Count a job that has made its outputs."""
        self.done += 1
        kinds = [_MADE.get(Path(path).suffix) for path in outputs]
        self.made.update(["cell"] if trains else filter(None, kinds))
        self.page |= PAGE in outputs

    def fail(self, what: str, message: str | None, log: str) -> bool:
        """Record a failed job, and say whether its reason, or else its log's last flush line, is new."""
        reason = (message or "").strip().partition("\n")[0]
        if not reason and Path(log).is_file():
            lines = Path(log).read_text(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(lines) if line[:1].strip()), "")
        logs = self.reasons.setdefault((what, reason or "see its log"), [])
        logs.append(log)
        return len(logs) == 1

    def lines(self, seconds: float) -> Iterator[str]:
        """Lines to print at the end of a run of so many seconds."""
        cells = f"{self.made['cell']:,} of {count_of(self.cells, 'cell')} done"
        for (what, reason), logs in self.reasons.items():
            many = f"{count_of(len(logs), what)} failed{' for one reason' * (len(logs) > 1)}"
            yield f"{many}: {reason}" + f" ({logs[0]})" * bool(logs[0])
        if self.interrupted:
            kept = ". Checkpoints are kept" if self.made["cell"] < self.cells else ""
            done = f", with {cells}{kept}" if self.cells else ""
            yield f"Interrupted after {duration(seconds)}{done}: {_AGAIN}, and it goes on from there."
        elif self.failed:
            left = self.jobs - self.done - sum(map(len, self.reasons.values()))
            rest = f", {count_of(left, 'job')} not run" if left > 0 else ""
            stays = f" ({cells}, which stay{rest})" if self.cells else rest
            yield f"Failed after {duration(seconds)}{stays}: mend this, and {_AGAIN}."
        else:
            made = ", ".join(count_of(number, kind) for kind, number in self.made.items())
            page = f" Open {PAGE}" if self.page else ""
            yield f"Done in {duration(seconds)}{': ' * bool(made)}{made}.{page}"
