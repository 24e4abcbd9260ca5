"""The power laws in gamma that arXiv 2410.04642 claims, and what would hold if they did not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Slope:
    """A claim that a quantity goes as a power of gamma."""

    claim: str
    statement: str
    quantity: str
    alternatives: Callable[[int | None], list[float]]
    """What the exponent would be if another law held, for a model of depth exponent L."""


def _fixed(*values: float) -> Callable[[int | None], list[float]]:
    return lambda _: list(values)


def _of_other_depths(
    law: Callable[[float], float], *others: float
) -> Callable[[int | None], list[float]]:
    """The exponents of a network one layer shallower or deeper, and `others`."""

    def found(depth: int | None) -> list[float]:
        assert depth is not None  # no such exponent is predicted without a depth
        return [law(depth + 1.0), *([law(depth - 1.0)] if depth > 1 else []), *others]

    return found


def _lower_edge(depth: int | None) -> list[float]:
    return [2.0] + ([2 / depth] if depth is not None and depth > 2 else [])


EDGES: Mapping[tuple[str, str], Slope] = {
    ("eta_no_spike", "lazy"): Slope(
        "upper edge, lazy",
        "The largest learning rate without a spike goes as γ² where γ is small.",
        "exponent of eta_no_spike",
        _fixed(1.0),
    ),
    ("eta_max_trained", "rich"): Slope(
        "upper edge, ultra-rich",
        "The largest learning rate that trains goes as γ^(2/L) where γ is large.",
        "exponent of eta_max_trained",
        _of_other_depths(lambda depth: 2 / depth),
    ),
    ("eta_min", "lazy"): Slope(
        "lower edge, lazy",
        "The smallest learning rate that trains within the budget goes as γ² where γ is small.",
        "exponent of eta_min",
        _fixed(1.0),
    ),
    ("eta_min", "rich"): Slope(
        "lower edge, ultra-rich",
        "The smallest learning rate that trains within the budget goes as γ where γ is large.",
        "exponent of eta_min",
        _lower_edge,
    ),
    ("eta_max_finite", "lazy"): Slope(
        "divergence under cross-entropy",
        "Under cross-entropy the loss stays finite up to learning rates that go as γ.",
        "exponent of eta_max_finite",
        _fixed(2.0),
    ),
}
"""Claims about edges of training, by edge and window."""

DYNAMICS: Mapping[tuple[str, str], Slope] = {
    ("catapult_peak", "lazy"): Slope(
        "catapult",
        "The peak of the loss in a catapult goes as γ⁻² where γ is small.",
        "exponent of the peak",
        _fixed(0.0, -1.0),
    ),
    ("sharpness_init", "lazy"): Slope(
        "sharpness before training, lazy",
        "The sharpness before training goes as γ⁻² where γ is small.",
        "exponent of the sharpness",
        _fixed(-1.0),
    ),
    ("sharpness_init", "rich"): Slope(
        "sharpness before training, ultra-rich",
        "The sharpness before training goes as 1/γ where γ is large.",
        "exponent of the sharpness",
        _fixed(-2.0),
    ),
    ("sharpness_end", "lazy"): Slope(
        "sharpness after training, lazy",
        "The sharpness after training goes as γ⁻² where γ is small.",
        "exponent of the sharpness",
        _fixed(-1.0),
    ),
    ("sharpness_end", "rich"): Slope(
        "sharpness after training, ultra-rich",
        "The sharpness after training goes as γ^(-2/L) where γ is large.",
        "exponent of the sharpness",
        _of_other_depths(lambda depth: -2 / depth),
    ),
    ("sharpening_factor", "rich"): Slope(
        "progressive sharpening",
        "Training multiplies the sharpness by a factor that goes as γ^(1 - 2/L) where γ is large.",
        "exponent of the factor",
        _of_other_depths(lambda depth: 1 - 2 / depth),
    ),
    ("relative_change", "lazy"): Slope(
        "weights move, lazy",
        "The relative change of the first weights goes as γ where γ is small.",
        "exponent of the change",
        _fixed(0.0, 2.0),
    ),
    ("relative_change", "rich"): Slope(
        "weights move, ultra-rich",
        "The relative change of the first weights goes as γ^(1/L) where γ is large.",
        "exponent of the change",
        _of_other_depths(lambda depth: 1 / depth),
    ),
}
"""Claims about what happens in runs, by quantity and window."""
