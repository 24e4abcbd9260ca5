"""The phase portrait of one slice: the outcome of every cell of the (gamma, eta) plane."""

from typing import Any

import altair as alt
import numpy as np
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme
from gammascape.figures.style.plane import theory_lines, with_sides
from gammascape.theory import toy as theory
from gammascape.theory.toy import DATA

WIDTH, HEIGHT = 460, 380
_EDGES = ("eta_max_finite", "eta_max_trained", "eta_best", "eta_min")
_POSITION: dict[str, Any] = {"x": "gamma_log10:Q", "y": "eta_log10:Q"}
_LETTER, _HALF_LINE = (
    9,
    12,
)  # pixels of a letter of a label, and from its middle to its end, at most
_CAPTION = (
    "Each tile is one pair of feature learning strength γ (across) and learning rate η (up), "
    "coloured by the final training loss of its best seed relative to the loss of the output "
    "zero (brighter is lower)"
)
_MARKS = (
    "tiles with a mark have no such colour because training diverged, died or ended above its start"
)
_EDGE_SYMBOLS = "symbols joined by lines are the edges that the sampled η bracket"
_DASHED = (
    "dashed lines are power laws of the predicted exponent, with a prefactor fitted to those edges"
)


def portrait(cells: pl.DataFrame, thresholds: pl.DataFrame, scaling: pl.DataFrame) -> ChartType:
    """Chart of one slice from its `cells`; edges and lines come from the other two tables.

    `thresholds` and `scaling` may be a whole study's or empty. Raises ValueError when
    `cells` holds no or several slices.
    """
    key = tables.only_slice(cells)
    # An edge at the end of the sampled range is a bound, and a portrait shows what was measured.
    thresholds = thresholds.filter(pl.col("edge").is_in(_EDGES), "bounded", slice=key)
    thresholds = thresholds.drop_nulls("eta_log10").sort("edge", "gamma_log10", "seed", "data_seed")
    scaling = scaling.filter(slice=key)
    shown, thinning = _tiles(cells)
    if thinning:
        gammas = shown["gamma_log10"].unique().to_list()
        thresholds = thresholds.filter(pl.col("gamma_log10").is_in(gammas))
    lines = theory_lines(scaling)
    edge_lines, edge_points = _edge_layers(thresholds)
    exact = _exact_layers(cells, thresholds)
    dotted = " · dotted: exact edge of stability, and exact η that halves the loss" if exact else ""
    labels, top = _label_layers(lines, thresholds, shown)
    layers = _tile_layers(shown, top) + edge_lines + exact + _theory_layers(lines)
    layers += _mark_layers(shown) + edge_points + labels
    chart = (
        alt.layer(*layers)
        .resolve_scale(color="independent", shape="independent", opacity="independent")
        .properties(width=WIDTH, height=HEIGHT)
    )
    dashed = "" if lines.is_empty() else " · dashed: predicted exponents, fitted prefactors"
    parts = {_MARKS: _off_scale(shown)[1], _EDGE_SYMBOLS: edge_points, _DASHED: dashed}
    caption = "; ".join([_CAPTION, *(words for words, drawn in parts.items() if drawn)])
    return theme.Figure("portrait", f"{caption}.").finish(
        chart,
        _title(cells, scaling),
        [
            tables.status_line(cells) + thinning,
            tables.budget_line(cells),
            f"colour: best seed{dashed}{dotted}",
        ],
    )


def _title(cells: pl.DataFrame, scaling: pl.DataFrame) -> str:
    """Finding of a portrait: the fitted bend of the upper edge, or else the share of the plane that trains."""
    upper = scaling.filter(edge="eta_max_trained")
    slopes = dict(upper.drop_nulls("slope_low").select("window", "slope").iter_rows())
    if "lazy" in slopes and "rich" in slopes:
        lazy, rich = (theme.superscript(f"{slopes[window]:.2f}") for window in ("lazy", "rich"))
        return (
            f"{tables.subject(cells)}: the largest η that trains grows as γ{lazy} at "
            f"small γ and as γ{rich} at large γ"
        )
    pair = ["gamma_log10", "eta_log10"]
    trained = cells.filter(status="trained").select(pair).n_unique()
    if trained == 0:
        return f"{tables.subject(cells)}: nothing trains on this part of the plane"
    pairs = cells.select(pair).n_unique()
    return f"{tables.subject(cells)}: {trained} of {pairs} pairs of γ and η train"


