"""Power laws in gamma claimed by arXiv 2410.04642, their alternatives, and their margins.

A law of leading order is no law of a finite window: between gamma = 10 and 1000 the exact toy of depth 3 has the
exponents 1.16 in place of 1 (lower edge), 0.43 in place of 1/3 (change of the weights) and 0.16 in place of 0
(collapse). A network follows the same laws with corrections of the same kind, but at a gamma in units of its own,
so they cannot be taken off. The margin of a law is therefore the most that the toy of the same depth misses it by
at these gammas and at those a quarter of a decade (UNIT) lower or higher, and LEAST_MARGIN on top. Tables of the
toy itself, whose corrections are known, take them off (`Slope.shape`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gammascape.theory import toy
from gammascape.theory.edges import Loss
from gammascape.theory.toy import Floats

LEAST_MARGIN = 0.03
"""A factor of 1.1 over one and a half decades: of width, noise and whole steps leading order says nothing."""
UNIT = 0.25
"""Decades by which a network's unit of gamma may lie above or below the toy's.

The upper edge of the toy bends at gamma = 1; networks of depth 2 to 5 under squared loss bend at log10
gamma = 0.15, 0.05, -0.05 and -0.15, each +-0.3 or less (crossover.parquet of depth-small). Under cross-entropy
they bend at -0.3 to -1.8, so the same gammas lie further above the bend, where a law misses less.
"""
_SHALLOWEST = 2

Curve = Callable[[Floats, int, Loss, float], Floats]
"""Value of the toy, up to a factor, at gamma, depth, loss, and relative loss that counts as trained."""


@dataclass(frozen=True)
class Slope:
    """Claim that a quantity scales as a power of gamma."""

    claim: str
    statement: str
    quantity: str
    alternatives: Callable[[int | None], list[float]]
    """Exponents under alternative laws, for a model of depth exponent L."""
    toy: Curve | None = None
    """The same in the toy, if theory has a closed form of it."""

    def shape(
        self, gamma: ArrayLike, predicted: float, depth: int | None, loss: Loss, level: float
    ) -> Floats:
        """log10 of what the toy has at log10 gamma (n,), less predicted * log10 gamma; zero on average.

        Args:
            gamma: (n,) log10 gamma.
            predicted: the exponent of leading order.
            depth: L. Without one the toy of depth 2, which is nearest to its laws last.
            loss: `mse` or `xent`.
            level: relative loss at or below which a cell is trained.
        """
        x = np.asarray(gamma, dtype=float)
        if self.toy is None or not len(x):
            return np.zeros_like(x)
        y = np.log10(self.toy(10**x, depth or _SHALLOWEST, loss, level)) - predicted * x
        return np.asarray(y - y.mean())

    def margin(
        self, gamma: ArrayLike, predicted: float, depth: int | None, loss: Loss, level: float
    ) -> float:
        """Margin of the exponent of a line through log10 gamma (n,), n >= 2, around the predicted one.

        LEAST_MARGIN and the largest miss of the toy as its gammas are shifted by -UNIT, 0 and UNIT.
        """
        x = np.unique(gamma)
        missed = [
            np.polyfit(x, self.shape(x + shift, predicted, depth, loss, level), 1)[0]
            for shift in (-UNIT, 0.0, UNIT)
        ]
        return LEAST_MARGIN + float(np.abs(missed).max())


def _fixed(*values: float) -> Callable[[int | None], list[float]]:
    return lambda _: list(values)


def _near(law: Callable[[float], float], *others: float) -> Callable[[int | None], list[float]]:
    """Exponents of a network one layer shallower or deeper, and `others`."""

    def exponents(depth: int | None) -> list[float]:
        assert depth is not None  # no such exponent is predicted without a depth
        return [law(depth + 1.0), *([law(depth - 1.0)] if depth > 1 else []), *others]

    return exponents


def _lower_edge(depth: int | None) -> list[float]:
    return [2.0] + ([2 / depth] if depth is not None and depth > 2 else [])


def _at_equal_steps(depth: int | None) -> list[float]:
    """Exponent of tau along eta = c gamma^(2/L) if all gammas need the same number of steps."""
    return [] if depth is None else [2 / depth - 1]


_TOY: Mapping[str, Curve] = {
    "upper edge": lambda gamma, depth, loss, level: toy.eta_critical(gamma, depth, loss),
    "lower edge": lambda gamma, depth, loss, level: toy.eta_min(gamma, depth, loss, 1, level),
    "start": lambda gamma, depth, loss, level: np.abs(toy.initial_sharpness(gamma, depth, loss)),
    "end": lambda gamma, depth, loss, level: toy.sharpness(gamma, depth, loss),
    "sharpening": lambda gamma, depth, loss, level: (
        toy.sharpness(gamma, depth, loss) / np.abs(toy.initial_sharpness(gamma, depth, loss))
    ),
    "change": lambda gamma, depth, loss, level: toy.minimum(gamma, depth) - 1,
}


def _laws(
    *rows: tuple[str, str, str, str, Callable[[int | None], list[float]], str | None, str],
) -> Mapping[tuple[str, str], Slope]:
    """Claims by quantity and window; the rows go on with name, exponent, alternatives, toy and statement."""
    return {
        (quantity, window): Slope(
            claim, statement, f"exponent of {words}", alternatives, _TOY[curve] if curve else None
        )
        for quantity, window, claim, words, alternatives, curve, statement in rows
    }


# fmt: off
EDGES = _laws(
    ("eta_no_spike", "lazy", "upper edge, lazy", "eta_no_spike", _fixed(1.0), "upper edge",
     "The largest learning rate without a spike goes as γ² where γ is small."),
    ("eta_max_trained", "rich", "upper edge, ultra-rich", "eta_max_trained", _near(lambda L: 2 / L), "upper edge",
     "The largest learning rate that trains goes as γ²⁄ᴸ where γ is large."),
    ("eta_min", "lazy", "lower edge, lazy", "eta_min", _fixed(1.0), "lower edge",
     "The smallest learning rate that trains within the budget goes as γ² where γ is small."),
    ("eta_min", "rich", "lower edge, ultra-rich", "eta_min", _lower_edge, "lower edge",
     "The smallest learning rate that trains within the budget goes as γ where γ is large."),
    ("eta_max_finite", "lazy", "divergence under cross-entropy", "eta_max_finite", _fixed(2.0), None,
     "Under cross-entropy the loss stays finite up to learning rates that go as γ."),
)
"""Claims about edges of training, by edge and window."""

DYNAMICS = _laws(
    # A peak is at a whole step, up to (N eta lambda - 1)^2 beside the law: that scatters, and is in the interval.
    ("catapult_peak", "lazy", "catapult", "the peak", _fixed(0.0, -1.0), None,
     "The peak of the loss in a catapult goes as γ⁻² where γ is small."),
    ("sharpness_init", "lazy", "sharpness before training, lazy", "the sharpness", _fixed(-1.0), "start",
     "The sharpness before training goes as γ⁻² where γ is small."),
    ("sharpness_init", "rich", "sharpness before training, ultra-rich", "the sharpness", _fixed(-2.0), "start",
     "The sharpness before training goes as 1/γ where γ is large."),
    ("sharpness_end", "lazy", "sharpness after training, lazy", "the sharpness", _fixed(-1.0), "end",
     "The sharpness after training goes as γ⁻² where γ is small."),
    ("sharpness_end", "rich", "sharpness after training, ultra-rich", "the sharpness",
     _near(lambda L: -2 / L), "end",
     "The sharpness after training goes as γ⁻²⁄ᴸ where γ is large."),
    ("sharpening_factor", "rich", "progressive sharpening", "the factor", _near(lambda L: 1 - 2 / L), "sharpening",
     "Training multiplies the sharpness by a factor that goes as γ¹⁻²⁄ᴸ where γ is large."),
    ("relative_change", "lazy", "weights move, lazy", "the change", _fixed(0.0, 2.0), "change",
     "The relative change of the first weights goes as γ where γ is small."),
    ("relative_change", "rich", "weights move, ultra-rich", "the change", _near(lambda L: 1 / L), "change",
     "The relative change of the first weights goes as γ¹⁄ᴸ where γ is large."),
)
"""Claims about events in runs, by quantity and window."""

COLLAPSE = Slope("collapse in rescaled time", "Large γ halve their loss at the same rescaled time ηt/γ.",
                 "exponent of tau at half of the loss", _at_equal_steps, toy.collapse_tau)
"""Claim about the loss curves at large gamma, eta following gamma^(2/L) and L > 2; the exponent is 0."""
# fmt: on
