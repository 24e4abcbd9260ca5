"""Sharpness and alignment during training, below the loss and on its time axis."""

import math

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

WIDTH, HEIGHT = 460, 175
MOST_GAMMAS = 7
"""Gradient descent on a quadratic loss converges while learning rate times curvature is below it."""

_SHARPNESS = "eta_times_sharpness"
_KERNELS = {"kernel_alignment": "last hidden kernel", "ntk_alignment": "tangent kernel (NTK)"}
_FIGURE = theme.Figure(
    "observables",
    "Networks at the learning rate that ended lowest for each feature learning strength γ, coloured "
    "from small γ (dark) to large γ (bright), against the step on a log scale. Top: smoothed "
    "training loss relative to the loss of the output zero. Below, on the probe set: the learning "
    "rate Nη times the largest eigenvalue λ of the loss's Hessian, above 2 of which plain gradient "
    "descent leaves a quadratic minimum; and the debiased centred alignment of kernels with the "
    "targets' kernel (0: unrelated, 1: equal).",
)


def observables(
    observables: pl.DataFrame, thresholds: pl.DataFrame, curves: pl.DataFrame
) -> ChartType:
    """Charts of one slice above one another: loss, N eta lambda, and alignment, against the step.

    The best eta of each gamma, at most MOST_GAMMAS of them, of one seed: the first with most
    measurements. `step` counts from 1, as the loss's does: what was measured after t updates stands beside the
    loss of the next.
    """
    found = (
        observables.join(thresholds.filter(edge="eta_best"), on="cell", how="semi")
        .filter(pl.col("observable").is_in([_SHARPNESS, *_KERNELS]))
        .drop_nulls("value")
    )
    if found.is_empty():
        return _FIGURE.empty_chart(
            "No cell of this slice was measured at its best η", "0 cells, 0 seeds"
        )
    tables.only_slice(found)
    measured = found.group_by("seed", "data_seed").agg(pl.col("observable").n_unique())
    most = measured.sort("observable", "seed", "data_seed", descending=[True, False, False])
    seed, data_seed = most.select("seed", "data_seed").row(0)
    found = found.filter(seed=seed, data_seed=data_seed)
    gammas = found["gamma_log10"].unique().sort().to_list()
    kept = tables.every_kth(gammas, MOST_GAMMAS)
    note = "" if len(kept) == len(gammas) else f" · {len(kept)} of {len(gammas)} γ"
    found = found.filter(pl.col("gamma_log10").is_in(kept)).with_columns(pl.col("step") + 1)
    loss = curves.filter(
        pl.col("gamma_log10").is_in(kept),
        pl.col("step") >= 1,
        pl.col("relative_loss") > 0,
        seed=seed,
        data_seed=data_seed,
    )
    panels = _panels(found, loss, kept)
    return _FIGURE.finish(
        alt.vconcat(*panels, spacing=14).resolve_scale(color="shared"),
        f"{tables.subject(found)}: {_movement(found)}",
        [
            f"{tables.count_of(len(kept), 'cell')} (best η at each of {len(kept)} γ), 1 seed{note}",
            tables.budget_line(found),
        ],
    )


def _panels(measured: pl.DataFrame, loss: pl.DataFrame, gammas: list[float]) -> list[ChartType]:
    longest = max(tables.extent(measured["step"])[1], 2.0)
    panels: list[ChartType] = []
    colour = theme.gamma_colour(gammas, 160, every=True)
    sharp = measured.filter(pl.col("value") > 0, observable=_SHARPNESS)
    kernels = measured.filter(pl.col("observable").is_in(list(_KERNELS))).with_columns(
        pl.col("observable").replace(_KERNELS).alias("kernel")
    )
    last = "kernels" if not kernels.is_empty() else "sharpness"

    if not loss.is_empty():
        low, high = tables.extent(loss["relative_loss"])
        low, high = 0.9 * low, 1.1 * max(1.0, min(high, 10.0))
        y = alt.Y("relative_loss:Q", title="relative loss (dimensionless)")
        y, x = theme.log_scaled(y, low, high), theme.steps_x(longest, labels=False)
        rows = _thin(loss).select("gamma_log10", "step", "relative_loss")
        clip = theme.has_points_outside(rows, step=(1, longest), relative_loss=(low, high))
        lines = alt.Chart(rows).mark_line(strokeWidth=1.6, clip=clip)
        heads = theme.arrow_layers(rows, ["gamma_log10"], "relative_loss", high)
        layers = [lines.encode(x=x, y=y, color=colour, detail="gamma_log10:N")]
        layers += [head.encode(x=x, color=colour) for head in heads]
        panels.append(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT))
    if not sharp.is_empty():
        panels.append(_sharpness(sharp, theme.steps_x(longest, last == "sharpness"), colour))
    if not kernels.is_empty():
        panels.append(_alignment(kernels, theme.steps_x(longest), colour))
    return panels


