"""What the figures along one factor claim."""

from typing import Any

import polars as pl
import pytest
from altair.typing import ChartType

from gammascape.figures.factors import along_factor
from gammascape.figures.style import theme
from gammascape.tables.dynamics.observables import OBSERVABLE_SCHEMA
from gammascape.tables.factors import REGIME_SCHEMA, TREND_SCHEMA, trend_table
from gammascape.tables.performance.performance import PERFORMANCE_SCHEMA
from gammascape.tables.performance.scores import SCORE_SCHEMA
from gammascape.tables.transfer import TRANSFER_SCHEMA

from ..specs import axis_titles, data_of, nodes, rows, spec_of, subtitle, words

SHARED = {"loss": "mse", "steps": 100, "passes": None, "confidence": 0.95, "gammas": 5, "seeds": 2}
EDGE_QUANTITIES = ("slope", "prefactor_log10", "prefactor_per_sample_log10")


def regimes(factor: str, values: tuple[float, ...], group: str = "g") -> pl.DataFrame:
    """The table `regimes`: exponents 2/L, prefactors that grow as B^0.3, a best gamma of 10."""
    found: list[dict[str, Any]] = []
    for value in values:
        depth = value if factor == "depth" else 3.0
        shared = SHARED | {
            "factor": factor,
            "group": group,
            "factor_value": value,
            "slice": f"{group}{value:g}",
            "model": f"m{value:g}",
            "dataset": f"d{value:g}",
            "batch_size": int(value) if factor == "batch_size" else 32,
        }
        for window, quantity in (("lazy", q) for q in EDGE_QUANTITIES):
            found.append(shared | edge(window, quantity, 2.0))
        for quantity in EDGE_QUANTITIES:
            estimate = 2 / depth if quantity == "slope" else 0.3 * value
            found.append(shared | edge("rich", quantity, estimate))
        for quantity, estimate in (("best_gamma_log10", 1.0), ("gain", 0.8)):
            found.append(
                shared
                | {"quantity": quantity, "measure": "accuracy", "estimate": estimate}
                | {"low": 0.0, "high": 2.0}
            )
    return pl.DataFrame(found, schema=REGIME_SCHEMA)


def edge(window: str, quantity: str, estimate: float) -> dict[str, Any]:
    return {
        "edge": "eta_max_trained",
        "window": window,
        "quantity": quantity,
        "estimate": estimate,
        "low": estimate - 0.1,
        "high": estimate + 9.0,
        "predicted": estimate if quantity == "slope" else None,
    }


def reached(table: pl.DataFrame, measure: str = "accuracy") -> pl.DataFrame:
    """The table `performance` of the slices of a table `regimes`."""
    found = [
        {name: row[name] for name in PERFORMANCE_SCHEMA if name in row}
        | {"measure": measure, "budget": budget, "gamma_log10": gamma, "value": 0.9 - 0.01 * gamma}
        | {"low": 0.85, "high": 0.95, "interval": "seeds"}
        for row in table.unique("slice").iter_rows(named=True)
        for gamma in (-1.0, 0.0, 1.0)
        for budget in (10, 100)
    ]
    return pl.DataFrame(found, schema=PERFORMANCE_SCHEMA)


def draw(table: pl.DataFrame, measure: str = "accuracy") -> ChartType:
    factor = str(table["factor"][0])
    return along_factor(
        factor, table, trend_table(table), reached(table, measure), None, NONE, None
    )


NONE = pl.DataFrame(schema=TRANSFER_SCHEMA)


def transferred(table: pl.DataFrame, observables: pl.DataFrame | None = None) -> ChartType:
    """The figure of the widths of a table `regimes`, whose best eta is 1 and which lose nothing at it."""
    slices = list(table.unique("slice", maintain_order=True).iter_rows(named=True))
    some = [{name: row[name] for name in SCORE_SCHEMA if name in row} for row in slices]
    known = {"gamma_log10": 0.0, "measure": "test_loss", "budget": 100, "data_seed": 0}
    scores = pl.DataFrame(
        [
            row | known | {"seed": seed, "eta_log10": eta, "value": 10.0 ** (eta**2 - 1)}
            for row in some
            for seed in (0, 1)
            for eta in (-1.0, 0.0, 1.0)
        ],
        schema=SCORE_SCHEMA,
    )
    found = {"gamma_log10": 0.0, "carried_log10": 0.0, "eta_log10": 0.1, "measure": "test_loss"}
    found |= {"eta_low_log10": -0.2, "eta_high_log10": 0.3, "lost": 1.0, "lost_low": 0.9}
    found |= {"slope": 0.0, "slope_low": -0.1, "slope_high": 0.1}
    transfer = pl.DataFrame(
        [{n: row[n] for n in TRANSFER_SCHEMA if n in row} | found for row in slices],
        schema=TRANSFER_SCHEMA,
    )
    trends = trend_table(table)
    return along_factor("width", table, trends, None, scores, transfer, observables)


