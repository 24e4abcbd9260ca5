"""Similarity of the representations of trained networks, across architectures and across gamma."""

import math
from itertools import product
from typing import Any

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.style import tables, theme

MAP_SIZE = 480
LINE_WIDTH, LINE_HEIGHT = 300, 300
GROUP = ["dataset", "loss", "batch_size", "steps"]
_ENDS = ["model_a", "gamma_a_log10", "model_b", "gamma_b_log10"]
_STEADY = 0.02  # changes of the mean CKA smaller than this are not called a rise or a fall
_MEAN, _PAIR, _SAME = (
    "mean of all pairs",
    "one pair of architectures",
    "same architecture, other seed",
)
_MAP = (
    "similarity (linear CKA, from 0 to 1) of the last hidden layers of every two trained networks at the end of "
    "their runs, in blocks by architecture and ordered by feature learning strength γ inside each block, blank "
    "where there is no pair of different networks."
)
_LINES = " Right: the same for pairs of equal γ, against γ."


def similarity(pairs: pl.DataFrame) -> ChartType:
    """Heat map of all pairs in `pairs` beside the CKA of equal-gamma pairs against gamma.

    Shown are last hidden layers at equal steps; `similarity_trend` shows equal loss. Data sets, losses
    and budgets are never mixed: each gets a row of its own.
    """
    pairs = pairs.filter(at="steps", depth_a=1.0, depth_b=1.0)
    if pairs["cka"].null_count() == pairs.height:
        return theme.Figure("similarity", "").empty_chart(
            "There is no pair of trained networks to compare", "0 cells, 0 seeds"
        )
    parts = pairs.sort(GROUP, maintain_order=True).partition_by(GROUP, maintain_order=True)
    shown = [_thin(part, tables.ROW_LIMIT * 3 // 4 // len(parts)) for part in parts]
    rows = []
    for full, part in zip(parts, shown, strict=True):
        charts: list[Any] = [_heat_map(part)]
        lines = _equal_gamma(part)
        if not lines.is_empty():
            charts.append(_line_chart(lines))
        row = alt.hconcat(*charts, spacing=40).resolve_scale(color="independent")
        heading = f"{full['dataset'][0]}, {tables.budget_line(full)}"
        rows.append(row.properties(title=heading) if len(parts) > 1 else row)
    drawn, total = (
        sum(part["gamma_a_log10"].n_unique() for part in tables) for tables in (shown, parts)
    )
    note = f" · {drawn} of {total} γ shown" if drawn < total else ""
    equal = pl.concat([_equal_gamma(part) for part in parts])
    caption = f"Left: {_MAP}{_LINES}" if equal.height else f"{_MAP[0].upper()}{_MAP[1:]}"
    return theme.Figure("similarity", caption).finish(
        alt.vconcat(*rows, spacing=30),
        _title(equal),
        [_counts(pairs) + note, tables.study_line(pairs), *_blanks(pairs)],
        width=96,
    )


def _thin(part: pl.DataFrame, most: int) -> pl.DataFrame:
    """Evenly fewer gammas until the pairs fit into `most` rows."""
    gammas = part["gamma_a_log10"].unique().sort().to_list()
    models = max(1, part["model_a"].n_unique())
    kept = tables.every_kth(gammas, max(1, math.isqrt(most) // models))
    return part.filter(pl.col("gamma_a_log10").is_in(kept), pl.col("gamma_b_log10").is_in(kept))


def _heat_map(part: pl.DataFrame) -> ChartType:
    models = part["model_a"].unique().sort().to_list()
    gammas = part["gamma_a_log10"].unique().sort().to_list()
    side = MAP_SIZE / len(models)
    lowest = min([0.9, *part["cka"].drop_nulls()])
    domain = [math.floor(10 * lowest) / 10, 1.0]
    tenths = range(10, round(10 * domain[0]) - 1, -1 if domain[0] >= 0.5 else -2)

    def ticks(pixels: float) -> list[float]:
        """All gammas, or as many as can be so many pixels apart, round ones if there are several."""
        if side / len(gammas) >= pixels:
            return gammas
        # Labels at the ends of a block would run into the next one's.
        inner = gammas[1:-1] if len(models) > 1 and len(gammas) > 2 else gammas
        most = side * (len(inner) - 1) / len(gammas) / pixels
        round_ones = [g for g in theme.decades(inner[0], inner[-1], most) if g in gammas]
        return round_ones if len(round_ones) > 1 else tables.every_kth(inner, max(2, int(most)))

    def axis(pixels: float) -> alt.Axis:
        return alt.Axis(
            title="γ", values=ticks(pixels), labelExpr=theme.DECADES, labelAngle=0, labelFontSize=9
        )

    tiles = part.select(*_ENDS, "cka", "seed_pairs")
    # Vega places maps one after another, so a pair of models that are not compared needs a blank one.
    ends = ["model_a", "model_b"]
    every = pl.DataFrame(list(product(models, models)), schema=ends, orient="row")
    blank = every.join(tiles, on=ends, how="anti").with_columns(
        gamma_a_log10=pl.lit(gammas[0]), gamma_b_log10=pl.lit(gammas[0])
    )
    chart: alt.Chart = (
        alt.Chart(pl.concat([tiles, blank], how="diagonal").sort(_ENDS))
        .mark_rect(invalid=None)
        .encode(
            opacity=alt.condition("isValid(datum.cka)", alt.value(1), alt.value(0)),
            x=alt.X("gamma_b_log10:O", axis=axis(26)).scale(domain=gammas),
            y=alt.Y("gamma_a_log10:O", axis=axis(14)).scale(domain=gammas[::-1]),
            color=alt.Color("cka:Q")
            .scale(scheme=theme.LOSS_SCHEME, domain=domain)
            .legend(
                title="CKA (dimensionless)",
                orient="bottom",
                direction="horizontal",
                gradientLength=220,
                values=[k / 10 for k in reversed(tenths)],
            ),
            column=alt.Column("model_b:N", sort=models, title=None, spacing=4),
            row=alt.Row("model_a:N", sort=models[::-1], title=None, spacing=4),
            tooltip=[
                alt.Tooltip("model_a:N"),
                alt.Tooltip("gamma_a_log10:Q", title="log₁₀ γ of a"),
                alt.Tooltip("model_b:N"),
                alt.Tooltip("gamma_b_log10:Q", title="log₁₀ γ of b"),
                alt.Tooltip("cka:Q", format=".3f"),
                alt.Tooltip("seed_pairs:Q", title="seed pairs"),
            ],
        )
        .properties(width=side, height=side)
    )
    return chart


def _equal_gamma(part: pl.DataFrame) -> pl.DataFrame:
    """CKA at equal gamma: `pair`, `gamma_log10`, `cka` and the `kind` of the line it lies on."""
    equal = part.drop_nulls("cka").filter(
        pl.col("gamma_a_log10") == pl.col("gamma_b_log10"), pl.col("model_a") <= pl.col("model_b")
    )
    equal = equal.select(
        pl.concat_str(["model_a", "model_b"], separator=" and ").alias("pair"),
        pl.col("gamma_a_log10").alias("gamma_log10"),
        "cka",
        (pl.col("model_a") == pl.col("model_b")).alias("same"),
    )
    equal = equal.sort("pair", "gamma_log10")  # sums do not depend on the order of the table
    across, same = equal.filter(same=False), equal.filter(same=True)
    several = across["pair"].n_unique() > 1
    kind = _MEAN if several else _PAIR
    lines = [_mean(across, kind, "mean"), _mean(same, _SAME, "same")]
    if several:
        lines.append(across.select(pl.lit(_PAIR).alias("kind"), "pair", "gamma_log10", "cka"))
    return pl.concat(lines).sort("kind", "pair", "gamma_log10")


def _mean(equal: pl.DataFrame, kind: str, pair: str) -> pl.DataFrame:
    """CKA at each gamma, mean over pairs, as the one line of a kind."""
    mean = equal.group_by("gamma_log10").agg(pl.col("cka").mean())
    return mean.select(pl.lit(kind).alias("kind"), pl.lit(pair).alias("pair"), "gamma_log10", "cka")


def _line_chart(lines: pl.DataFrame) -> ChartType:
    colours = {_MEAN: "#222222", _PAIR: "#a89a7d", _SAME: "#0072b2"}
    strokes = {_MEAN: (3.0, [1, 0]), _PAIR: (1.2, [1, 0]), _SAME: (2.0, [6, 3])}
    kinds = [kind for kind in colours if kind in lines["kind"]]
    xs = tables.with_margin(lines["gamma_log10"], 0.3)
    base = (
        alt.Chart(lines)
        .encode(
            x=theme.in_decades(alt.X("gamma_log10:Q"), theme.GAMMA, xs),
            y=alt.Y("cka:Q", title="CKA (dimensionless)").scale(zero=False),
            color=alt.Color("kind:N", title="pairs of equal γ")
            .scale(domain=kinds, range=[colours[kind] for kind in kinds])
            .legend(orient="bottom", direction="vertical", symbolType="stroke"),
            detail="pair:N",
            tooltip=["kind:N", "pair:N", "gamma_log10:Q", alt.Tooltip("cka:Q", format=".3f")],
        )
        .properties(width=LINE_WIDTH, height=LINE_HEIGHT)
    )
    layers = []
    for kind in reversed(kinds):
        width, dash = strokes[kind]
        one = base.transform_filter(alt.datum.kind == kind)
        layers.append(one.mark_line(strokeWidth=width, strokeDash=dash))
        layers.append(one.mark_point(filled=True, size=10 * width, opacity=1))
    return alt.layer(*layers)


def _title(lines: pl.DataFrame) -> str:
    """Gamma of the highest CKA at equal gamma, or its change from the smallest to the largest gamma."""
    across = lines.filter(pl.col("kind").is_in([_MEAN, _PAIR]))
    if (across["kind"] == _MEAN).any():
        across = across.filter(pl.col("kind") == _MEAN)
    subject = "Similarity across architectures at equal γ"
    if across.is_empty():
        across = lines.filter(pl.col("kind") == _SAME)
        subject = "Similarity across seeds at equal γ"
    mean = across.group_by("gamma_log10").agg(pl.col("cka").mean()).sort("gamma_log10")
    if mean.is_empty():
        return "Similarity of one network at each γ with the networks at other γ"
    rows = [mean.row(0), mean.row(-1), mean.sort("cka").row(-1)]
    first, last, top = (cka for _, cka in rows)
    at_first, at_last, at_top = (f"γ = {theme.power_of_ten(gamma)}" for gamma, _ in rows)
    if mean.height == 1:
        return f"{subject}: CKA is {first:.2f} at {at_first}"
    if top - max(first, last) > _STEADY:
        return (
            f"{subject} is highest at {at_top}: CKA is {top:.2f} there and {first:.2f} at {at_first}, "
            f"{last:.2f} at {at_last}"
        )
    change = last - first
    verb = "rises" if change > _STEADY else "falls" if change < -_STEADY else "barely changes,"
    return f"{subject} {verb} from {first:.2f} at {at_first} to {last:.2f} at {at_last}"


def _counts(pairs: pl.DataFrame) -> str:
    """Numbers of networks, seed pairs and probes."""
    networks = pairs.select(*GROUP, "model_a", "gamma_a_log10").n_unique()
    most = int(tables.extent(pairs["seed_pairs"])[1])
    probes = int(tables.extent(pairs["probes"])[1])
    return (
        f"{tables.count_of(networks, 'pair')} of model and γ, each at its best η · mean over at most "
        f"{tables.count_of(most, 'pair')} of seeds · {tables.count_of(probes, 'probe input')}"
    )


def _blanks(pairs: pl.DataFrame) -> list[str]:
    """Reason for blank tiles, if there are any."""
    reasons = []
    if pairs["cka"].null_count():
        reasons.append("with a single seed there is no second network to compare with")
    both = pairs.select(*GROUP, "model_a", "model_b").n_unique()
    if both < sum(
        n * n for n in pairs.group_by(GROUP).agg(pl.col("model_a").n_unique())["model_a"]
    ):
        reasons.append("networks of different versions of the data are not compared")
    return [f"blank: {reason}" for reason in reasons]
