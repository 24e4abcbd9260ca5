"""Exponents, prefactors and transfer of the best eta along a factor, and the best gamma against the data."""

from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.factors.axis import MEASURES, name_of
from gammascape.figures.factors.depth_and_batch import depth, prefactors
from gammascape.figures.factors.noise_and_samples import scores_and_best_gamma
from gammascape.figures.factors.transfer import transferred
from gammascape.figures.style import theme
from gammascape.figures.style.tables import count_of, extent, study_line
from gammascape.study.factors import SCALES
from gammascape.tables.factors import LEFT_OUT

__all__ = ["along_factor"]

_NOTHING = {
    "edges": "No edge is bracketed at two gammas: nothing to compare",
    "data": "No cell has a test loss: nothing to compare",
}
_CARRIED = (
    "Test loss against η at the γ that is best at the smallest value, mean over seeds; the best η "
    "there, dashed the smallest value's; what its γ and η lose, as a ratio of test losses, with intervals."
)
_MOVES = "Right: how far each layer's features move there, 1 − CKA with the initialization."


def along_factor(
    factor: str,
    regimes: pl.DataFrame,
    trends: pl.DataFrame,
    performance: pl.DataFrame | None,
    scores: pl.DataFrame | None,
    transfer: pl.DataFrame,
    observables: pl.DataFrame | None,
) -> ChartType:
    """Chart of one factor, a row of panels for each group of slices that are otherwise equal.

    depth               fitted exponents of the largest learning rates against L, with the laws
    width, steps        prefactors of the edges
    batch_size          the same, and these over B, against B
    label_noise         best test accuracy against gamma for each value; best gamma and gain against the value
    training_samples    the same

    Below the first four: test loss against eta at the gamma that is best at the smallest value, the best eta
    against the factor, what the smallest value's gamma and eta lose, and, of the width, how far features move.

    Args:
        factor: one of these.
        regimes: the table `regimes` of the study.
        trends: the table `trends`.
        performance: the table `performance`; None for toys.
        scores: the table `scores`; None for toys.
        transfer: the table `transfer`.
        observables: the table `observables`; None for a study without any.
    """
    rows = regimes.filter(factor=factor)
    left_out = rows.filter(quantity=LEFT_OUT)["slice"].unique(maintain_order=True).to_list()
    rows = rows.filter(pl.col("quantity") != LEFT_OUT)
    groups = rows["group"].unique(maintain_order=True).to_list()
    panels, rowed = [], [False, False]
    for group in groups:
        part = rows.filter(group=group)
        if factor not in SCALES:
            shown = [scores_and_best_gamma(factor, part, performance)]
        else:
            edges = depth(part) if factor == "depth" else prefactors(factor, part)
            own = transfer.filter(factor=factor, group=group)
            shown = [edges, transferred(own, scores, observables)]
            rowed = [old or new is not None for old, new in zip(rowed, shown, strict=True)]
        drawn = [panel for panel in shown if panel is not None]
        if drawn:
            panel = alt.vconcat(*drawn, spacing=28) if len(drawn) > 1 else drawn[0]
            heading = alt.TitleParams(text=group, anchor="start", fontSize=12)
            panels.append(panel.properties(title=heading) if len(groups) > 1 else panel)
    caption = [] if rowed == [False, True] else [_caption(factor)]
    caption += [_CARRIED] if rowed[1] else []
    if factor == "width" and observables is not None:
        caption += [_MOVES] if "initial_cka" in observables["observable"] else []
    figure = theme.Figure(factor, " ".join(caption))
    if not panels:
        counts = "0 fits" if factor in SCALES else "0 cells"
        return figure.empty_chart(_NOTHING["edges" if factor in SCALES else "data"], counts)
    slices = rows["slice"].n_unique()
    seeds = int(extent(rows["seeds"])[1])
    return figure.finish(
        alt.vconcat(*panels, spacing=28) if len(panels) > 1 else panels[0],
        _title(factor, rows, trends.filter(factor=factor), transfer.filter(factor=factor)),
        [
            f"{count_of(slices, 'slice')}, {count_of(seeds, 'seed')} at most"
            f" · intervals: {100 * rows['confidence'][0]:g} %",
            study_line(rows),
            *(
                [f"left out, of another version of the data: {', '.join(left_out)}"]
                if left_out
                else []
            ),
        ],
        width=96,
    )


