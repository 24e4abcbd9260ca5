"""Find edges of training: choose learning rates, train them, and choose again.

Begin at each gamma where the study says, or around 2 over the curvature of the networks before training, and go
on in rounds until every edge that the maps of the study ask for is bracketed, or known not to be there. The points
are in a file beside the study, which snakemake reads; after an interruption the same command goes on. At the end
all tables and figures are made. Options of snakemake come last, after --.
"""

import argparse
import fcntl
import itertools
import math
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TextIO

import polars as pl

from gammascape.command import UserError, child_environment
from gammascape.commands import STUDY_FILE, study_file
from gammascape.durations import count_of, duration
from gammascape.execution.runs import is_working
from gammascape.execution.so_far import OFF, SoFar
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS, RESULTS
from gammascape.provenance.dryrun import study_options
from gammascape.provenance.project import open_project
from gammascape.runs.outcome import Thresholds
from gammascape.study import Slice, Study, StudyError
from gammascape.study.keys.exact import decimal_text
from gammascape.study.points import Point, points_path, write_points
from gammascape.study.reading.errors import study_error
from gammascape.tables.cells import read_table
from gammascape.tables.edges.gammas import further_gammas
from gammascape.tables.edges.refine import MapState, Wanted, refine
from gammascape.tables.toy import toy_cell_table
from gammascape.terminal import say
from gammascape.theory import toy
from gammascape.workflow.plan import BEGINNING, Plan

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_GIVEN = "start, given by begin"
"""Reason of the first etas of a map that says where it begins."""
_LOCK = Path(".snakemake/gammascape-map")
Added = dict[str, list[Wanted]]
"""Points by slice."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("study", type=study_file, metavar="STUDY", help=f"{STUDY_FILE}, with a map")
    parser.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="device time to spend, such as 45s, 20m or 1.5h, on the widest brackets first; the cells of the "
        "first round are always trained",
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="number of rounds at most")


def _rounds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"needs a number of rounds, 0 or more, got {text}")
    return int(text)


def run(chosen: argparse.Namespace) -> int:
    """Run rounds, and make all tables and figures; return the exit status of snakemake."""
    path = Path(chosen.study)
    if any(
        re.match("-C|--config(=|$)|(-[Fkp]*n[Fkp]*|--dry-?run)$", word) for word in chosen.after
    ):
        raise UserError(
            "--config after -- would replace the study, write its values into config/config.yaml; and "
            "--dry-run makes no tables to decide from"
        )
    plan, study = load(path)
    if not study.maps:
        raise StudyError(f"{path}: no grid has a map; write eta: {{map: {{}}}} in one")
    if study.edited:
        say(f"{points_path(path)}: edited by hand; going on from the points that it has now")
    if study.left_out:
        say(*str(study_error(f"{points_path(path)}: left out", study.left_out)).splitlines())
    before = {cell.path for cell in study.cells if (CELLS / cell.path / FILE_NAME).is_file()}
    options = [*study_options([chosen.study]), *chosen.after]
    with _snakemake_of(options) as snakemake, _so_far(plan):
        if begun := _begin(plan, study, snakemake):
            given = {one.why for several in begun.values() for one in several} == {_GIVEN}
            where = "where the study says" if given else "around the predicted edges"
            say(f"round 0: {_count(study, begun)} {where}")
        # Even if nothing begins: snakemake takes no points that the study does not map any more.
        _write(study, begun, 0)
        for left in itertools.count(math.inf if chosen.rounds is None else chosen.rounds, -1):
            plan, study = load(path)
            mapped = [part for part in study.slices if part.key in study.maps]
            snakemake([_table(study, part) for part in mapped if not part.is_toy])
            wanted, states, table = look(plan, study)
            spent = float(table.filter(~pl.col("cell").is_in(list(before)))["seconds"].sum())
            line = f"{_progress(states)}; {duration(spent)} of device time"
            rates = dict(table.group_by("slice").agg(pl.col("seconds").mean()).iter_rows())
            if chosen.budget is not None:
                wanted = _affordable(study, wanted, rates, chosen.budget - spent)
                line += f" of {duration(chosen.budget)}"
            if not wanted or left <= 0:
                say(f"map: {line}", *_none(states))
                break
            number = 1 + max(
                point.round
                for gammas in study.points.values()
                for etas in gammas.values()
                for point in etas.values()
            )
            time_left = duration(_seconds_left(study, wanted, rates))
            say(f"round {number}: {_count(study, wanted)}; {line}, about {time_left} left")
            _write(study, wanted, number)
        snakemake()
    return 0


def look(plan: Plan, study: Study) -> tuple[Added, list[MapState], pl.DataFrame]:
    """Points that a study's maps need beyond its cells, the state of each edge, and the table of cells."""
    level = float(plan.analysis(study.name)["trained_below"])
    tables = {p.key: _cells(plan, study, p) for p in study.slices if p.key in study.maps}
    wanted: Added = {}
    states: list[MapState] = []
    for key, table in tables.items():
        points = study.points[key]
        found, known = refine(table, study.maps[key], _begun(points), level)
        new = [one for one in found if one.eta not in points[one.gamma]]
        new = new or further_gammas(table, study.maps[key], level)
        wanted |= {key: new} if new else {}
        states += known
    return wanted, states, pl.concat(tables.values())


