"""Edges of training along eta, at each gamma and seed."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from gammascape.runs.outcome import Thresholds
from gammascape.tables.cells import SLICE_COLUMNS, columns, grouped, with_ends
from gammascape.tables.edges.level import EdgeLevel, Side, edge_levels
from gammascape.tables.statistics.fits import Floats
from gammascape.theory.toy import DATA

THRESHOLD_SCHEMA = SLICE_COLUMNS | columns(
    "depth_exponent:int seed:int data_seed:int gamma_log10 edge:str eta_log10 lower_log10 "
    "upper_log10 bounded:bool estimate_log10 estimate_low_log10 estimate_high_log10 method:str "
    "zone_log10 cell:str toy:bool"
)

LINE = [*SLICE_COLUMNS, "seed", "data_seed", "gamma_log10"]
"""Cells that differ in eta alone."""
_TRAINED = pl.col("status") == "trained"
CONDITIONS: Mapping[str, tuple[Side, pl.Expr]] = {
    "eta_min": ("lower", _TRAINED),
    "eta_max_trained": ("upper", _TRAINED),
    "eta_no_spike": ("upper", _TRAINED & ~pl.col("catapulted")),
    "eta_max_finite": ("upper", pl.col("status") != "diverged"),
}
"""End at which an edge lies, and the condition that half of the cells at it fulfil."""
_NEAR_ONE = 1 - 1e-3


def threshold_table(
    cells: pl.DataFrame,
    depth_exponent: int | None,
    thresholds: Thresholds | None = None,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """The edges of one slice, for each gamma and seed, as sampled etas.

    eta_min          lowest eta of the uninterrupted run of trained cells around the best one
    eta_crit         2 / (N sharpness), the sharpness measured before the first step; SGD's rate is N eta
    eta_no_spike     highest eta of that run up to which no cell of the run catapulted
    eta_max_trained  highest eta of that run
    eta_max_finite   highest eta below the first that diverged, as the paper's code decides
    eta_best         lowest final loss (`deciding`) among cells that trained or stayed untrained

    `lower_log10` and `upper_log10` are the neighbouring sampled etas: eta_max lies between its value and the
    upper neighbour, eta_min between the lower neighbour and its value. `bounded` is False where the
    sampled range ends before the edge does; such a row is only a bound.

    Where outcomes are mixed, a run of cells ends the earlier the more of them are looked at. So another thing is
    fitted: `estimate_log10`, the eta at which half of the cells train (stay calm, stay finite), is the same for
    any density of etas (`tables.edges.level`). `zone_log10` is the width of the zone in which 10 to 90 % do, and
    `estimate_low_log10` and `estimate_high_log10` are the ends of the estimate's interval, null where the sampled
    etas end before. `method` is

    level         outcomes of the line are mixed: posterior mean and interval
    blurred       outcomes of other lines on the same side of gamma = 1 are: the same, with their blur
    grid          no outcomes are mixed: middle of the two etas that bracket the edge, which are the ends
    interpolated  the same, and the loss on both sides is known and below the loss of f = 0: where it crosses
                  `trained_below`, log(-log(relative loss)) being linear in log eta as long as the loss falls
                  exponentially with eta T. Beside a plateau, or a jump, it does not: the ends are the
                  grid's
    measured      the value of eta_crit itself

    Args:
        cells: the table of `tables.cells.cell_table`.
        depth_exponent: L of the model, or None.
        thresholds: those with which the cells were judged; the defaults if None.
        confidence: level of the intervals.
    """
    level = (thresholds or Thresholds()).trained_below
    rows: list[dict[str, Any]] = []
    for shared, line, edges in edges_of_lines(cells, level, confidence):
        shared |= {"depth_exponent": depth_exponent, "toy": line["data_digest"][0] == DATA}
        rows += [shared | edge for edge in edges]
    return pl.DataFrame(rows, schema=THRESHOLD_SCHEMA).sort(
        "gamma_log10", "seed", "data_seed", "edge"
    )


def best_cells(thresholds: pl.DataFrame) -> pl.DataFrame:
    """The rows of the best eta of each gamma and seed."""
    return thresholds.filter(pl.col("edge") == "eta_best")


def cells_of(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """Bounds of log10 eta for each edge, (rows,) each: the input of `tables.statistics.slopes`."""
    estimate = pl.col("estimate_log10")
    exact = pl.col("method").is_in(["level", "measured"]) & estimate.is_not_null()
    lower, upper = (
        rows.select(
            pl.when(exact)
            .then(estimate)
            .otherwise(pl.col(f"estimate_{end}_log10").fill_null(outside))
        )
        .to_series()
        .to_numpy()
        for end, outside in (("low", -np.inf), ("high", np.inf))
    )
    return lower, upper


def edges_of_lines(
    cells: pl.DataFrame, trained_below: float, confidence: float
) -> Iterator[tuple[dict[str, Any], pl.DataFrame, list[dict[str, Any]]]]:
    """Lines of one slice: what cells share, cells by eta, and edges, columns from `edge` on."""
    lines = list(grouped(cells.sort("eta_log10"), LINE))
    levels: list[dict[str, EdgeLevel]] = [{} for _ in lines]
    # Edges that are rough at large gamma can be sharp at small gamma: each side of gamma = 1 has its own blur.
    rich = np.array([shared["gamma_log10"] >= 0 for shared, _ in lines], bool)
    for places in (np.flatnonzero(rich), np.flatnonzero(~rich)):
        if not len(places):
            continue
        of = np.repeat(np.arange(len(places)), [lines[k][1].height for k in places])
        together = pl.concat([lines[k][1] for k in places])
        eta = together["eta_log10"].to_numpy()
        for edge, (side, condition) in CONDITIONS.items():
            good = together.select(condition).to_series().to_numpy()
            known = _known_levels(of.tobytes(), eta.tobytes(), good.tobytes(), confidence)
            for k, of_line in zip(places, known, strict=True):
                if of_line is not None:
                    levels[k][edge] = of_line[side]
    for (shared, line), found in zip(lines, levels, strict=True):
        yield shared, line, _edges_of_line(line, trained_below, found)


@lru_cache(maxsize=16)
def _known_levels(
    line: bytes, eta: bytes, good: bytes, confidence: float
) -> list[dict[Side, EdgeLevel] | None]:
    """`edge_levels`: most outcomes stay as they are where another edge or threshold is looked at."""
    outcomes = np.frombuffer(good, bool)
    return edge_levels(np.frombuffer(line, int), np.frombuffer(eta), outcomes, confidence)


def _edges_of_line(
    line: pl.DataFrame, trained_below: float, levels: Mapping[str, EdgeLevel]
) -> list[dict[str, Any]]:
    etas: list[float] = line["eta_log10"].to_list()
    statuses: list[str] = line["status"].to_list()
    losses: list[float | None] = line["relative_loss"].to_list()
    catapulted: list[bool] = line["catapulted"].to_list()
    names: list[str] = line["cell"].to_list()
    last = len(etas) - 1

    def edge(name: str, position: int, bounded: bool) -> dict[str, Any]:
        return {
            "edge": name,
            "eta_log10": etas[position],
            "lower_log10": etas[position - 1] if position > 0 else None,
            "upper_log10": etas[position + 1] if position < last else None,
            "bounded": bounded,
            "cell": names[position],
        } | estimate(name, position, bounded)

    def estimate(name: str, position: int, bounded: bool) -> dict[str, Any]:
        if name == "eta_best":
            return _best(etas, position) if trained else {}
        level = levels[name]
        ends = level.low, level.high
        if level.zone:
            return _estimate(
                level.estimate, *ends, "level" if level.mixed else "blurred", level.zone
            )
        outside = position - 1 if name == "eta_min" else position + 1
        if (
            name in ("eta_min", "eta_max_trained")
            and bounded
            and {etas[position], etas[outside]} == set(ends)
            and statuses[outside] == "untrained"
        ):
            inner, outer = ((etas[k], losses[k]) for k in (position, outside))
            at = crossing(inner, outer, trained_below)
            return _estimate(at, *ends, "interpolated")
        return _estimate(level.estimate, *ends, "grid")

    edges = _critical(line)
    diverged = [i for i, status in enumerate(statuses) if status == "diverged"]
    best, run = best_and_run(statuses, deciding(line))
    trained = bool(run)
    top_finite = diverged[0] - 1 if diverged else last
    if top_finite >= 0:
        edges.append(edge("eta_max_finite", top_finite, bool(diverged)))
    if best is not None:
        edges.append(edge("eta_best", best, trained and 0 < best < last))
    if run:
        low, high = run[0], run[-1]
        edges.append(edge("eta_min", low, low > 0))
        edges.append(edge("eta_max_trained", high, high < last))
        calm = next((i - 1 for i in run if catapulted[i]), high)
        if calm >= low:
            edges.append(edge("eta_no_spike", calm, calm < last))
    return edges


DECIDING = ("relative_loss", "validation_loss", "validation_accuracy")
"""Columns of the table of cells by which the best cell is chosen."""


def deciding(line: pl.DataFrame) -> list[tuple[float, ...] | None]:
    """Keys of cells, the least of which is the best of a line: wrong answers, then loss on the validation split.

    Without a split it is the final training loss; a regression has losses alone. Where data are fitted, the loss
    of right and sure answers says little, and cross-entropy on other samples grows as networks become sure.
    """
    loss, held_out, right = (line[name] for name in DECIDING)
    if not held_out.count():
        return [None if value is None else (value,) for value in loss]
    pairs = zip(held_out, right, strict=True)
    return [None if value is None else (-(share or 0.0), value) for value, share in pairs]


def best_and_run(
    statuses: Sequence[str], losses: Sequence[tuple[float, ...] | None]
) -> tuple[int | None, range]:
    """Least of `deciding` among cells that trained or stayed untrained, and the run of trained cells around it."""
    able = [
        (loss, k)
        for k, (loss, status) in enumerate(zip(losses, statuses, strict=True))
        if loss is not None and status in ("trained", "untrained")
    ]
    if not able:
        return None, range(0)
    best = min(able)[1]
    others = [k for k, status in enumerate(statuses) if status != "trained"]
    low = max((k + 1 for k in others if k <= best), default=0)
    return best, range(low, min((k for k in others if k >= best), default=len(statuses)))


def _best(etas: list[float], position: int) -> dict[str, Any]:
    """Bracket the best eta, which lies nearer to the best cell's than to its neighbours."""
    at, last = etas[position], len(etas) - 1
    low = (etas[position - 1] + at) / 2 if position > 0 else -np.inf
    high = (at + etas[position + 1]) / 2 if position < last else np.inf
    return _estimate((low + high) / 2, low, high, "grid")


