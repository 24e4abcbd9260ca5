"""Similarity of the representations (CKA) and of the functions of networks, for all pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gammascape.study import Analysis
from gammascape.tables.cells import TASK_COLUMNS, columns, grouped
from gammascape.tables.edges.find import best_cells
from gammascape.tables.similarity.along_gamma import SUMMARY_SCHEMA, TREND_SCHEMA, trends
from gammascape.tables.similarity.networks import Network, conditions, read_network
from gammascape.tables.similarity.pairs import Block

_AT = columns("at:str level")
_CERTAINTY = columns(
    "shuffled_mean shuffled_high p_value class_shuffled_mean class_shuffled_high class_p_value "
    "seed_pairs:int seeds_a:int seeds_b:int relative_loss_a "
    "relative_loss_b probes:int confidence"
)
SIMILARITY_SCHEMA = (
    TASK_COLUMNS
    | _AT
    | columns(
        "model_a:str gamma_a_log10 layer_a:str depth_a model_b:str gamma_b_log10 layer_b:str "
        "depth_b cka cka_low cka_high"
    )
    | _CERTAINTY
)
FUNCTION_SCHEMA = (
    TASK_COLUMNS
    | _AT
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
    rows: list[dict[str, Any]] = []
    for networks, shared in _of_equal_data(thresholds, cells_folder, analysis):
        blocks = [_last_layers(networks)]
        for model in sorted({network.model for network in networks}):
            of_model = [network for network in networks if network.model == model]
            for layer in of_model[0].layers[:-1]:
                blocks.append(Block.of([(network, layer) for network in of_model]))
        found = [block.rows("cka", analysis) for block in blocks]
        found += [block.rows("cka", analysis, _between_models) for block in _all_layers(networks)]
        rows += [shared | row for part in found for row in part]
    return pl.DataFrame(rows, schema=SIMILARITY_SCHEMA)


def function_table(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> pl.DataFrame:
    """Correlation and R^2 of the centred outputs on the probe set, of all pairs of (model, gamma), in both orders.

    R^2 is that of the outputs of a as they are, as a prediction of those of b: 1 - |f_b - f_a|^2 / |f_b|^2. It
    sees the size of outputs, which the correlation does not, and is below 0 for a prediction worse than none.
    The arguments are those of `similarity_table`.
    """
    rows: list[dict[str, Any]] = []
    for networks, shared in _of_equal_data(thresholds, cells_folder, analysis, grams=False):
        found = Block.of_functions(networks).rows("correlation", analysis)
        rows += [shared | row for row in found]
    return pl.DataFrame(rows, schema=FUNCTION_SCHEMA)


def trend_tables(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Similarity of networks of equal gamma against gamma: the levels, and slopes with a verdict.

    Of last hidden layers (`layers` last), of all pairs of layers (all), and of functions. The arguments are those
    of `similarity_table`; `analysis` also has the windows of gamma that are compared.
    """
    levels: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    for parts, shared in _alike_but_for_model(thresholds, cells_folder, analysis):
        blocks: dict[tuple[str, str | None], list[Block]] = {
            ("cka", "last"): [_last_layers(networks) for networks in parts],
            ("cka", "all"): [block for networks in parts for block in _all_layers(networks)],
            ("correlation", None): [Block.of_functions(networks) for networks in parts],
        }
        for (measure, layers), several in blocks.items():
            points = [point for block in several for point in block.at_equal_gamma()]
            found = trends(points, analysis)
            labels = shared | {"measure": measure, "layers": layers}
            levels += [labels | row for row in found.levels]
            slopes += [labels | row for row in found.slopes]
    return pl.DataFrame(levels, schema=TREND_SCHEMA), pl.DataFrame(slopes, schema=SUMMARY_SCHEMA)


def _alike_but_for_model(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis, grams: bool = True
) -> Iterator[tuple[list[list[Network]], dict[str, Any]]]:
    """Networks that are compared, in a list for each version of the data, and the columns that they share."""
    for head, group in grouped(best_cells(thresholds), TASK_COLUMNS):
        cells = group.sort("model", "gamma_log10", "seed", "data_seed").rows(named=True)
        folders = [cells_folder / row["cell"] for row in cells]
        for condition in conditions(folders):
            parts: dict[str, list[Network]] = {}
            for folder, row in zip(folders, cells, strict=True):
                network = read_network(folder, row, condition, grams)
                if network is not None:
                    parts.setdefault(network.data, []).append(network)
            if parts:
                networks = list(parts.values())
                sizes = {"probes": networks[0][0].probes, "confidence": analysis.confidence}
                yield networks, head | condition._asdict() | sizes


def _of_equal_data(
    thresholds: pl.DataFrame, cells_folder: Path, analysis: Analysis, grams: bool = True
) -> Iterator[tuple[list[Network], dict[str, Any]]]:
    for parts, shared in _alike_but_for_model(thresholds, cells_folder, analysis, grams):
        for networks in parts:
            yield networks, shared | {"probes": networks[0].probes}


def _last_layers(networks: Sequence[Network]) -> Block:
    return Block.of([(network, network.layers[-1]) for network in networks])


def _all_layers(networks: Sequence[Network]) -> Iterator[Block]:
    """A block for each gamma, with all layers of all networks."""
    for gamma in sorted({network.gamma for network in networks}):
        of_gamma = [network for network in networks if network.gamma == gamma]
        yield Block.of([(network, layer) for network in of_gamma for layer in network.layers])


def _between_models(a: Network, layer_a: str | None, b: Network, layer_b: str | None) -> bool:
    """All layers of different models, but the two last ones."""
    both_last = layer_a == a.layers[-1] and layer_b == b.layers[-1]
    return a.model != b.model and not both_last
