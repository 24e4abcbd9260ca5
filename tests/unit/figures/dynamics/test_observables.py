"""What the figure of observables claims."""

import polars as pl
import pytest

from gammascape.figures.dynamics.observables import observables

from ..specs import axis_titles, nodes, rows, spec_of, subtitle, words
from ..synthetic import MLP3, cells_table, curves_table, thresholds_table

CURVES = curves_table(MLP3)
STEPS = (0, 1, 10, 100, 600)


def measured(*names: str, thresholds: pl.DataFrame) -> pl.DataFrame:
    """Values that rise with the step, of every cell at an edge; at the best eta they end at 2 and 0.9."""
    keys = ["slice", "model", "dataset", "loss", "batch_size", "steps", "passes"]
    keys += ["cell", "gamma_log10", "eta_log10", "seed", "data_seed"]
    cells = thresholds.group_by(keys).agg((pl.col("edge") == "eta_best").any().alias("best"))
    frames = []
    for name in names:
        for place, step in enumerate(STEPS):
            top = 2.0 if name == "eta_times_sharpness" else 0.9
            value = pl.when("best").then(top * (place + 1) / len(STEPS)).otherwise(1e6)
            frames.append(
                cells.with_columns(
                    pl.lit(step).cast(pl.Int64).alias("step"),
                    pl.lit(name).alias("observable"),
                    pl.lit(None, dtype=pl.String).alias("layer"),
                    value.alias("value"),
                )
            )
    return pl.concat(frames).drop("best")


THRESHOLDS = thresholds_table(cells_table(MLP3), MLP3)
ALL = measured("eta_times_sharpness", "kernel_alignment", "ntk_alignment", thresholds=THRESHOLDS)


def test_loss_sharpness_and_alignment_share_the_time_axis() -> None:
    chart = observables(ALL, THRESHOLDS, CURVES)
    panels = spec_of(chart)["vconcat"]
    assert len(panels) == 3
    domains = []
    for panel in panels:
        inner = panel["layer"][0] if "layer" in panel else panel
        assert inner["encoding"]["x"]["scale"]["type"] == "log"
        domains.append(inner["encoding"]["x"]["scale"]["domain"])
    # What was measured after 600 updates stands one beyond the last loss before an update.
    assert domains == [[1, 601]] * 3
    assert axis_titles(chart) >= {"step t"}


def test_every_gamma_has_its_colour_in_the_legend() -> None:
    chart = observables(ALL, THRESHOLDS, CURVES)
    drawn = {row["gamma_log10"] for row in rows(chart) if "value" in row and "gamma_log10" in row}
    legends = [node["legend"] for node in nodes(spec_of(chart))
               if (node.get("legend") or {}).get("title") == "γ"]  # fmt: skip
    assert legends
    assert all(set(legend["values"]) == drawn for legend in legends)


def test_only_the_first_seed_of_the_best_eta_is_drawn() -> None:
    drawn = [row for row in rows(observables(ALL, THRESHOLDS, CURVES)) if "value" in row]
    assert max(row["value"] for row in drawn) == 2.0
    sharp = [row for row in drawn if "gamma_log10" in row and "kernel" not in row]
    gammas = {row["gamma_log10"] for row in sharp}
    assert 1 < len(gammas) <= 7
    assert len(sharp) == len(gammas) * len(STEPS)


def test_the_stability_limit_is_labelled() -> None:
    labels = [row for row in rows(observables(ALL, THRESHOLDS, CURVES)) if "words" in row]
    assert labels == [{"value": 2.0, "step": 1.0, "words": "Nηλ = 2"}]


def test_the_words_say_what_moved_and_how_much_is_shown() -> None:
    chart = observables(ALL, THRESHOLDS, CURVES)
    assert "Nηλ goes from 0.4 to 2 and the last hidden kernel's" in words(chart)["title"]
    assert "0.18 to 0.90" in words(chart)["title"]
    assert "cells (best η at each of" in subtitle(chart)
    assert "of 9 γ" in subtitle(chart)


@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_a_value_that_stays_is_drawn_where_it_is_and_said_to_stay(scale: float) -> None:
    value = pl.when(observable="eta_times_sharpness").then(scale * 2.0).otherwise(0.3)
    chart = observables(ALL.with_columns(value=value), THRESHOLDS, CURVES)
    said = {1e-12: "2.0·10⁻¹²", 1.0: "2"}[scale]
    assert f"Nηλ stays at {said} and" in words(chart)["title"]
    assert "alignment stays at 0.30" in words(chart)["title"]
    panel = spec_of(chart)["vconcat"][1]["layer"][0]
    data = spec_of(chart)["datasets"][panel["data"]["name"]]
    low, high = panel["encoding"]["y"]["scale"]["domain"]
    assert all(low < row["value"] == scale * 2.0 < high for row in data)


@pytest.mark.parametrize(
    ("names", "panels"),
    [(("eta_times_sharpness",), 2), (("kernel_alignment",), 2), (("ntk_alignment",), 2)],
)
def test_what_was_not_measured_has_no_panel(names: tuple[str, ...], panels: int) -> None:
    chart = observables(measured(*names, thresholds=THRESHOLDS), THRESHOLDS, CURVES)
    assert len(spec_of(chart)["vconcat"]) == panels
    assert "step t" in axis_titles(chart)


def test_nothing_measured_says_so() -> None:
    chart = observables(ALL.clear(), THRESHOLDS, CURVES)
    assert words(chart)["title"] == "No cell of this slice was measured at its best η"


def test_the_seed_of_which_most_was_measured_is_drawn() -> None:
    sharp = pl.col("observable") == "eta_times_sharpness"
    chart = observables(ALL.filter(~sharp | (pl.col("seed") == 1)), THRESHOLDS, CURVES)
    assert len(spec_of(chart)["vconcat"]) == 3
    assert "1 seed" in subtitle(chart)