def load(path: Path) -> tuple[Plan, Study]:
    """Plan of a study whose map may have no points yet, and the study."""
    plan = open_project([str(path)], begin=True)
    return plan, plan.studies[path.stem]


def _begin(plan: Plan, study: Study, snakemake: "Snakemake") -> Added:
    """First points at each gamma that has none."""
    begun: Added = {}
    for part in study.slices:
        needed = {gamma for gamma, one in study.maps.get(part.key, {}).items() if one.needed}
        new = needed - study.points.get(part.key, {}).keys()
        if not new:
            continue
        maps = study.maps[part.key]
        measured = {gamma for gamma in new if maps[gamma].map.begin is None}
        critical = _critical(plan, study, part, measured, snakemake) if measured else {}
        for gamma in sorted(new):
            etas = [Fraction(str(round(x, 6))) for x in critical.get(gamma, ()) if math.isfinite(x)]
            ends = (min(etas), max(etas)) if etas else None
            texts = dict.fromkeys(f"10^{float(x):.2f}" for x in ends or ())
            why = f"start, critical eta {' to '.join(texts) or 'unknown'}"
            why = why if gamma in measured else _GIVEN
            spec = maps[gamma].map
            begun.setdefault(part.key, []).extend(
                Wanted(gamma, eta, why, math.inf)
                for eta in spec.start(gamma, part.loss, part.depth_exponent, ends)
            )
    return begun


def _critical(
    plan: Plan, study: Study, part: Slice, gammas: Set[Decimal], snakemake: "Snakemake"
) -> dict[Decimal, list[float]]:
    """log10 of the critical eta before training of each seed, by log10 gamma."""
    depth = part.depth_exponent
    if part.is_toy:
        assert depth is not None  # a toy has one
        values = {
            gamma: toy.initial_scale(10.0 ** float(gamma), depth, part.loss) for gamma in gammas
        }
        return {gamma: [math.log10(2 / value)] for gamma, value in values.items()}
    of_seeds = {
        (cell.gamma, cell.seed): cell for cell in part.cells if Decimal(cell.gamma) in gammas
    }
    cells = list(of_seeds.values())
    from gammascape.data.load import load_dataset
    from gammascape.data.prepared import DataError
    from gammascape.training.backend import one_line
    from gammascape.training.capacity import CapacityError
    from gammascape.training.critical import critical_etas
    from gammascape.training.device import alone_on, set_up_backend
    from gammascape.usercode.run import UserCodeError, provide

    reads = plan.reads(cells[0].path)
    data = next((path for path in reads if path.startswith(f"{RESULTS}/data/")), None)
    if data is not None and not Path(data).is_file():
        snakemake([data], begins=True)
    for sources in study.sources:
        provide(sources.files.values())
    device, _ = set_up_backend()

    def measured() -> list[float]:
        # Free the data before another process gets the GPU.
        options = cells[0].dataset.model_dump(mode="json")
        dataset = load_dataset(options, None if data is None else Path(data), device)
        return critical_etas([cell.record() for cell in cells], dataset, device)

    try:
        with alone_on(device):
            etas = measured()
    except (CapacityError, DataError, UserCodeError) as error:
        raise StudyError(f"{study.path}: {part.key}: {error}") from None
    except RuntimeError as error:
        # Such as memory, or a network that cannot be differentiated twice; later rounds find its edges.
        why = one_line(error)
        say(f"{part.key}: begins without the curvature, which cannot be measured: {why}")
        etas = [math.nan] * len(cells)
    found: dict[Decimal, list[float]] = {}
    for cell, eta in zip(cells, etas, strict=True):
        found.setdefault(Decimal(cell.gamma), []).append(eta)
    return found


