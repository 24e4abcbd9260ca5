"""Power laws predicted by theory for the edges of training, eta ~ gamma^exponent."""

from fractions import Fraction
from typing import Any, Literal, get_args

Edge = Literal[
    "eta_min", "eta_crit", "eta_no_spike", "eta_max_trained", "eta_max_finite", "eta_best"
]
Loss = Literal["mse", "xent"]
Regime = Literal["lazy", "rich"]

EDGES: tuple[Edge, ...] = get_args(Edge)


def edge_exponent(
    edge: Edge, loss: Loss, window: Regime, depth_exponent: int | None
) -> Fraction | None:
    """Predicted exponent of `edge` in the lazy (gamma << 1) or ultra-rich (gamma >> 1) window.

    It is derived for a network whose output is homogeneous of degree L = `depth_exponent` in its
    weights; None if the prediction needs an L that the model does not have.
    Lazy: a step moves the outputs by eta/gamma^2, so every edge scales as gamma^2, except that
    the bounded gradient of cross-entropy keeps the loss finite up to eta ~ gamma, where the
    weights themselves move by O(1). Ultra-rich: escape from the plateau takes a fixed
    eta*t/gamma, hence eta_min ~ gamma, and the curvature at the solution, gamma^(-2/L), bounds
    eta from above. eta_crit is 2 over the curvature before training, where the residual is large:
    its share (f - y) Hess f ~ 1/gamma wins, hence eta_crit ~ gamma. (Atanasov, Meterez, Simon,
    Pehlevan, arXiv:2410.04642.)
    """
    if window == "lazy":
        bounded = edge == "eta_max_finite" and loss == "xent"
        return Fraction(1) if bounded else Fraction(2)
    if edge in ("eta_min", "eta_crit"):
        return Fraction(1)
    return None if depth_exponent is None else Fraction(2, depth_exponent)


def predicted_slope(
    edge: Edge, loss: Loss, window: Regime, depth_exponent: int | None
) -> float | None:
    """`edge_exponent` as a float: the slope of log10 eta against log10 gamma."""
    exponent = edge_exponent(edge, loss, window, depth_exponent)
    return None if exponent is None else float(exponent)


def law_slopes(depth: Any) -> dict[str, Any]:
    """Exponents of the largest eta at large gamma that are compared, for L, a number or an array."""
    return {"2/L": 2 / depth, "3/L": 3 / depth, "2/(L+1)": 2 / (depth + 1)}


def predicted_edges(
    gamma_log10: Fraction, loss: Loss, rich_exponent: Fraction
) -> tuple[Fraction, Fraction]:
    """Predicted (lower, upper) edge of training as log10 eta, up to constants, at one gamma.

    The lower edge is min(2g, g) and the upper edge min(2g, r*g), with g = log10 gamma and
    r = `rich_exponent`, the exponent 2/L of the model. For cross-entropy and g < 0 the upper
    edge is the edge of finite loss, g.
    """
    regime: Regime = "lazy" if gamma_log10 < 0 else "rich"
    lower = edge_exponent("eta_min", loss, regime, None)
    upper = edge_exponent("eta_max_finite", loss, regime, None)
    assert lower is not None  # eta_min needs no depth exponent
    return lower * gamma_log10, (rich_exponent if upper is None else upper) * gamma_log10