def _tiles(cells: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """One row per (gamma, eta) with the sides of its tile, and a note when gammas are left out."""
    best = (
        cells.sort("relative_loss", "seed", "data_seed", nulls_last=True)
        .group_by("gamma_log10", "eta_log10", maintain_order=True)
        .agg(
            pl.col("status", "relative_loss").first(),
            pl.col("status").sort().str.join(", ").alias("seeds"),
        )
        .sort("gamma_log10", "eta_log10")
    )
    gammas = best["gamma_log10"].unique().sort().to_list()
    kept = tables.every_kth(gammas, tables.ROW_LIMIT * len(gammas) // max(best.height, 1))
    best = best.filter(pl.col("gamma_log10").is_in(kept))
    note = f" (showing {len(kept)} of {len(gammas)} γ)" if len(kept) < len(gammas) else ""
    return with_sides(best), note


def _tile_layers(tiles: pl.DataFrame, top: float) -> list[alt.Chart]:
    """Tiles on the loss scale, and flat ones for the statuses without a place on it, in a frame up to `top`."""
    xs = list(tables.extent(pl.concat([tiles["x"], tiles["x2"]])))
    ys = [tables.extent(tiles["y"])[0], top]
    sides = {
        "x": theme.in_decades(alt.X("x:Q"), theme.GAMMA, xs, grid=False),
        "x2": alt.X2("x2:Q"),
        "y": theme.in_decades(alt.Y("y:Q"), theme.ETA, ys, 12, grid=False),
        "y2": alt.Y2("y2:Q"),
        "tooltip": [
            alt.Tooltip("gamma_log10:Q", title="log₁₀ γ"),
            alt.Tooltip("eta_log10:Q", title="log₁₀ η"),
            alt.Tooltip("status:N", title="best seed"),
            alt.Tooltip("relative_loss:Q", title="relative final loss", format=".3~g"),
            alt.Tooltip("seeds:N", title="all seeds"),
        ],
    }
    layers = []
    flat, present = _off_scale(tiles)
    if present:
        scale = theme.named_scale(present, theme.STATUS_WORDS, theme.STATUS_TILES)
        base = alt.Chart(flat).mark_rect(stroke="white", strokeWidth=0.4)
        colour = alt.Color("ending:N", scale=scale, legend=None)
        layers.append(base.encode(color=colour, **sides))
    loss = tiles.filter(pl.col("status").is_in(["trained", "untrained"]))
    if not loss.is_empty():
        low = max(min(tables.extent(loss["relative_loss"])[0], 0.5), 1e-12)
        scale = alt.Scale(
            type="log", scheme=theme.LOSS_SCHEME, reverse=True, domain=[low, 1.0], clamp=True
        )
        legend = alt.Legend(
            title="relative final loss (dimensionless)",
            values=theme.round_values(low, 1.0),
            format="~g",
            gradientLength=120,
        )
        base = alt.Chart(loss).mark_rect(stroke="white", strokeWidth=0.4)
        colour = alt.Color("relative_loss:Q", scale=scale, legend=legend)
        layers.append(base.encode(color=colour, **sides))
    return layers


def _mark_layers(tiles: pl.DataFrame) -> list[alt.Chart]:
    """A mark on either side of each flat tile: the measured edges are drawn in the middle."""
    flat, present = _off_scale(tiles)
    if not present:
        return []
    ink = theme.named_scale(present, theme.STATUS_WORDS, theme.STATUS_INKS)
    mark = theme.named_scale(present, theme.STATUS_WORDS, theme.STATUS_MARKS)
    shown = alt.Legend(title="not on the loss scale", symbolSize=50)
    layers = []
    for share, legend in ((0.17, shown), (0.83, None)):
        place = pl.col("x") + share * (pl.col("x2") - pl.col("x"))
        layers.append(
            alt.Chart(flat.select("ending", "eta_log10", place.alias("place")))
            .mark_point(size=16, strokeWidth=1.1, filled=False, opacity=1)
            .encode(
                x="place:Q",
                y="eta_log10:Q",
                shape=alt.Shape("ending:N", scale=mark, legend=legend),
                color=alt.Color("ending:N", scale=ink, legend=legend),
            )
        )
    return layers


def _off_scale(tiles: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The tiles without a loss colour, with `ending` in words, and the statuses among them."""
    flat = tiles.filter(pl.col("status").is_in(list(theme.STATUS_TILES)))
    present = [status for status in theme.STATUS_TILES if status in flat["status"]]
    return flat.with_columns(pl.col("status").replace(theme.STATUS_WORDS).alias("ending")), present


def _edge_layers(thresholds: pl.DataFrame) -> tuple[list[alt.Chart], list[alt.Chart]]:
    """The line and the symbols of each edge, black and white so that they show on any tile."""
    if thresholds.is_empty():
        return [], []
    mean = (
        thresholds.group_by("edge", "gamma_log10")
        .agg(pl.col("eta_log10").mean())
        .sort("edge", "gamma_log10")
        .with_columns(pl.col("edge").replace(theme.EDGE_WORDS).alias("measured"))
    )
    present = [edge for edge in theme.EDGE_ORDER if edge in mean["edge"]]
    base = alt.Chart(mean).encode(**_POSITION)
    detail = alt.Detail("measured:N")
    lines = [
        base.mark_line(color=theme.HALO, strokeWidth=3, strokeOpacity=0.8).encode(detail=detail),
        base.mark_line(color="black", strokeWidth=1).encode(detail=detail),
    ]
    points = base.mark_point(size=42, strokeWidth=1.2, opacity=1).encode(
        shape=alt.Shape(
            "measured:N",
            scale=theme.named_scale(present, theme.EDGE_WORDS, theme.EDGE_SHAPES),
            legend=alt.Legend(title="measured edge (mean over seeds)", symbolSize=50),
        ),
        fill=alt.value("white"),
        stroke=alt.value("black"),
    )
    return lines, [points]


def _exact_layers(cells: pl.DataFrame, thresholds: pl.DataFrame) -> list[alt.Chart]:
    """Lines of a toy: the eta at which its minimum turns unstable, and the one that halves its loss in T steps."""
    if cells["data_digest"][0] != DATA or thresholds.is_empty():
        return []
    depth, loss, steps = thresholds.select("depth_exponent", "loss", "steps").row(0)
    at = np.linspace(*tables.extent(cells["gamma_log10"]), 100)
    edges = (theory.eta_critical(10**at, depth, loss), theory.eta_min(10**at, depth, loss, steps))
    layers: list[alt.Chart] = []
    for eta in edges:
        line = pl.DataFrame({"gamma_log10": at, "eta_log10": np.log10(eta)})
        line = line.filter(pl.col("eta_log10").is_between(*tables.extent(cells["eta_log10"])))
        base = alt.Chart(line).encode(**_POSITION)
        layers.append(base.mark_line(color=theme.HALO, strokeWidth=4, strokeOpacity=0.8))
        layers.append(base.mark_line(color=theme.INK, strokeWidth=1.6, strokeDash=[1.5, 3]))
    return layers


def _theory_layers(lines: pl.DataFrame) -> list[alt.Chart]:
    """Dashed guide lines over their windows."""
    layers: list[alt.Chart] = []
    for line in lines.iter_rows(named=True):
        ends = [line["from_log10"], line["to_log10"]]
        etas = [_eta_on(line, gamma) for gamma in ends]
        points = pl.DataFrame({"gamma_log10": ends, "eta_log10": etas})
        base = alt.Chart(points).encode(**_POSITION)
        colour = theme.EDGE_COLOURS[line["edge"]]
        layers.append(base.mark_line(color=theme.HALO, strokeWidth=5, strokeOpacity=0.85))
        layers.append(base.mark_line(color=colour, strokeWidth=3, strokeDash=[8, 4]))
    return layers


def _eta_on(line: dict[str, Any], gamma: float) -> float:
    """log10 eta of a guide line at log10 gamma."""
    return float(line["prefactor_at_predicted_log10"] + line["predicted_slope"] * gamma)


def _label_layers(
    lines: pl.DataFrame, thresholds: pl.DataFrame, tiles: pl.DataFrame
) -> tuple[list[alt.Chart], float]:
    """Each law in words beside its line, clear of the measured edges around it and of the axis.

    Returns:
        Layers, and the upper end of a frame that leaves room for them above the tiles.
    """
    layers: list[alt.Chart] = []
    left, right = tables.extent(tiles["x"])[0], tables.extent(tiles["x2"])[1]
    low, high = tables.extent(tiles["y"])[0], tables.extent(tiles["y2"])[1]
    slant = HEIGHT / (high - low) / (WIDTH / (right - left))
    top = high
    for line in lines.iter_rows(named=True):
        law = theme.power_law(line["predicted_slope"], line["prefactor_at_predicted_log10"])
        steep = line["window"] == "lazy"
        uppers = lines.filter(pl.col("window") == line["window"], pl.col("edge") != "eta_min")
        # Of two upper edges in one window the lower one is named below its line.
        crowded = line["edge"] == "eta_max_trained" and uppers.height > 1
        above = line["edge"] != "eta_min" and not crowded
        gamma = (line["from_log10"] + line["to_log10"]) / 2
        if above and steep:  # the text ends at gamma
            gamma = max(gamma, left + _LETTER * len(law) * (right - left) / WIDTH)
        eta = _eta_on(line, gamma)
        if not crowded:
            near = thresholds.filter((pl.col("gamma_log10") - gamma).abs() <= 0.6)["eta_log10"]
            eta = max([eta, *near]) if above else min([eta, *near])
        text = pl.DataFrame({"gamma_log10": [gamma], "eta_log10": [eta], "law": [law]})
        base = alt.Chart(text).encode(**_POSITION, text="law:N")
        # Half of a text in the middle of a line lies where the line has risen towards it.
        rise = 0.0 if steep else line["predicted_slope"] * _LETTER * len(law) / 2 * slant
        away = 15 + max(0.0, rise - 6)
        place = {"dy": -away if above else away, "baseline": "middle", "fontSize": 13}
        if above:  # where this share of the height is over the line
            top = max(top, low + (eta - low) / (1 - (away + _HALF_LINE) / HEIGHT))
        align = ("right" if above else "left") if steep else "center"
        colour = theme.EDGE_COLOURS[line["edge"]]
        layers += theme.haloed(base, colour, 5, **place, align=align, fontWeight="bold")
    return layers, top
