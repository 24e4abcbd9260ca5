"""Guide lines of a portrait: the predicted slopes, at the prefactors that the table `scaling` fits to them."""

import polars as pl

SCHEMA = {
    "edge": pl.String,
    "window": pl.String,
    "from_log10": pl.Float64,
    "to_log10": pl.Float64,
    "predicted_slope": pl.Float64,
    "prefactor_at_predicted_log10": pl.Float64,
}


def theory_lines(scaling: pl.DataFrame) -> pl.DataFrame:
    """One line log10 eta = prefactor_at_predicted_log10 + predicted_slope * log10 gamma per edge and window.

    Windows without a prediction or without a fit get no line. The largest finite eta gets one only
    where its predicted slope differs from that of the largest trained eta: elsewhere the two lines
    would lie side by side.
    """
    predicted = scaling.filter(
        pl.col("prefactor_at_predicted_log10").is_not_null(),
        pl.col("edge").is_in(["eta_min", "eta_max_trained", "eta_max_finite"]),
    )
    trained = predicted.filter(pl.col("edge") == "eta_max_trained")
    alike = predicted.filter(pl.col("edge") == "eta_max_finite").join(
        trained, on=["slice", "window", "predicted_slope"], how="semi"
    )
    lines = predicted.join(alike, on=["slice", "window", "edge"], how="anti")
    return lines.sort("edge", "window").select(pl.col(n).cast(t) for n, t in SCHEMA.items())
