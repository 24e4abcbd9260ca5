"""Similarity of unit vectors on the probe set, with baselines in which the probes of one side are shuffled.

Any two networks that know the classes are more alike than with shuffled probes. Shuffled within classes, probes
tell whether networks have more in common than that.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gammascape.tables.similarity.cka import debiased_cka
from gammascape.tables.statistics.fits import Floats

Indices = NDArray[np.int64]
Classes = tuple[int, ...]

SHUFFLES = 200
"""Random orders of the probes, the same for all pairs; a share of them is known to 1/201."""
CLASS_SHUFFLES = 100
"""The same within classes: these are looked at beside the others, and cost as much each."""
_RANDOM_SEED = 2410_04642


@dataclass(frozen=True)
class SimilarityWithBaseline:
    """Similarity of all pairs of m vectors."""

    values: Floats
    """(m, m)"""
    shuffled: NDArray[np.float32]
    """(SHUFFLES, m, m), symmetric: the same with the probes of one side in a random order."""
    within: NDArray[np.float32] | None = None
    """(CLASS_SHUFFLES, m, m): the same with the probes of each class in a random order; None without classes."""


def compare_pairs(
    vectors: Floats, probes: int, classes: Classes | None = None
) -> SimilarityWithBaseline:
    """Compare vectors (m, P (P - 1) / 2) over pairs of probes, as `cka.pair_vector` makes them.

    With shuffled probes the mean of their product is exactly 0, and its variance 2 / (P (P - 3)). `classes` has
    the class of each probe.
    """
    values = debiased_cka(vectors)
    shuffled = _products(vectors, _orders_of_pairs(probes))
    within = None if classes is None else _products(vectors, _orders_of_pairs(probes, classes))
    return SimilarityWithBaseline(values, shuffled, within)


def compare_outputs(
    vectors: Floats, probes: int, classes: Classes | None = None
) -> SimilarityWithBaseline:
    """Compare vectors (m, P O) over probes and outputs, probe by probe."""
    outputs = np.arange(vectors.shape[1] // probes)
    width = len(outputs)

    def baseline(orders: list[Indices]) -> NDArray[np.float32]:
        return _products(vectors, [(o[:, None] * width + outputs).ravel() for o in orders])

    within = None if classes is None else baseline(_orders(probes, classes))
    return SimilarityWithBaseline(vectors @ vectors.T, baseline(_orders(probes)), within)


@cache
def _orders(probes: int, classes: Classes | None = None) -> list[Indices]:
    rng = np.random.default_rng(_RANDOM_SEED)
    orders = [rng.permutation(probes) for _ in range(SHUFFLES)]
    if classes is None:
        return orders
    # Sorted by class, the shuffled probes take the places of the sorted ones.
    sorted_places = np.argsort(classes, kind="stable")
    found = np.empty((CLASS_SHUFFLES, probes), dtype=np.int64)
    for k, order in enumerate(orders[:CLASS_SHUFFLES]):
        found[k, sorted_places] = order[np.argsort(np.array(classes)[order], kind="stable")]
    return list(found)


@cache
def _orders_of_pairs(probes: int, classes: Classes | None = None) -> list[Indices]:
    place = np.zeros((probes, probes), dtype=np.int64)
    first, second = np.triu_indices(probes, 1)
    place[first, second] = place[second, first] = np.arange(len(first))
    return [place[order[first], order[second]] for order in _orders(probes, classes)]


def against(
    values: float | Floats, shuffled: NDArray[np.floating] | None, name: str = "shuffled"
) -> dict[str, Floats]:
    """Columns of values of any shape beside what they are with shuffled probes, (SHUFFLES, ...); none without."""
    if shuffled is None:
        return {}
    reached = (shuffled >= values).sum(0)
    # A mean over the last axis is the same as of each value alone.
    each = np.ascontiguousarray(np.moveaxis(shuffled, 0, -1))
    return {
        f"{name}_mean": each.mean(-1),
        f"{name}_high": np.quantile(each, 0.95, axis=-1),
        name.replace("shuffled", "p_value"): (1 + reached) / (1 + len(shuffled)),
    }


def _products(vectors: Floats, orders: list[Indices]) -> NDArray[np.float32]:
    single = vectors.astype(np.float32)
    # Rows are gathered faster than columns, and by `take` faster than by an index.
    columns = np.ascontiguousarray(single.T)
    upper = np.triu(np.ones((len(single), len(single)), dtype=bool))
    shuffled = np.empty((len(orders), len(single), len(single)), dtype=np.float32)
    for k, order in enumerate(orders):
        product = single @ columns.take(order, axis=0)
        # Shuffling the other side is another draw of the same law; one of the two is taken for both orders.
        shuffled[k] = np.where(upper, product, product.T)
    return shuffled
