"""Guide lines of a portrait: predicted slopes, with the height taken from the measured edges."""

import polars as pl

SCHEMA = {
    "edge": pl.String,
    "window": pl.String,
    "from_log10": pl.Float64,
    "to_log10": pl.Float64,
    "predicted_slope": pl.Float64,
    "height_log10": pl.Float64,
}


def theory_lines(thresholds: pl.DataFrame, scaling: pl.DataFrame) -> pl.DataFrame:
    """One line log10 eta = height_log10 + predicted_slope * log10 gamma per edge and window.

    The slope is the prediction, not a fit; the height is the mean of log10 eta - slope * log10
    gamma over the bounded measured edges of the window. Windows without a prediction or without
    bounded edges get no line. The largest finite eta gets one only where its predicted slope
    differs from that of the largest trained eta: elsewhere the two lines would lie side by side.
    """
    predicted = scaling.filter(
        pl.col("predicted_slope").is_not_null(),
        pl.col("edge").is_in(["eta_min", "eta_max_trained", "eta_max_finite"]),
    )
    trained = {
        row["window"]: row["predicted_slope"]
        for row in predicted.filter(pl.col("edge") == "eta_max_trained").iter_rows(named=True)
    }
    rows = []
    for row in predicted.sort("edge", "window").iter_rows(named=True):
        if row["edge"] == "eta_max_finite" and trained.get(row["window"]) == row["predicted_slope"]:
            continue
        points = thresholds.filter(
            pl.col("edge") == row["edge"],
            pl.col("bounded"),
            pl.col("eta_log10").is_not_null(),
            pl.col("gamma_log10").is_between(row["from_log10"] - 1e-9, row["to_log10"] + 1e-9),
        )
        if points.is_empty():
            continue
        offsets = points["eta_log10"] - row["predicted_slope"] * points["gamma_log10"]
        rows.append({name: row.get(name) for name in SCHEMA} | {"height_log10": offsets.mean()})
    return pl.DataFrame(rows, schema=SCHEMA)
