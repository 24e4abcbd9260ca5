"""Loss by the best gamma and eta of the smallest value of a factor at larger values."""

import altair as alt
import polars as pl
from altair.typing import ChartType

from gammascape.figures.factors.axis import FACTORS, axis_of, name_of, place
from gammascape.figures.style import theme
from gammascape.figures.style.tables import with_margin

_MEASURE = "test_loss"
_SIZE = {"width": 210, "height": 170}


def transferred(
    rows: pl.DataFrame, scores: pl.DataFrame | None, observables: pl.DataFrame | None
) -> ChartType | None:
    """Panels of one group of the table `transfer`: test loss, best eta, what is lost, how far features move."""
    rows = rows.filter(measure=_MEASURE)
    if rows.is_empty() or scores is None:
        return None
    factor, lost = rows["factor"][0], rows.drop_nulls("lost")
    eta = rows.drop_nulls("eta_log10")
    panels = [_losses(factor, rows, scores), _best_eta(factor, rows, eta)]
    panels += [_lost(factor, rows, lost)] if lost.height else []
    moved = None if observables is None or factor != "width" else _moved(rows, observables)
    panels += [_features(rows, moved)] if moved is not None and moved.height else []
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=24).resolve_scale(
        color="independent", shape="independent"
    )
    return chart


def _losses(factor: str, rows: pl.DataFrame, scores: pl.DataFrame) -> ChartType:
    slices = rows.select("slice", "factor_value", "gamma_log10")
    at = scores.filter(pl.col("budget") == pl.col("steps"), measure=_MEASURE).drop_nulls("value")
    means = at.join(slices, on=["slice", "gamma_log10"]).group_by("factor_value", "eta_log10")
    data = means.agg(value=pl.col("value").log(10).mean()).sort("factor_value", "eta_log10")
    names = {value: name_of(factor, value) for value in sorted(rows["factor_value"])}
    data = data.with_columns(
        series=pl.col("factor_value").replace_strict(names, return_dtype=pl.String)
    )
    domain = with_margin(data["value"], 0.05)
    x = theme.in_decades(alt.X("eta_log10:Q"), theme.ETA, with_margin(data["eta_log10"], 0.2), 6)
    y = theme.spanning(alt.Y("value:Q", axis=theme.log10_axis("test loss", domain, 6)), domain)
    legend = alt.Legend(title=FACTORS[factor].title, orient="bottom")
    colour, shape = theme.series_encodings(list(names.values()), legend)
    base = alt.Chart(data.select("series", "eta_log10", "value")).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, size=35, opacity=1).encode(shape=shape)
    gamma = theme.power_of_ten(rows["gamma_log10"][0])
    title = theme.named(f"γ = {gamma}")
    return alt.layer(base.mark_line(strokeWidth=1.6), points).properties(**_SIZE, title=title)


def _best_eta(factor: str, rows: pl.DataFrame, eta: pl.DataFrame) -> ChartType:
    data = eta.select(
        "slice",
        at=place(factor),
        estimate="eta_log10",
        low="eta_low_log10",
        high="eta_high_log10",
    )
    shown = pl.concat([data["estimate"], data["low"], data["high"]]).drop_nulls()
    domain = with_margin(shown.extend(rows["carried_log10"].head(1)), 0.3)
    y = theme.in_decades(alt.Y("estimate:Q"), "best η", domain, 6)
    carried = pl.DataFrame({"estimate": rows["carried_log10"].head(1)})
    return _points(data, y, domain, axis_of(rows, factor), carried)


def _lost(factor: str, rows: pl.DataFrame, lost: pl.DataFrame) -> ChartType:
    data = lost.select("slice", at=place(factor), estimate="lost", low="lost_low", high="lost_high")
    shown = pl.concat([data["estimate"], data["low"], data["high"]]).drop_nulls()
    domain = with_margin(shown.extend(pl.Series([1.0])), 0.02)
    y = theme.spanning(alt.Y("estimate:Q", title="loss at carried γ, η over best"), domain)
    return _points(data, y, domain, axis_of(rows, factor), pl.DataFrame({"estimate": [1.0]}))


def _points(
    data: pl.DataFrame, y: alt.Y, domain: list[float], x: alt.X, rule: pl.DataFrame
) -> ChartType:
    base = alt.Chart(theme.cut(data, domain)).encode(x=x)
    return alt.layer(
        alt.Chart(rule).mark_rule(color=theme.QUIET, strokeDash=[4, 3]).encode(y=y),
        *theme.intervals(base, color=alt.value("#222222")),
        base.mark_point(filled=True, size=60, opacity=1, color="#222222").encode(
            y=y, tooltip=["slice:N", alt.Tooltip("estimate:Q", format=".3f")]
        ),
    ).properties(**_SIZE)


def _moved(rows: pl.DataFrame, observables: pl.DataFrame) -> pl.DataFrame:
    """1 - CKA with the initialization at the end of runs with the carried gamma and eta, mean over seeds."""
    slices = rows.select("slice", "factor_value", "gamma_log10", eta_log10="carried_log10")
    at = observables.filter(pl.col("step") == pl.col("steps"), observable="initial_cka")
    found = at.join(slices, on=["slice", "gamma_log10", "eta_log10"]).group_by(
        "factor_value", "layer", maintain_order=True
    )
    means = found.agg(value=1 - pl.col("value").mean())
    return means.filter(pl.col("value") > 0).with_columns(pl.col("value").log(10))


def _features(rows: pl.DataFrame, moved: pl.DataFrame) -> ChartType:
    """The coordinate check of a study: in mu-P features move equally far at all widths."""
    data = moved.select("value", at=place("width"), series="layer")
    domain = with_margin(data["value"], 0.2)
    y = theme.spanning(
        alt.Y("value:Q", axis=theme.log10_axis("1 − CKA with start", domain, 6)), domain
    )
    names = data["series"].unique(maintain_order=True).to_list()
    colour, shape = theme.series_encodings(names, alt.Legend(title="layer", orient="bottom"))
    base = alt.Chart(data).encode(x=axis_of(rows, "width"), y=y, color=colour)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(shape=shape)
    return alt.layer(base.mark_line(strokeWidth=1.6), points).properties(**_SIZE)
