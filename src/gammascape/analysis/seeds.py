"""Means over seeds and differences between gammas, with intervals that hold for few seeds."""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from gammascape.analysis.lines import Floats


@cache
def student(freedom: int, confidence: float) -> float:
    """Half-width, in standard errors, of the central interval of Student's t with `freedom` >= 1 degrees.

    With t = sqrt(freedom) tan(angle) the density is that of the angle, cos(angle)^(freedom - 1), which is
    integrated by the trapezoid rule to about five digits.
    """
    angle = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return float(np.sqrt(freedom) * np.tan(np.interp(confidence, mass / mass[-1], angle)))


def mean_interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    """Student's interval of the mean of values (seeds,); None for fewer than two."""
    if len(values) < 2:
        return None
    half = student(len(values) - 1, confidence) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def wilson(share: float, samples: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of the share of a class of which `samples` draws are known."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = (
        z / (1 + z**2 / samples) * np.sqrt(share * (1 - share) / samples + z**2 / (4 * samples**2))
    )
    return float(centre - half), float(centre + half)


@dataclass(frozen=True)
class Levels:
    """What each gamma reaches, seeds taken out."""

    gamma: Floats
    """(gammas,) rising."""
    mean: Floats
    """(gammas,) as if every seed had been trained at every gamma."""
    error: Floats
    """(gammas, gammas) standard errors of differences; NaN where no seeds connect two gammas."""
    freedom: int
    """Degrees of freedom of the errors; 0 if they are unknown (and then NaN)."""


def fit_levels(gamma: Floats, seed: Floats, value: Floats) -> Levels:
    """Least squares of value = level of its gamma + effect of its seed; all inputs (points,).

    The seed's effect, which all gammas share, drops out of differences: they are paired. What is left scatters
    equally at all gammas, by assumption: its variance is estimated from all of them together, because two or
    three seeds do not tell the variance of one gamma.
    """
    gammas, at = np.unique(gamma, return_inverse=True)
    seeds, of = np.unique(seed, return_inverse=True)
    design = np.hstack((np.eye(len(gammas))[at], np.eye(len(seeds))[of]))
    inverse = np.linalg.pinv(design.T @ design)
    solution = inverse @ (design.T @ value)
    freedom = len(value) - int(np.linalg.matrix_rank(design))
    # Levels and effects are known up to a constant that they exchange.
    mean = solution[: len(gammas)] + solution[len(gammas) :].mean()
    error = np.full((len(gammas), len(gammas)), np.nan)
    if freedom:
        variance = float(((value - design @ solution) ** 2).sum() / freedom)
        block = inverse[: len(gammas), : len(gammas)]
        spread = np.diag(block)[:, None] + np.diag(block)[None] - 2 * block
        error = np.sqrt(np.maximum(spread, 0) * variance)
    # A difference of levels is known if it is a combination of the data.
    known = inverse @ (design.T @ design)
    differences = np.eye(len(gammas))[:, None] - np.eye(len(gammas))[None]
    padded = np.concatenate((differences, np.zeros((*error.shape, len(seeds)))), -1)
    error[np.abs(padded @ known - padded).max(-1) > 1e-8] = np.nan
    return Levels(gammas, mean, error, freedom)