def test_the_width_has_losses_best_etas_and_what_is_lost() -> None:
    table = regimes("width", (64.0, 256.0))
    chart = transferred(table)
    titles = {"test loss", "best η", "loss at carried γ, η over best", theme.ETA, "width N"}
    assert titles <= set(axis_titles(chart))
    losses = [row for row in rows(chart) if "series" in row]
    assert {(row["series"], row["eta_log10"]) for row in losses} == {
        (width, eta) for width in ("64", "256") for eta in (-1.0, 0.0, 1.0)
    }
    assert [row["value"] for row in losses if row["eta_log10"] == 0] == pytest.approx([-1.0] * 2)
    assert "grows as N to the power " in words(chart)["title"]
    assert "1 − CKA with start" not in axis_titles(chart)
    # Without a window of gamma the panels of transfer are left.
    alone = transferred(table.filter(pl.col("quantity") == "gain"))
    assert {"best η"} < set(axis_titles(alone))
    assert not any(str(title).startswith("prefactor") for title in axis_titles(alone))
    assert words(alone)["title"] == "Best η goes as the width to the power 0.00 (−0.10 to 0.10)"
    assert words(alone)["caption"].startswith("Test loss against η")
    assert "Prefactors" in words(chart)["caption"]


def test_features_that_move_are_shown_at_the_carried_point_of_each_width() -> None:
    table = regimes("width", (64.0, 256.0))
    measured = [
        {name: row[name] for name in OBSERVABLE_SCHEMA if name in row}
        | {"step": step, "observable": "initial_cka", "layer": "hidden1", "value": 1 - 0.001 * step}
        | {"gamma_log10": 0.0, "eta_log10": eta, "seed": 0, "data_seed": 0}
        for row in table.unique("slice").iter_rows(named=True)
        for step in (10, 100)
        for eta in (0.0, 1.0)
    ]
    chart = transferred(table, pl.DataFrame(measured, schema=OBSERVABLE_SCHEMA))
    assert "1 − CKA with start" in axis_titles(chart)
    assert "how far each layer's features move" in words(chart)["caption"]
    moved = [row for row in rows(chart) if row.get("series") == "hidden1"]
    assert [row["value"] for row in moved] == pytest.approx([-1.0] * len(moved))
    assert len({row["at"] for row in moved}) == 2


def test_exponents_stand_at_their_depths_beside_the_laws() -> None:
    chart = draw(regimes("depth", (2.0, 3.0, 4.0)))
    assert {row["law"] for row in rows(chart) if "law" in row} == {"2", "2/L", "3/L", "2/(L+1)"}
    two = [row for row in rows(chart) if row.get("law") == "2/L" and row["at"] == 4]
    assert two[0]["slope"] == pytest.approx(0.5)
    rich = [row for row in rows(chart) if row.get("estimate") == 2 / 3]
    assert [row["at"] for row in rich] == [3.0], "one edge needs no place beside others"
    assert "slope 1.00" in words(chart)["title"]
    assert "by theory 1" in words(chart)["title"]
    assert "depth L (weight matrices)" in axis_titles(chart)


@pytest.mark.parametrize("factor", ["depth", "batch_size"])
def test_a_window_in_which_nothing_is_known_has_no_panel(factor: str) -> None:
    table = regimes(factor, (2.0, 4.0))
    if factor == "depth":  # An exponent of two gammas, which has no interval.
        known = pl.when(pl.col("window") != "lazy")
        table = table.with_columns(low=known.then("low"), high=known.then("high"))
    else:
        table = table.filter((pl.col("window") != "lazy") | (pl.col("quantity") == "slope"))
    texts = {n["text"] for n in nodes(spec_of(draw(table))) if isinstance(n.get("text"), str)}
    assert "ultra-rich (large γ)" in texts
    assert "lazy (small γ)" not in texts


def test_intervals_end_at_the_frame() -> None:
    for factor in ("depth", "batch_size"):
        chart = draw(regimes(factor, (2.0, 4.0)))
        scales = [n["domain"] for n in nodes(spec_of(chart)) if isinstance(n.get("domain"), list)]
        ends = [domain[1] for domain in scales if len(domain) == 2 and isinstance(domain[1], float)]
        highest = max(ends)
        assert max(row["high"] for row in rows(chart) if "high" in row) <= highest < 11


