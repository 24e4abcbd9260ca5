"""Broken lines: two slopes that meet."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS_PER_DECADE = 20


def fit_broken(gamma: Floats, weights: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares over slopes, height and knot for the rows of y (rows, n), n >= 4 gammas.

    For each candidate knot, from the second to the second last gamma so that each side has two points, the fit is
    linear; of all the best is taken.

    Args:
        gamma: (n,) distinct log10 gammas, rising.
        weights: (n,)
        y: (rows, n)

    Returns:
        log10 gamma of the knot, height there, slopes before and after it, (rows, 4); fitted values (rows, n);
        weighted sums of squares of the residuals (rows,).
    """
    low, high = gamma[1], gamma[-2]
    knots = np.linspace(low, high, max(2, round((high - low) * KNOTS_PER_DECADE) + 1))
    root, away = np.sqrt(weights), gamma - knots[:, None]
    # (knots, n, 3): 1, the part before the knot, the part after it.
    design = np.stack((np.ones_like(away), np.minimum(away, 0), np.maximum(away, 0)), -1)
    solved = np.einsum("kpn,rn->rkp", np.linalg.pinv(design * root[:, None]), y * root)
    # |y|^2 - |projection|^2 loses digits where the fit is exact; the residual itself does not.
    rss = np.stack([(y - solved[:, k] @ design[k].T) ** 2 @ weights for k in range(len(knots))], 1)
    best, rows = rss.argmin(1), np.arange(len(y))
    chosen = solved[rows, best]
    fitted = np.einsum("rnp,rp->rn", design[best], chosen)
    return np.column_stack((knots[best], chosen)), fitted, rss[rows, best]
