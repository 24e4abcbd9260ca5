"""Adam against its definition, and from what it left."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gammascape.generate.adam import Adam

STEPS, RATE = 6, 0.1


def loss_of(weights: list[Tensor]) -> Tensor:
    return weights[0].pow(4).sum() + (weights[1] * weights[0].sum()).square().sum()


def weights() -> list[Tensor]:
    numbers = [[1.0, -2.0, 0.5], [0.3]]
    return [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in numbers]


def rates() -> list[float]:
    return [RATE * (1 - step / STEPS) for step in range(STEPS)]


def test_it_is_what_its_authors_define() -> None:
    trained = weights()
    optimizer = Adam(trained)
    # Algorithm 1 of Kingma & Ba.
    theta = np.array([1.0, -2.0, 0.5, 0.3])
    mean, square = np.zeros(4), np.zeros(4)
    for t, rate in enumerate(rates(), 1):
        optimizer.step(loss_of(trained), rate)
        x, y = theta[:3], theta[3]
        of_x = 4 * x**3 + 2 * y**2 * x.sum()
        gradient = np.append(of_x, 2 * y * x.sum() ** 2)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        theta = theta - rate * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    found = np.concatenate([weight.detach().numpy() for weight in trained])
    # Six steps in float64, in another order of operations.
    np.testing.assert_allclose(found, theta, rtol=1e-12)
    # By the names that `torch.optim.Adam` has for them, which older checkpoints hold.
    state = optimizer.state_dict()["state"]
    for name, expected in (("exp_avg", mean), ("exp_avg_sq", square)):
        kept = np.concatenate([state[k][name].numpy() for k in range(2)])
        np.testing.assert_allclose(kept, expected, rtol=1e-12)
    assert [state[k]["step"] for k in range(2)] == [STEPS, STEPS]


def test_it_goes_on_from_its_state() -> None:
    whole, parts = weights(), weights()
    optimizer, first = Adam(whole), Adam(parts)
    for rate in rates():
        optimizer.step(loss_of(whole), rate)
    for rate in rates()[:3]:
        first.step(loss_of(parts), rate)
    second = Adam(parts)
    # `torch.optim.Adam` has settings beside.
    second.load_state_dict({**first.state_dict(), "param_groups": [{"lr": 1.0}]})
    for rate in rates()[3:]:
        second.step(loss_of(parts), rate)
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(KeyError):
        Adam([*parts, *parts]).load_state_dict(first.state_dict())
