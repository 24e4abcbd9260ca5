"""Similarity of the representations (CKA) and of the functions of networks, for all pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import TASK_COLUMNS, columns, grouped
from gammascape.tables.edges.find import best_cells
from gammascape.tables.similarity.along_gamma import (
    SUMMARY_SCHEMA,
    TREND_SCHEMA,
    EqualGamma,
    trends,
)
from gammascape.tables.similarity.networks import Network, conditions, read_network
from gammascape.tables.similarity.pairs import Block

_CONDITION = columns("at:str level")
_CERTAINTY = columns(
    "shuffled_mean shuffled_high p_value class_shuffled_mean class_shuffled_high class_p_value "
    "seed_pairs:int seeds_a:int seeds_b:int relative_loss_a "
    "relative_loss_b probes:int confidence"
)
SIMILARITY_SCHEMA = (
    TASK_COLUMNS
    | _CONDITION
    | columns(
        "model_a:str gamma_a_log10 layer_a:str depth_a model_b:str gamma_b_log10 layer_b:str "
        "depth_b cka cka_low cka_high"
    )
    | _CERTAINTY
)
FUNCTION_SCHEMA = (
    TASK_COLUMNS
    | _CONDITION
    | columns(
        "model_a:str gamma_a_log10 model_b:str gamma_b_log10 correlation correlation_low "
        "correlation_high r2 r2_low r2_high"
    )
    | _CERTAINTY
)


def similarity_table(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> pl.DataFrame:
    """Debiased linear CKA of hidden layers on the probe set, at equal steps and at equal loss.

    Each network is the one of its best eta. Compared are the last hidden layers of all pairs of (model, gamma),
    the other layers of one model with themselves across gamma and seeds, and all layers of different models
    at equal gamma; every pair stands there in both orders. Values are means over pairs of networks, which
    differ in seed. A network is never compared with itself, so one seed leaves the diagonal without a value.
    Networks of one dataset that were trained on different versions of it are not compared: such pairs have no row.

    Args:
        thresholds: thresholds of all slices; networks are compared within one dataset, loss, batch size and steps.
        cells_folder: folder of all artifacts.
        analysis: the study's confidence level.
    """
    compared = _compared(thresholds, cells_folder, analysis)
    rows = [part.shared | row for each in compared for part in each for row in part.layers]
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA)


def function_table(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> pl.DataFrame:
    """Correlation and R^2 of the centred outputs on the probe set, of all pairs of (model, gamma), in both orders.

    R^2 takes the outputs of a as they are, as a prediction of b's: 1 - |f_b - f_a|^2 / |f_b|^2. It
    sees the size of outputs, which the correlation does not, and is below 0 for a prediction worse than none.
    The arguments are as in `similarity_table`.
    """
    compared = _compared(thresholds, cells_folder, analysis)
    rows = [part.shared | row for each in compared for part in each for row in part.functions]
    return pl.DataFrame(rows, schema=FUNCTION_SCHEMA)


def trend_tables(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Similarity of networks of equal gamma against gamma: the levels, and slopes with a verdict.

    Of last hidden layers (`layers` last), of all pairs of layers (all), and of functions. The arguments are as
    in `similarity_table`; `analysis` also has the windows of gamma that are compared.
    """
    levels: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    for parts in _compared(thresholds, cells_folder, analysis):
        for measure, layers in parts[0].points:
            points = [point for part in parts for point in part.points[measure, layers]]
            found = trends(points, analysis)
            labels = parts[0].shared | {"measure": measure, "layers": layers}
            levels += [labels | row for row in found.levels]
            slopes += [labels | row for row in found.slopes]
    return pl.DataFrame(levels, schema=TREND_SCHEMA), pl.DataFrame(slopes, schema=SUMMARY_SCHEMA)


@dataclass(frozen=True)
class _Compared:
    """Comparison of networks that were trained on one version of the data, under one condition."""

    shared: dict[str, Any]
    """Columns that all rows share."""
    layers: list[dict[str, Any]]
    functions: list[dict[str, Any]]
    points: dict[tuple[str, str | None], list[EqualGamma]]
    """Measure and layers -> networks of each gamma, without their layers."""

    @classmethod
    def compare(
        cls, networks: Sequence[Network], shared: dict[str, Any], analysis: Analysis
    ) -> Self:
        """Compare networks, a layer or an output with each other one."""
        last, between = _last_layers(networks), [*_all_layers(networks)]
        functions = Block.of_functions(networks)
        blocks = [last]
        for model in sorted({network.model for network in networks}):
            of_model = [network for network in networks if network.model == model]
            for layer in of_model[0].layers[:-1]:
                blocks.append(Block.of_layers([(network, layer) for network in of_model]))
        rows = [row for block in blocks for row in block.rows("cka", analysis)]
        rows += [row for b in between for row in b.rows("cka", analysis, _between_models)]
        points: dict[tuple[str, str | None], list[EqualGamma]] = {
            ("cka", "last"): last.at_equal_gamma(),
            ("cka", "all"): [point for block in between for point in block.at_equal_gamma()],
            ("correlation", None): functions.at_equal_gamma(),
        }
        return cls(shared, rows, [*functions.rows("correlation", analysis)], points)


def _compared(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> list[list[_Compared]]:
    """Networks that are alike but for the model, gamma and seed, a list for each task and condition.

    The tables of one stage are made of the same comparisons, which its folder of cells keeps.
    """
    tasks = []
    for head, group in grouped(best_cells(thresholds), TASK_COLUMNS):
        rows = group.sort("model", "gamma_log10", "seed", "data_seed").rows(named=True)
        tasks.append((head, [(cells_folder / row["cell"], row) for row in rows]))
    kept = getattr(cells_folder, "shared", {})
    key = "compared", analysis.confidence
    if key not in kept:
        kept[key] = [
            parts for head, cells in tasks for parts in _by_condition(head, cells, analysis)
        ]
    found: list[list[_Compared]] = kept[key]
    return found


def _by_condition(
    head: dict[str, Any], cells: Sequence[tuple[Path, dict[str, Any]]], analysis: Analysis
) -> Iterator[list[_Compared]]:
    """The networks of a task under each condition that some reach, each version of the data apart."""
    for condition in conditions(folder for folder, _ in cells):
        parts: dict[str, list[Network]] = {}
        for folder, row in cells:
            network = read_network(folder, row, condition)
            if network is not None:
                parts.setdefault(network.data, []).append(network)
        shared = head | condition._asdict() | {"confidence": analysis.confidence}
        if parts:
            yield [
                _Compared.compare(networks, shared | {"probes": networks[0].probes}, analysis)
                for networks in parts.values()
            ]


def _last_layers(networks: Sequence[Network]) -> Block:
    return Block.of_layers([(network, network.layers[-1]) for network in networks])


def _all_layers(networks: Sequence[Network]) -> Iterator[Block]:
    """A block for each gamma, with all layers of all networks."""
    for gamma in sorted({network.gamma for network in networks}):
        of_gamma = [network for network in networks if network.gamma == gamma]
        yield Block.of_layers(
            [(network, layer) for network in of_gamma for layer in network.layers]
        )


def _between_models(a: Network, layer_a: str | None, b: Network, layer_b: str | None) -> bool:
    """All layers of different models, but the two last ones."""
    both_last = layer_a == a.layers[-1] and layer_b == b.layers[-1]
    return a.model != b.model and not both_last