def test_prefactors_are_shown_with_their_power_and_over_the_batch_size() -> None:
    chart = draw(regimes("batch_size", (8.0, 32.0, 128.0)))
    assert "grows as B to the power " in words(chart)["title"]
    assert "prefactor of η / B (1 / sample)" in axis_titles(chart)
    notes = {row["note"] for row in rows(chart) if "note" in row}
    assert notes == {"η ∝ B", "η constant"}


@pytest.mark.parametrize(
    ("factor", "names"),
    [("label_noise", {"0 %", "20 %"}), ("training_samples", {"500", "60,000"})],
)
def test_accuracies_are_lines_for_each_value_and_the_best_gamma_is_in_the_title(
    factor: str, names: set[str]
) -> None:
    values = (0.0, 0.2) if factor == "label_noise" else (500.0, 60000.0)
    chart = draw(regimes(factor, values))
    drawn = [row for row in rows(chart) if "series" in row]
    assert {row["series"] for row in drawn} == names
    assert {row["value"] for row in drawn} == {91.0, 90.0, 89.0}, "of the full budget alone"
    assert all(f"10 (1 to 10²) at {name}" in words(chart)["title"] for name in names)
    assert "gain over γ = 1 (points)" in axis_titles(chart)
    assert "2 slices, 2 seeds at most" in subtitle(chart)


@pytest.mark.parametrize("factor", ["depth", "batch_size", "label_noise"])
def test_a_slice_of_other_data_is_named_and_not_drawn(factor: str) -> None:
    table = regimes(factor, (2.0, 3.0))
    left = table.filter(slice="g3").head(1).with_columns(quantity=pl.lit("left_out"))
    chart = draw(pl.concat([regimes(factor, (2.0,)), left]))
    assert "left out, of another version of the data: g3" in subtitle(chart)
    assert "1 slice, " in subtitle(chart)
    assert "left out" not in subtitle(draw(table))


# The values are 89 to 91 %; half of their span, and 6 % of the span as a margin, may be added below.
@pytest.mark.parametrize(("low", "shown"), [(0.885, 88.5), (0.5, 87.88)])
def test_intervals_of_accuracy_are_whole_unless_they_would_press_the_values_together(
    low: float, shown: float
) -> None:
    table = regimes("label_noise", (0.0, 0.2))
    values = reached(table).with_columns(low=pl.lit(low))
    chart = along_factor("label_noise", table, trend_table(table), values, None, NONE, None)
    lows = [row["low"] for row in rows(chart) if "series" in row]
    assert lows == pytest.approx([shown] * 6)


def test_regression_is_compared_by_its_loss() -> None:
    table = regimes("label_noise", (0.0, 0.2)).with_columns(
        measure=pl.when(pl.col("measure") == "accuracy").then(pl.lit("test_loss"))
    )
    chart = draw(table, "test_loss")
    assert "lowest test loss" in axis_titles(chart)
    assert "Best γ by test loss" in words(chart)["title"]


def test_each_group_of_slices_has_its_own_row_under_its_name() -> None:
    table = pl.concat([regimes("depth", (2.0, 3.0), group) for group in ("narrow", "wide")])
    chart = draw(table)
    titles = [
        node["title"]["text"]
        for node in nodes(spec_of(chart))
        if isinstance(node.get("title"), dict)
    ]
    assert {"narrow", "wide"} < set(map(str, titles))
    assert words(chart)["title"] == "Exponents of the largest learning rates against depth"


def test_symbols_of_several_edges_stand_beside_each_other() -> None:
    one = regimes("batch_size", (8.0, 32.0))
    other = one.with_columns(edge=pl.when(pl.col("edge").is_not_null()).then(pl.lit("eta_min")))
    chart = draw(pl.concat([one, other]))
    at = {(row["measured"], row["at"]) for row in rows(chart) if "measured" in row}
    assert len({place for _, place in at}) == 4


@pytest.mark.parametrize(
    ("factor", "what"),
    [
        ("depth", "edge"),
        ("batch_size", "edge"),
        ("width", "edge"),
        ("steps", "edge"),
        ("label_noise", "cell"),
        ("training_samples", "cell"),
    ],
)
def test_nothing_to_compare_is_drawn_as_an_empty_figure(factor: str, what: str) -> None:
    empty = pl.DataFrame(schema=REGIME_SCHEMA), pl.DataFrame(schema=TREND_SCHEMA)
    chart = along_factor(factor, *empty, pl.DataFrame(schema=PERFORMANCE_SCHEMA), None, NONE, None)
    title = words(chart)["title"]
    assert title.startswith(f"No {what} ")
    assert title.endswith(": nothing to compare")
    assert data_of(chart, "point") == []
