"""Intervals of slopes and means of quantities that lie in known cells of a grid, for one seed or several.

The model of log10 y at log10 gamma x in seed s, with everything but the line normal around zero:

    y = intercept + slope x + level of s + (slope of s) x + (deviation at x, of all seeds) + noise

Of y only its cell (lower, upper) is known: the likelihood is the probability of the cell, so the grid is
used once, and a cell without an end (an edge outside of the sampled etas) counts for what it says. Where
lower equals upper, y itself is known. The three scatters that one seed cannot tell apart (slopes of seeds,
deviations, noise) are one with one seed.

Priors: slope and intercept are flat. The noise of cells is log-normal around NOISE with a factor of e^1 as
its standard deviation (95 % between 0.014 and 0.71 decades): edges scatter by less than a decade about
their law. It decides where three or four points know little of their own scatter, and is weak beside ten.
The noise of values that are known exactly may have any unit: log-uniform. Deviations and slopes of seeds
have one of RATIOS standard deviations of the noise each; levels of seeds are zero or free.

Sums over a grid of scatters; at each of its nodes the integral over y comes from expectation propagation
(Minka 2001; equations 3.51 to 3.74 of Rasmussen and Williams 2006), which is exact for values and accurate
for cells. The posterior is then a mixture of normals: no random numbers. Where lines without any noise pass
through all cells, cells cannot tell where between these the line is, however many there are: the interval
holds the central share of their slopes too. benchmarks/coverage.py tells how often the intervals hold the
truth.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, linprog
from scipy.special import chdtri, log_ndtr, ndtr

Floats = NDArray[np.float64]

NOISE = 0.1
"""Median of the prior of the noise of cells, in decades."""
RATIOS = {0.0: 0.5, 1.0: 0.16, 4.0: 0.14, 16.0: 0.11, 64.0: 0.09}
"""Prior of deviations, in units of the noise, and of slopes of seeds, in errors that noise gives one of them."""
LEAST_GAMMAS = 3
"""Two gammas lie on a line whatever they are."""
_NODES = 12
_STEPS = 40
_FIRST, _ROUNDS, _DAMPING, _ENOUGH = 3, 40, 0.8, 1e-3
_UNLIKELY = 8.0
_FLAT, _NONE = 1e2, 1e-3
_EXACT = 1e-5
"""Least noise, in units of the values: below it matrices lose their digits."""


@dataclass(frozen=True)
class Posterior:
    """A mixture of normals; all (nodes,)."""

    weights: Floats
    means: Floats
    errors: Floats

    def mean(self) -> float:
        """The mean of the mixture."""
        return float(self.weights @ self.means)

    def below(self, value: float) -> float:
        """The probability of values below one."""
        return float(self.weights @ ndtr((value - self.means) / self.errors))

    def density(self, values: ArrayLike) -> Floats:
        """The density at values; its ratio at two values is the ratio of their likelihoods."""
        away = (np.asarray(values)[..., None] - self.means) / self.errors
        found: Floats = np.exp(-(away**2) / 2) @ (self.weights / self.errors) / np.sqrt(2 * np.pi)
        return found

    def quantile(self, share: float) -> float:
        """The value with this share of the mixture below it."""
        reach = 40.0 * float(self.errors.max())
        ends = float(self.means.min()) - reach, float(self.means.max()) + reach
        return float(brentq(lambda value: self.below(value) - share, *ends, xtol=1e-9))

    def reaching(self, low: float, high: float, confidence: float) -> "Posterior":
        """Itself if it holds the central share `confidence` of low to high, else a flat one that holds both."""
        rest = (1 - confidence) / 2 * (high - low)
        own = self.interval(confidence)
        ends = min(own[0], low + rest), max(own[1], high - rest)
        if not -np.inf < low <= high < np.inf or ends == own:
            return self
        middle, half = sum(ends) / 2, (ends[1] - ends[0]) / (2 * confidence)
        steps = middle + half * (2 * np.arange(_STEPS) + 1 - _STEPS) / _STEPS
        return Posterior(
            np.full(_STEPS, 1 / _STEPS), steps, np.full(_STEPS, half / (_STEPS * np.sqrt(3)))
        )

    def interval(self, confidence: float) -> tuple[float, float]:
        """The central share `confidence`."""
        tail = (1 - confidence) / 2
        return self.quantile(tail), self.quantile(1 - tail)


@dataclass(frozen=True)
class Line:
    """A mixture of normals of a slope and of the height at `centre`."""

    centre: float
    weights: Floats
    """(nodes,)"""
    means: Floats
    """(nodes, 2)"""
    covariances: Floats
    """(nodes, 2, 2)"""

    def height(self, gamma: float) -> Posterior:
        """The height at log10 gamma."""
        lever = np.array([gamma - self.centre, 1.0])
        return Posterior(
            self.weights, self.means @ lever, np.sqrt(lever @ self.covariances @ lever)
        )


@dataclass(frozen=True)
class Fit:
    """A slope, or a mean over seeds (`fit_mean`)."""

    value: float
    """The slope, or the mean."""
    intercept: float
    """Height of the line at log10 gamma = 0; NaN for a mean."""
    low: float | None
    """Ends of the interval; None with fewer than LEAST_GAMMAS gammas, or two seeds."""
    high: float | None
    gammas: int
    """Gammas at which some seed has both ends of its cell."""
    seeds: int
    censored: int
    """Points with one end."""
    posterior: Posterior | None
    line: Line | None = None
    """Line of a slope with an interval."""


def fit_slope(
    gamma: ArrayLike,
    seed: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    confidence: float,
    shape: ArrayLike = 0.0,
) -> Fit | None:
    """Fit a line to cells; all inputs (points,).

    Args:
        gamma: log10 gamma.
        seed: any number that differs between seeds.
        lower, upper: bounds of log10 y; -inf or inf without a bound, equal where y is known.
        confidence: level of the interval.
        shape: a known correction of log10 y at finite gamma, which the line is added to.

    Returns:
        The fit; None with fewer than two gammas. Seeds that have both ends at fewer than two gammas are left out
        where another has them at LEAST_GAMMAS.
    """
    x, of, offset = np.asarray(gamma, dtype=float), np.asarray(seed), np.asarray(shape, dtype=float)
    low, high = np.asarray(lower, dtype=float) - offset, np.asarray(upper, dtype=float) - offset
    bounded = np.isfinite(low) & np.isfinite(high)
    censored = int((~bounded).sum())
    of_seed = {own: len(np.unique(x[bounded & (of == own)])) for own in np.unique(of)}
    if max(of_seed.values(), default=0) >= LEAST_GAMMAS:
        # One with fewer than two edges tells no slope, and must not make those that do tell one less sure.
        telling = np.isin(of, [own for own, count in of_seed.items() if count > 1])
        x, of, bounded, low, high = (part[telling] for part in (x, of, bounded, low, high))
    gammas = len(np.unique(x[bounded]))
    seeds, of = np.unique(of, return_inverse=True)
    if gammas < 2:
        return None
    counts = gammas, len(seeds), censored
    centre = float(x.mean())
    away = x - centre
    if gammas < LEAST_GAMMAS:
        known = np.column_stack((away, np.ones_like(x)))[bounded]
        middle = (low + high)[bounded] / 2
        slope, level = np.linalg.lstsq(known, middle, rcond=None)[0]
        return Fit(float(slope), float(level - slope * centre), None, None, *counts, None)
    columns = [away, np.ones_like(x)]
    spread = float(np.sqrt((away**2).mean()))
    several = len(seeds) > 1
    if several:
        own = np.eye(len(seeds))[of]
        at = np.eye(len(np.unique(x)))[np.unique(x, return_inverse=True)[1]]
        columns += [*own.T, *(own.T * away / (spread * np.sqrt(at.shape[1]))), *at.T]
        sizes = [len(seeds), len(seeds), at.shape[1]]
    else:
        sizes = [0, 0, 0]
    line = Line(centre, *_solve(np.column_stack(columns), sizes, low, high))
    posterior = Posterior(line.weights, line.means[:, 0], np.sqrt(line.covariances[:, 0, 0]))
    slope = posterior.mean()
    intercept = line.height(0.0).mean()
    posterior = posterior.reaching(*_slopes_without_noise(x, of, low, high), confidence)
    return Fit(slope, intercept, *posterior.interval(confidence), *counts, posterior, line)


def fit_plane(x: Floats, lower: Floats, upper: Floats, confidence: float) -> list[Posterior]:
    """Slopes of a plane through cells, against each of several quantities.

    Where planes without any noise pass through all cells, the interval of a slope holds the central share of
    theirs, as a line's does.

    Args:
        x: (points, quantities); at least two points more than quantities have both ends.
        lower, upper: between what y lies, (points,); -inf or inf without an end.
        confidence: level of the intervals.
    """
    flat = np.column_stack((x - x.mean(0), np.ones(len(x))))
    weights, means, covariances = _solve(flat, [0, 0, 0], lower, upper)
    rows, ends = np.vstack((flat, -flat)), np.concatenate((upper, -lower))
    within = {
        "A_ub": rows[np.isfinite(ends)],
        "b_ub": ends[np.isfinite(ends)],
        "bounds": (None, None),
    }
    slopes = []
    for k in range(x.shape[1]):
        own = Posterior(weights, means[:, k], np.sqrt(covariances[:, k, k]))
        aim = np.eye(flat.shape[1])[k]
        least, most = linprog(aim, **within), linprog(-aim, **within)
        known = least.status == most.status == 0
        slopes.append(own.reaching(least.fun, -most.fun, confidence) if known else own)
    return slopes


def fit_mean(lower: ArrayLike, upper: ArrayLike, confidence: float) -> Fit | None:
    """Mean over seeds of a quantity that lies in cells, (seeds,) each: an edge, or steps to a loss.

    Returns:
        The fit, without an interval for one seed; None if no cell has both ends.
    """
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    middle = ((low + high) / 2)[np.isfinite(low) & np.isfinite(high)]
    if not len(middle):
        return None
    counts = 1, len(low), len(low) - len(middle)
    if len(middle) < 2:
        return Fit(float(middle[0]), float("nan"), None, None, *counts, None)
    weights, means, covariances = _solve(np.ones((len(low), 1)), [0, 0, 0], low, high)
    posterior = Posterior(weights, means[:, 0], np.sqrt(covariances[:, 0, 0]))
    value = posterior.mean()
    posterior = posterior.reaching(float(low.max()), float(high.min()), confidence)
    return Fit(value, float("nan"), *posterior.interval(confidence), *counts, posterior)


def _slopes_without_noise(
    x: Floats, seed: NDArray[np.intp], lower: Floats, upper: Floats
) -> tuple[float, float]:
    """Least and largest slope of lines, a height for each seed, that pass through all cells; all (points,).

    The least is above the largest where there is none.
    """
    apart = x[:, None] - x
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = (upper[:, None] - lower) / apart
    alike = (seed[:, None] == seed) & (apart > 0)
    # From the lower end of a cell to the upper end of one before it, and the other way round.
    return float(rise.T[alike].max(initial=-np.inf)), float(rise[alike].min(initial=np.inf))


def _solve(
    design: Floats, sizes: list[int], lower: Floats, upper: Floats
) -> tuple[Floats, Floats, Floats]:
    """Weights (nodes,), means (nodes, flat) and covariances (nodes, flat, flat) of the flat coefficients.

    Args:
        design: (points, coefficients), the flat ones first, the last of which is the height, then `sizes`
            (levels and slopes of seeds, deviations of gammas).
        lower, upper: (points,).
    """
    ends = (np.asarray(end, dtype=float).tobytes() for end in (lower, upper))
    return _solved(design.shape[1], design.tobytes(), (*sizes,), *ends)


@lru_cache(maxsize=256)
def _solved(
    coefficients: int, of_design: bytes, sizes: tuple[int, ...], below: bytes, above: bytes
) -> tuple[Floats, Floats, Floats]:
    """`_solve`: several tables, and rounds of a map, ask for the same fits."""
    design: Floats = np.frombuffer(of_design).reshape(-1, coefficients)
    lower: Floats = np.frombuffer(below)
    upper: Floats = np.frombuffer(above)
    bounded = np.isfinite(lower) & np.isfinite(upper)
    flat = design.shape[1] - sum(sizes)
    middle = (lower + upper)[bounded] / 2
    width = (upper - lower)[bounded]
    # Units in which flat priors are flat: the values'.
    origin = float(middle.mean())
    fixed = np.column_stack((design[bounded, :flat], design[bounded, flat : flat + sizes[0]]))
    solution, _, rank, _ = np.linalg.lstsq(fixed, middle - origin, rcond=None)
    rest = middle - origin - fixed @ solution
    freedom = max(1, len(middle) - int(rank))
    typical = float(np.sqrt(width @ width / len(width)))
    residual = max(
        float(np.sqrt(rest @ rest / freedom)), _EXACT * (1e-3 + float(np.ptp(middle)) + typical)
    )
    # From what cells could hide, or the other scatters could leave of the residuals, to what the residuals
    # could come from: few points hardly tell.
    highest = np.hypot(residual, typical / 3) * np.sqrt(freedom / chdtri(freedom, 0.999))
    lowest = max(residual / (20 if sum(sizes) else 3), typical / 12)
    if typical:
        highest = min(highest, NOISE * np.exp(3.0))
    noise = np.geomspace(min(lowest, highest / 2), highest, _NODES)
    several = sum(sizes) > 0
    ratios = RATIOS if several else {0.0: 1.0}
    levels = (0.0, 1.0) if several and typical else (1.0,)
    grid = np.meshgrid(noise, list(ratios), list(ratios), levels, indexing="ij")
    noise, of_seed, of_gamma, free = (part.ravel() for part in grid)
    log_prior = np.log([ratios[a] * ratios[b] for a, b in zip(of_seed, of_gamma, strict=True)])
    if typical:
        log_prior -= np.log(noise / NOISE) ** 2 / 2
    unit = float(np.ptp(middle)) + typical + residual
    scales = [np.full((len(noise), flat), _FLAT * unit)]
    for size, scale in zip(sizes, (free * unit, of_seed * noise, of_gamma * noise), strict=True):
        scales.append(np.repeat(np.maximum(scale, _NONE * noise)[:, None], size, 1))
    away = lower - origin, upper - origin
    # A few rounds tell which nodes have less than e^-8 of the best one's weight.
    first = _propagate(design, np.hstack(scales), noise, *away, _FIRST)
    likely = first.evidence + log_prior > (first.evidence + log_prior).max() - _UNLIKELY
    log_prior = log_prior[likely]
    sites = first.precision[likely], first.pull[likely]
    evidence, means, covariances, _, _ = _propagate(
        design, np.hstack(scales)[likely], noise[likely], *away, _ROUNDS - _FIRST, sites
    )
    weights = np.exp(evidence + log_prior - (evidence + log_prior).max())
    weights /= weights.sum()
    means = means[:, :flat]
    means[:, -1] += origin
    return weights, means, covariances[:, :flat, :flat]


class _Propagated(NamedTuple):
    evidence: Floats
    """Log evidence (nodes,)."""
    means: Floats
    """(nodes, coefficients)"""
    covariances: Floats
    """(nodes, coefficients, coefficients)"""
    precision: Floats
    """Precisions of the normals that stand for points' cells (nodes, points); `pull`: times their means."""
    pull: Floats