def _sharpness(sharp: pl.DataFrame, x: alt.X, colour: alt.Color) -> ChartType:
    low, high = tables.extent(sharp["value"])
    low, high = min(low, theme.STABLE_BELOW) / 1.5, max(high, theme.STABLE_BELOW) * 1.5
    y = theme.log_scaled(alt.Y("value:Q", title="Nηλ (dimensionless)"), low, high)
    lines = (
        alt.Chart(sharp.select("gamma_log10", "step", "value"))
        .mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=16))
        .encode(x=x, y=y, color=colour, detail="gamma_log10:N")
    )
    limit = theme.stable_limit(theme.STABLE_BELOW, baseline="bottom", dy=-2)
    return alt.layer(lines, *limit).properties(width=WIDTH, height=HEIGHT)


def _alignment(kernels: pl.DataFrame, x: alt.X, colour: alt.Color) -> ChartType:
    present = [words for words in _KERNELS.values() if words in kernels["kernel"].unique()]
    low = min(0.0, tables.extent(kernels["value"])[0])
    y = alt.Y("value:Q", title="alignment (dimensionless)").scale(domain=[low, 1.0], nice=False)
    base = alt.Chart(kernels.select("gamma_log10", "step", "value", "kernel")).encode(
        x=x, y=y, color=colour, detail="gamma_log10:N"
    )
    dashes = (
        alt.StrokeDash("kernel:N")
        .scale(domain=present, range=[[1, 0], [5, 3]][: len(present)])
        .legend(title="kernel", symbolType="stroke", symbolStrokeColor=theme.INK, symbolSize=260)
    )
    lines = base.mark_line(strokeWidth=1.6).encode(strokeDash=dashes)
    points = base.mark_point(filled=True, size=16, opacity=1)
    return alt.layer(lines, points).properties(width=WIDTH, height=HEIGHT)


def _thin(loss: pl.DataFrame) -> pl.DataFrame:
    """Few enough rows to draw; the last of each line stays."""
    every = -(-loss.height // (tables.ROW_LIMIT // 2))
    return loss.sort("gamma_log10", "step").filter(tables.every_nth_from_last(every, "gamma_log10"))


def _movement(measured: pl.DataFrame) -> str:
    """Movement of the measured values at the largest gamma, in words."""
    gamma = tables.extent(measured["gamma_log10"])[1]
    words: list[str] = []
    for name, what in (
        (_SHARPNESS, "Nηλ"),
        ("kernel_alignment", "the last hidden kernel's alignment"),
        ("ntk_alignment", "the NTK's alignment"),
    ):
        line = measured.filter(gamma_log10=gamma, observable=name).sort("step")
        if not line.is_empty() and len(words) < 2:
            ends = (line["value"][k] for k in (0, -1))
            first, last = map(_positive_text if name == _SHARPNESS else "{:.2f}".format, ends)
            words.append(
                what + (f" stays at {first}" if first == last else f" goes from {first} to {last}")
            )
    return f"at γ = {theme.power_of_ten(gamma)} " + " and ".join(words)


def _positive_text(value: float) -> str:
    return theme.two_digits(math.log10(value)) if value > 0 else f"{value:.2g}"