def _begun(points: Mapping[Decimal, Mapping[Decimal, Point]]) -> dict[Decimal, list[Decimal]]:
    """Etas of the first round of each gamma."""
    begun = {}
    for gamma, etas in points.items():
        first = min(point.round for point in etas.values())
        begun[gamma] = sorted(eta for eta, point in etas.items() if point.round == first)
    return begun


def _write(study: Study, added: Added, number: int) -> None:
    points = {
        key: {gamma: dict(etas) for gamma, etas in gammas.items()}
        for key, gammas in study.points.items()
    }
    for key, several in added.items():
        for one in several:
            etas = points.setdefault(key, {}).setdefault(one.gamma, {})
            etas.setdefault(one.eta, Point(number, one.why))
    networks = {k: one.network for k, maps in study.maps.items() for one in maps.values()}
    write_points(study.path, points, networks)


def _table(study: Study, part: Slice) -> str:
    return f"{RESULTS}/{study.name}/tables/cells/{part.key}.parquet"


def _cells(plan: Plan, study: Study, part: Slice) -> pl.DataFrame:
    """The table `cells` of a slice; a toy's is computed here, without snakemake."""
    if not part.is_toy:
        path = Path(_table(study, part))
        table = read_table(path) if path.is_file() else None
        if table is None or {*table["cell"]} != {cell.path for cell in part.cells}:
            raise UserError(
                f"gammascape map: snakemake ended without making {path} from all cells; "
                "remove options after -- that prevent this, such as --until or --directory"
            )
        return table
    thresholds = Thresholds.from_analysis(plan.analysis(study.name))
    points = [(cell.gamma, cell.eta, cell.path) for cell in part.cells]
    assert part.depth_exponent is not None  # a toy has one
    labels = plan.labels(study.name, part.key)
    return toy_cell_table(points, part.depth_exponent, labels, thresholds)


def _affordable(study: Study, wanted: Added, rates: Mapping[str, float], seconds: float) -> Added:
    """Points that the device time suffices for, widest brackets first."""
    ordered = sorted(
        ((key, one) for key, several in wanted.items() for one in several),
        key=lambda item: (-item[1].gap, item[0], item[1].gamma, item[1].eta),
    )
    chosen: Added = {}
    for key, one in ordered:
        seconds -= rates[key] * len(study.maps[key][one.gamma].seeds)
        if seconds < 0:
            break
        chosen.setdefault(key, []).append(one)
    return chosen


def _seconds_left(study: Study, wanted: Added, rates: Mapping[str, float]) -> float:
    """Device time that a map may still take, by the points to expect at each gamma that goes on."""
    seconds = 0.0
    for key, several in wanted.items():
        for gamma, new in Counter(one.gamma for one in several).items():
            mapped, points = study.maps[key][gamma], study.points[key].get(gamma, {})
            begun = sum(point.round == 0 for point in points.values())
            more = max(new, mapped.map.expected(begun) - len(points))
            seconds += (rates[key] or 0.0) * more * len(mapped.seeds)
    return seconds


def _count(study: Study, added: Added) -> str:
    maps = study.maps
    places = [(key, one.gamma) for key, several in added.items() for one in several]
    text = count_of(sum(len(maps[key][gamma].seeds) for key, gamma in places), "new cell")
    new = sum(gamma not in study.points.get(key, {}) for key, gamma in set(places))
    return f"{text} at {count_of(new, 'new gamma')}" if new and study.points else text