def _critical(line: pl.DataFrame) -> list[dict[str, Any]]:
    measured = line.filter(pl.col("sharpness_init") > 0)
    if measured.is_empty():
        return []
    # The start of a run does not depend on eta; cells computed in different precision differ by rounding.
    value = (2 / (measured["base_width"] * measured["sharpness_init"])).log(10).median()
    assert isinstance(value, float)
    return [
        {
            "edge": "eta_crit",
            "eta_log10": value,
            "lower_log10": value,
            "upper_log10": value,
            "bounded": True,
            "cell": measured["cell"][0],
        }
        | _estimate(value, value, value, "measured", None)
    ]


def crossing(
    inside: tuple[float, float | None], outside: tuple[float, float | None], level: float
) -> float:
    """log10 eta at which the loss crosses a level, from log10 eta and relative loss of two cells."""
    assert inside[1] is not None
    assert outside[1] is not None
    # A loss of exactly zero has no logarithm; one of f = 0 or above has no second one.
    nearest = max(_NEAR_ONE, (1 + level) / 2)
    relative = np.clip([inside[1], outside[1], level], 1e-300, nearest)
    depth = np.log(-np.log(relative))
    share = (depth[2] - depth[0]) / (depth[1] - depth[0])
    return inside[0] + float(np.clip(share, 0, 1)) * (outside[0] - inside[0])


def _estimate(
    estimate: float, low: float, high: float, method: str, zone: float | None = 0.0
) -> dict[str, Any]:
    known = [value if np.isfinite(value) else None for value in (estimate, low, high)]
    found = with_ends("estimate", known[0], known[1:], "_log10")
    return found | {"method": method, "zone_log10": zone}
