"""Adam against its definition, and from what it left."""

import itertools

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


def test_a_state_of_other_weights_is_refused() -> None:
    trained = weights()
    optimizer = Adam(trained)
    optimizer.step(loss_of(trained), RATE)
    for other in ([*trained, *trained], trained[:1], trained[::-1]):
        with pytest.raises(ValueError, match="state of weights"):
            Adam(other).load_state_dict(optimizer.state_dict())
    other = Adam(single := [weight.detach().float().requires_grad_() for weight in trained])
    with pytest.raises(ValueError, match="float64"):
        other.load_state_dict(optimizer.state_dict())
    other.step(loss_of(single), RATE)
    # The state is copied: to go on changes nothing of it.
    kept = {k: dict(values) for k, values in optimizer.state_dict()["state"].items()}
    before = [value.clone() for values in kept.values() for value in values.values()]
    second = Adam(again := weights())
    second.load_state_dict(optimizer.state_dict())
    second.step(loss_of(again), RATE)
    assert all(map(torch.equal, before, (v for values in kept.values() for v in values.values())))


@pytest.mark.parametrize("order", ["ours", "torch's, ours", "ours, torch's"])
def test_it_has_the_bits_of_torch_and_either_goes_on_from_the_other(order: str) -> None:
    # Importing torch's class takes seconds, which the tests of other files need not wait for.
    from torch.optim import Adam as TorchAdam

    def step(optimizer: Adam | TorchAdam, trained: list[Tensor], rate: float) -> None:
        if isinstance(optimizer, Adam):
            optimizer.step(loss_of(trained), rate)
            return
        optimizer.zero_grad()
        optimizer.param_groups[0]["lr"] = rate
        loss_of(trained).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    kinds = {"ours": Adam, "torch's": TorchAdam}
    expected, trained = weights(), weights()
    reference, optimizer = TorchAdam(expected), None
    for name in order.split(", "):
        before, optimizer = optimizer, kinds[name](trained)
        if before is not None:
            groups = {"param_groups": TorchAdam(trained).state_dict()["param_groups"]}
            optimizer.load_state_dict(groups | before.state_dict())
        for rate in rates():
            step(reference, expected, rate)
            step(optimizer, trained, rate)
            assert all(map(torch.equal, expected, trained))
    kept, found = (one.state_dict()["state"] for one in (reference, optimizer))
    for k, name in itertools.product(range(2), ("exp_avg", "exp_avg_sq", "step")):
        assert torch.equal(kept[k][name], found[k][name])
