"""Networks or layers of networks, each compared with each: similarity, its interval, its shuffled baseline."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from gammascape.study import Analysis
from gammascape.tables.cells import with_ends
from gammascape.tables.similarity.along_gamma import EqualGamma
from gammascape.tables.similarity.baseline import (
    SimilarityWithBaseline,
    against,
    compare_outputs,
    compare_pairs,
)
from gammascape.tables.similarity.networks import Network, common_classes
from gammascape.tables.statistics.fits import Floats
from gammascape.tables.statistics.intervals import Interval, seed_interval

Wanted = Callable[[Network, str | None, Network, str | None], bool]
"""True if a row is made of two networks, or of these layers of theirs."""

Group = tuple[str, float, str | None]
"""Model, log10 gamma and layer: networks that differ in seed."""


@dataclass(frozen=True)
class Block:
    """Networks, or layers of networks, each of which is compared with each."""

    members: Sequence[tuple[Network, str | None]]
    alike: SimilarityWithBaseline
    r2: Floats | None = None
    """(m, m): of the row's outputs as a prediction of the column's."""

    @classmethod
    def of_layers(cls, members: Sequence[tuple[Network, str]]) -> "Block":
        """Layers, without those that do not vary."""
        kept = [(network, layer) for network, layer in members if layer in network.grams]
        vectors = [network.grams[layer] for network, layer in kept]
        probes = members[0][0].probes
        pairs = probes * (probes - 1) // 2
        classes = common_classes([network for network, _ in members])
        return cls(kept, compare_pairs(np.reshape(vectors, (len(kept), pairs)), probes, classes))

    @classmethod
    def of_functions(cls, networks: Sequence[Network]) -> "Block":
        """Outputs, without networks of constant outputs."""
        kept = [network for network in networks if np.linalg.norm(network.outputs) > 0]
        flat = np.reshape(
            [network.outputs for network in kept], (len(kept), networks[0].outputs.size)
        )
        sizes = np.linalg.norm(flat, axis=1, keepdims=True)
        gram = flat @ flat.T
        squares = np.diag(gram)
        r2 = (2 * gram - squares[:, None]) / squares[None] if kept else None
        alike = compare_outputs(flat / sizes, networks[0].probes, common_classes(networks))
        return cls([(n, None) for n in kept], alike, r2)

    def rows(
        self, name: str, analysis: Analysis, wanted: Wanted | None = None
    ) -> Iterator[dict[str, Any]]:
        """A row for each pair of groups, or each wanted one, in both orders."""
        groups = self._groups()
        places = list(groups.values())
        means = self._means(places)
        beside = against(means.values, means.shuffled)
        beside |= against(means.values, means.within, "class_shuffled")
        known: dict[tuple[int, int], Interval] = {}
        for (a, group_a), (b, group_b) in product(enumerate(groups), repeat=2):
            one, other = self.members[places[a][0]], self.members[places[b][0]]
            if wanted is not None and not wanted(*one, *other):
                continue
            same = places[a] == places[b]
            pairs = len(places[a]) * len(places[b]) - (len(places[a]) if same else 0)
            row: dict[str, Any] = {
                **self._labels(group_a, one[0], places[a], "a"),
                **self._labels(group_b, other[0], places[b], "b"),
                "seed_pairs": pairs,
                name: None,
            }
            if pairs:
                # Alike in both orders.
                ends = known.get((b, a)) or self._interval(
                    self.alike.values, places[a], places[b], analysis
                )
                known[a, b] = ends
                row |= with_ends(name, means.values[a, b], ends)
                row |= {column: float(found[a, b]) for column, found in beside.items()}
            if pairs and self.r2 is not None:
                part = _without_itself(self.r2, places[a], places[b])
                ends = self._interval(self.r2, places[a], places[b], analysis)
                row |= with_ends("r2", float(np.nanmean(part)), ends)
            yield row

    def at_equal_gamma(self) -> list[EqualGamma]:
        """Similarity of the networks of each gamma, mean over pairs of layers, without Gram matrices."""
        by_gamma: dict[float, dict[Hashable, list[int]]] = {}
        for place, (network, _) in enumerate(self.members):
            by_gamma.setdefault(network.gamma, {}).setdefault(network.line, []).append(place)
        points = []
        for gamma, lines in sorted(by_gamma.items()):
            places = list(lines.values())
            networks = tuple(replace(self.members[of[0]][0], grams={}) for of in places)
            points.append(EqualGamma(gamma, networks, self._means(places)))
        return points

    def _groups(self) -> dict[Group, list[int]]:
        groups: dict[Group, list[int]] = {}
        for place, (network, layer) in enumerate(self.members):
            groups.setdefault((network.model, network.gamma, layer), []).append(place)
        return groups

    def _means(self, places: Sequence[Sequence[int]]) -> SimilarityWithBaseline:
        """Means over members of two groups, none with itself."""
        belongs = np.zeros((len(places), len(self.members)), dtype=np.float32)
        for group, members in enumerate(places):
            belongs[group, list(members)] = 1
        sizes = belongs.sum(1)
        counts = np.outer(sizes, sizes) - np.diag(sizes)
        off = 1 - np.eye(len(self.members), dtype=np.float32)
        with np.errstate(invalid="ignore"):
            mean = belongs.astype(np.float64) @ (self.alike.values * off) @ belongs.T / counts
            shuffled = belongs @ (self.alike.shuffled * off) @ belongs.T / counts
            within = self.alike.within
            within = None if within is None else belongs @ (within * off) @ belongs.T / counts
        return SimilarityWithBaseline(mean, shuffled, within)

    def _labels(
        self, group: Group, network: Network, places: Sequence[int], side: str
    ) -> dict[str, Any]:
        model, gamma, layer = group
        losses = [self.members[place][0].relative_loss for place in places]
        known = [loss for loss in losses if loss is not None]
        found: dict[str, Any] = {
            "model": model,
            "gamma": gamma,
            "seeds": len(places),
            "relative_loss": float(np.mean(known)) if known else None,
        }
        if layer is not None:
            depth = (network.layers.index(layer) + 1) / len(network.layers)
            found |= {"layer": layer, "depth": depth}
        gamma_name = {"gamma": f"gamma_{side}_log10"}
        return {gamma_name.get(name, f"{name}_{side}"): value for name, value in found.items()}

    def _interval(
        self, values: Floats, a: Sequence[int], b: Sequence[int], analysis: Analysis
    ) -> Interval:
        of_a, of_b = ([self.members[place][0] for place in places] for places in (a, b))
        return seed_interval(
            _without_itself(values, a, b),
            [network.seed for network in of_a],
            [network.seed for network in of_b],
            of_a[0].model == of_b[0].model,
            analysis.confidence,
        )


def _without_itself(values: Floats, a: Sequence[int], b: Sequence[int]) -> Floats:
    part = values[np.ix_(list(a), list(b))].copy()
    part[np.equal.outer(list(a), list(b))] = np.nan
    return part
