"""Power laws in gamma claimed by arXiv 2410.04642, and their alternatives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Slope:
    """Claim that a quantity scales as a power of gamma."""

    claim: str
    statement: str
    quantity: str
    alternatives: Callable[[int | None], list[float]]
    """Exponents under alternative laws, for a model of depth exponent L."""


def _fixed(*values: float) -> Callable[[int | None], list[float]]:
    return lambda _: list(values)


def _near(law: Callable[[float], float], *others: float) -> Callable[[int | None], list[float]]:
    """Exponents of a network one layer shallower or deeper, and `others`."""

    def found(depth: int | None) -> list[float]:
        assert depth is not None  # no such exponent is predicted without a depth
        return [law(depth + 1.0), *([law(depth - 1.0)] if depth > 1 else []), *others]

    return found


def _lower_edge(depth: int | None) -> list[float]:
    return [2.0] + ([2 / depth] if depth is not None and depth > 2 else [])


def _laws(
    *rows: tuple[str, str, str, str, Callable[[int | None], list[float]], str],
) -> Mapping[tuple[str, str], Slope]:
    """Claims by quantity and window, from rows (quantity, window, name, words, alternatives, statement)."""
    return {
        (quantity, window): Slope(claim, statement, f"exponent of {words}", alternatives)
        for quantity, window, claim, words, alternatives, statement in rows
    }


# fmt: off
EDGES = _laws(
    ("eta_no_spike", "lazy", "upper edge, lazy", "eta_no_spike", _fixed(1.0),
     "The largest learning rate without a spike goes as γ² where γ is small."),
    ("eta_max_trained", "rich", "upper edge, ultra-rich", "eta_max_trained", _near(lambda depth: 2 / depth),
     "The largest learning rate that trains goes as γ^(2/L) where γ is large."),
    ("eta_min", "lazy", "lower edge, lazy", "eta_min", _fixed(1.0),
     "The smallest learning rate that trains within the budget goes as γ² where γ is small."),
    ("eta_min", "rich", "lower edge, ultra-rich", "eta_min", _lower_edge,
     "The smallest learning rate that trains within the budget goes as γ where γ is large."),
    ("eta_max_finite", "lazy", "divergence under cross-entropy", "eta_max_finite", _fixed(2.0),
     "Under cross-entropy the loss stays finite up to learning rates that go as γ."),
)
"""Claims about edges of training, by edge and window."""

DYNAMICS = _laws(
    ("catapult_peak", "lazy", "catapult", "the peak", _fixed(0.0, -1.0),
     "The peak of the loss in a catapult goes as γ⁻² where γ is small."),
    ("sharpness_init", "lazy", "sharpness before training, lazy", "the sharpness", _fixed(-1.0),
     "The sharpness before training goes as γ⁻² where γ is small."),
    ("sharpness_init", "rich", "sharpness before training, ultra-rich", "the sharpness", _fixed(-2.0),
     "The sharpness before training goes as 1/γ where γ is large."),
    ("sharpness_end", "lazy", "sharpness after training, lazy", "the sharpness", _fixed(-1.0),
     "The sharpness after training goes as γ⁻² where γ is small."),
    ("sharpness_end", "rich", "sharpness after training, ultra-rich", "the sharpness",
     _near(lambda depth: -2 / depth),
     "The sharpness after training goes as γ^(-2/L) where γ is large."),
    ("sharpening_factor", "rich", "progressive sharpening", "the factor", _near(lambda depth: 1 - 2 / depth),
     "Training multiplies the sharpness by a factor that goes as γ^(1 - 2/L) where γ is large."),
    ("relative_change", "lazy", "weights move, lazy", "the change", _fixed(0.0, 2.0),
     "The relative change of the first weights goes as γ where γ is small."),
    ("relative_change", "rich", "weights move, ultra-rich", "the change", _near(lambda depth: 1 / depth),
     "The relative change of the first weights goes as γ^(1/L) where γ is large."),
)
"""Claims about events in runs, by quantity and window."""
# fmt: on