def _propagate(
    design: Floats,
    scales: Floats,
    noise: Floats,
    lower: Floats,
    upper: Floats,
    rounds: int,
    begin: tuple[Floats, Floats] | None = None,
) -> _Propagated:
    """Expectation propagation at each node.

    Args:
        design: (points, coefficients).
        scales: (nodes, coefficients) standard deviations of the coefficients' priors.
        noise: (nodes,)
        lower, upper: (points,)
        begin: precision and pull of earlier rounds.
    """
    bounded = np.isfinite(lower) & np.isfinite(upper)
    variance = noise[:, None] ** 2
    if begin is None:
        # The middle of a cell with the variance of a uniform draw; a cell without an end says nothing yet.
        middle = np.where(bounded, np.where(bounded, lower, 0) + np.where(bounded, upper, 0), 0) / 2
        width = np.where(bounded, upper - lower, np.inf)
        precision = np.where(bounded, 1 / (variance + width**2 / 12), 0.0)
        begin = precision, precision * middle
    precision, pull = begin
    squares = (design[:, :, None] * design[:, None]).reshape(len(design), -1)
    for _ in range(rounds):
        # In units of the priors, as the scatters may differ by many orders of magnitude.
        told = (precision @ squares).reshape(len(noise), *2 * design.shape[1:])
        told *= scales[:, None]
        told *= scales[:, :, None]
        told += np.eye(design.shape[1])
        covariance = np.linalg.inv(told) * scales[:, None]
        covariance *= scales[:, :, None]
        means = ((pull @ design)[:, None] @ covariance)[:, 0]
        centre = means @ design.T
        spread = np.einsum("bnp,np->bn", design @ covariance, design)
        left = np.maximum(1 - precision * spread, 1e-9)
        cavity, cavity_spread = (centre - spread * pull) / left, spread / left
        log_mass, gradient, curvature = _cell(lower, upper, cavity, cavity_spread + variance)
        rest = np.maximum(1 - cavity_spread * curvature, 1e-9)
        wanted, wanted_pull = curvature / rest, (gradient + cavity * curvature) / rest
        change = np.abs(wanted - precision) * spread + np.abs(wanted_pull - pull) * np.sqrt(spread)
        if change.max() < _ENOUGH:
            break
        precision = precision + _DAMPING * (wanted - precision)
        pull = pull + _DAMPING * (wanted_pull - pull)
    grown = 1 + precision * cavity_spread
    site = (
        (pull**2 * cavity_spread + 2 * pull * cavity - precision * cavity**2) / grown
        - np.log(grown)
    ) / 2
    evidence = (
        (log_mass - site).sum(1)
        - np.linalg.slogdet(told)[1] / 2
        + ((pull @ design) * means).sum(1) / 2
    )
    return _Propagated(evidence, means, covariance, precision, pull)


def _cell(
    lower: Floats, upper: Floats, mean: Floats, variance: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log probability that a normal variable lies in a cell, its first derivative in the mean and less its second.

    Where the ends are equal, the density.
    """
    error = np.sqrt(variance)
    low, high = (lower - mean) / error, (upper - mean) / error
    exact = lower == upper
    # Mirrored so that the cell lies below the mean, where the logarithms keep their digits.
    mirrored = low + high > 0
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        top = log_ndtr(high)
        log_mass = top + np.log1p(-np.exp(log_ndtr(low) - top))
        log_mass = np.where(exact, -(high**2 + np.log(2 * np.pi * variance)) / 2, log_mass)
        at_low, at_high = (
            np.where(np.isfinite(end), np.exp(-(end**2 + np.log(2 * np.pi)) / 2 - log_mass), 0)
            for end in (low, high)
        )
        gradient = at_low - at_high
        curvature = gradient**2 + (
            np.where(np.isfinite(high), high, 0) * at_high
            - np.where(np.isfinite(low), low, 0) * at_low
        )
    gradient = np.where(exact, high, gradient) * np.where(mirrored, -1, 1) / error
    return log_mass, gradient, np.where(exact, 1.0, np.clip(curvature, 1e-9, 1)) / variance
