"""Similarity of unit vectors on the probe set, with a baseline in which the probes of one side are shuffled."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gammascape.tables.similarity.cka import debiased_cka

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SHUFFLES = 200
"""Random orders of the probes, the same for all pairs; a share of them is known to 1/201."""
_RANDOM_SEED = 2410_04642


@dataclass(frozen=True)
class SimilarityWithBaseline:
    """Similarity of all pairs of m vectors."""

    values: Floats
    """(m, m)"""
    shuffled: NDArray[np.float32]
    """(SHUFFLES, m, m), symmetric: the same with the probes of one side in a random order."""


def compare_pairs(vectors: Floats, probes: int) -> SimilarityWithBaseline:
    """Compare vectors (m, P (P - 1) / 2) over pairs of probes, as `cka.pair_vector` makes them.

    With shuffled probes the mean of their product is exactly 0, and its variance 2 / (P (P - 3)).
    """
    return _compare(debiased_cka(vectors), vectors, _orders_of_pairs(probes))


def compare_outputs(vectors: Floats, probes: int) -> SimilarityWithBaseline:
    """Compare vectors (m, P O) over probes and outputs, probe by probe."""
    outputs = np.arange(vectors.shape[1] // probes)
    width = len(outputs)
    orders = [(order[:, None] * width + outputs).ravel() for order in _orders(probes)]
    return _compare(vectors @ vectors.T, vectors, orders)


@cache
def _orders(probes: int) -> list[Indices]:
    rng = np.random.default_rng(_RANDOM_SEED)
    return [rng.permutation(probes) for _ in range(SHUFFLES)]


@cache
def _orders_of_pairs(probes: int) -> list[Indices]:
    place = np.zeros((probes, probes), dtype=np.int64)
    first, second = np.triu_indices(probes, 1)
    place[first, second] = place[second, first] = np.arange(len(first))
    return [place[order[first], order[second]] for order in _orders(probes)]


def _compare(values: Floats, vectors: Floats, orders: list[Indices]) -> SimilarityWithBaseline:
    single = vectors.astype(np.float32)
    # Rows are gathered faster than columns.
    columns = np.ascontiguousarray(single.T)
    upper = np.triu(np.ones((len(single), len(single)), dtype=bool))
    shuffled = np.empty((len(orders), len(single), len(single)), dtype=np.float32)
    for k, order in enumerate(orders):
        product = single @ columns[order]
        # Shuffling the other side is another draw of the same law; one of the two is taken for both orders.
        shuffled[k] = np.where(upper, product, product.T)
    return SimilarityWithBaseline(values, shuffled)