def _title(factor: str, rows: pl.DataFrame, trends: pl.DataFrame, transfer: pl.DataFrame) -> str:
    if factor in SCALES:
        quantity = "slope" if factor == "depth" else "prefactor_log10"
        found = trends.filter(quantity=quantity, window="rich", edge="eta_max_trained")
        carried = transfer.filter(measure="test_loss").drop_nulls("slope_low")
        if found.height == 1:
            row = found.row(0, named=True)
            base = row["against"].removeprefix("log10 ")
            if factor == "depth":
                what = "Exponent of the largest trained η at large γ: slope"
                return f"{what} {_slope(row)} against 2/L, by theory 1"
            return f"Largest trained η at large γ grows as {base} to the power {_slope(row)}"
        if carried["group"].n_unique() == 1:
            slope = _slope(carried.row(0, named=True))
            return f"Best η goes as the {factor.replace('_', ' ')} to the power {slope}"
        if factor == "depth":
            return "Exponents of the largest learning rates against depth"
        return f"Prefactors of the edges of training against {factor.replace('_', ' ')}"
    best = rows.filter(quantity="best_gamma_log10")
    measure = "accuracy" if "accuracy" in best["measure"] else "test_loss"
    parts = [
        f"{_gamma(row)} at {name_of(factor, row['factor_value'])}"
        for row in best.filter(measure=measure).sort("factor_value").iter_rows(named=True)
    ]
    what = "wrong labels" if factor == "label_noise" else "training samples"
    if not parts or rows["group"].n_unique() > 1:
        return f"Test accuracy against γ, and the best γ against {what}"
    return f"Best γ by {MEASURES[measure]}: {', '.join(parts)} {what}"


def _slope(row: dict[str, Any]) -> str:
    """'0.50 (0.40 to 0.60)'."""
    slope, low, high = (row[f"slope{end}"] + 0.0 for end in ("", "_low", "_high"))
    return f"{slope:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")


def _gamma(row: dict[str, Any]) -> str:
    """'10 (1 to 10²)': the best gamma, and those that cannot be told from it."""
    best = theme.power_of_ten(row["estimate"])
    if row["low"] is None or row["low"] == row["high"]:
        return best
    return f"{best} ({theme.power_of_ten(row['low'])} to {theme.power_of_ten(row['high'])})"


def _caption(factor: str) -> str:
    if factor == "depth":
        return (
            "Fitted exponents of the largest learning rates (up) in each window of γ, against "
            "the depth L (across), with intervals, cut off at the frame; lines are the laws."
        )
    if factor == "batch_size":
        return (
            "Prefactors of the edges η = c γᵖ at the predicted exponents p (above), and these "
            "divided by the batch size B (below), against B, in each window of γ, with intervals; dashed: the "
            "largest trained η of the smallest batch, if η were proportional to B (above) or constant "
            "(below)."
        )
    if factor in SCALES:
        return (
            "Prefactors of the edges η = c γᵖ at the predicted exponents p against the "
            f"{factor}, in each window of γ, with intervals."
        )
    what = {"label_noise": "share of wrong labels", "training_samples": "number of samples"}[factor]
    return (
        "Left: test accuracy (where none is known, test loss) at the learning rate that the other seeds find best "
        f"against γ, one line for each {what}; "
        "bars are intervals over seeds; one seed has none. Right: the best γ, its "
        "bar reaching over all γ that cannot be told from it, and the gain over γ = 1 "
        "with an interval that allows for the choice of γ."
    )