def _progress(states: Sequence[MapState]) -> str:
    counts = Counter(state.state for state in states)
    gaps = [state.gap for state in states if state.state == "open"]
    widest = max(gaps, default=0.0)
    text = f"{counts['found']:,} of {count_of(len(states), 'edge')} bracketed"
    text += f", {counts['none']:,} absent" if counts["none"] else ""
    if gaps:
        unit = "decades" if widest > 1 else "of a decade"
        wide = f"{widest:g} {unit}" if math.isfinite(widest) else "open to one side"
        text += f", the widest bracket {wide}"
    return text


def _none(states: Sequence[MapState]) -> Iterator[str]:
    """Absent edges, by reason."""
    why: dict[tuple[str, str], list[str]] = {}
    for state in states:
        if state.state == "none":
            why.setdefault((state.why, state.edge), []).append(decimal_text(state.gamma))
    for (reason, edge), gammas in why.items():
        yield f"  no {edge} at log10 gamma {', '.join(gammas)}: {reason}"


class Snakemake:
    """Call snakemake on the study, one call at a time in this folder."""

    def __init__(self, options: Sequence[str], lock: TextIO) -> None:
        self._options, self._lock = options, lock

    def __call__(self, targets: Sequence[str] | None = None, begins: bool = False) -> None:
        """Make some files; all that the study has if `targets` is None.

        Raises:
            UserError: if snakemake fails.
        """
        if targets is None or targets:
            self._lock.write("at work")
            self._lock.flush()
            self._run([*(targets or ()), *self._options], {BEGINNING: "1"} if begins else {})

    def unlock(self) -> None:
        """Free the folder, if a call of snakemake was killed with the command that made it."""
        self._lock.seek(0)
        if self._lock.read():
            if is_working():
                raise UserError(
                    "gammascape map: it was killed, and a snakemake is at work in this folder; wait for that one"
                )
            self._run(["--unlock", *self._options], {BEGINNING: "1"})

    def _run(self, options: Sequence[str], more: Mapping[str, str]) -> None:
        try:
            status = self._call(options, more)
        except KeyboardInterrupt:
            self._lock.truncate(0)
            raise
        # One that is killed leaves the folder locked, and the next call of this command frees it.
        if status >= 0:
            self._lock.truncate(0)
        if status:
            raise UserError("gammascape map: snakemake failed, see above; call this again to go on")

    def _call(self, options: Sequence[str], more: Mapping[str, str]) -> int:
        command = [sys.executable, "-m", "snakemake", *options]
        # The lock is held until both processes have ended.
        lock = [self._lock.fileno()]
        process, ended = None, False

        def end(*_: object) -> None:
            nonlocal ended
            ended = True
            if process is not None:
                process.terminate()

        # Ctrl-C goes to both processes, a kill of this one has to be passed on.
        before = signal.signal(signal.SIGTERM, end)
        try:
            process = subprocess.Popen(
                command, env=child_environment(**{OFF: "1"}, **more), pass_fds=lock
            )
            if ended:
                process.terminate()
            return process.wait()
        except KeyboardInterrupt:
            if process is not None:
                process.wait()  # it writes checkpoints
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            if ended:
                raise KeyboardInterrupt


@contextmanager
def _so_far(plan: Plan) -> Iterator[None]:
    """Show the cells between and within rounds."""
    so_far, finished = SoFar(plan.config.model_dump(mode="json"), say), False
    so_far.watch()
    try:
        yield
        finished = True
    finally:
        so_far.stop(finished)


@contextmanager
def _snakemake_of(options: Sequence[str]) -> Iterator[Snakemake]:
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "gammascape map is at work in this folder, or the snakemake of one that was killed; wait for it"
            ) from None
        snakemake = Snakemake(options, lock)
        snakemake.unlock()
        yield snakemake


def seconds(text: str) -> float:
    """Seconds of a time with a unit."""
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"needs a time such as 45s, 20m or 1.5h, got {text}")
    return float(found[1]) * _UNITS[found[2]]
