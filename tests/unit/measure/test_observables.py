"""Observables against dense matrices, closed forms and their own definitions."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.measure.curvature import TRACE_PROBES, Curvature, largest_eigenvalue
from gammascape.measure.kernels import (
    debiased_similarity,
    gradient_noise_scale,
    gram,
    tangent_kernel,
)
from gammascape.measure.networks import Networks, flat_size
from gammascape.measure.spectra import effective_rank, singular_values
from gammascape.models import build_model, initial_parameters
from gammascape.models.centred import difference_form, subtraction
from gammascape.training.losses import lane_losses

from ..planted import cka_matrix

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 3, "width": 8},
    "cnn": {"kind": "cnn", "width": 1, "padding": 1},
    "resnet": {"kind": "resnet", "width": 4, "blocks": [1], "norm": "layer"},
    "vit": {
        "kind": "vit",
        "width": 4,
        "heads": 2,
        "blocks": 1,
        "patch": 4,
        "mlp_ratio": 1,
    },
}
SAMPLES = 8


def networks(
    options: dict[str, Any],
    loss: str,
    gammas: list[float],
    *,
    difference: bool = False,
    moved: float = 0.1,
) -> Networks:
    """Some networks in float64 whose weights have moved away from their start by random numbers."""
    shape, outputs = (6,) if options["kind"] == "mlp" else (1, 8, 8), 3
    model = build_model(options, shape, outputs)
    form = difference_form(model) if difference else subtraction(model)
    generator = torch.Generator().manual_seed(1)
    # Inputs with a common part and more of one class, so that the samples' gradients have a common direction.
    labels = (torch.arange(SAMPLES) % 4) // 3
    x = 1.0 + 0.5 * torch.randn((SAMPLES, *shape), generator=generator, dtype=torch.float64)
    y = torch.eye(outputs, dtype=torch.float64)[labels]
    starts = initial_parameters(model, list(range(len(gammas))), torch.float64, CPU)
    change = {
        name: moved * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in starts.items()
    }
    return Networks(
        form=form,
        trained=change
        if difference
        else {name: value + change[name] for name, value in starts.items()},
        starts=starts if difference else {},
        gammas=torch.tensor(gammas, dtype=torch.float64)[:, None, None],
        reference=form.reference(starts, x),
        x=x,
        y=y,
        losses=partial(lane_losses, loss),
    )


def lane(some: Networks, k: int) -> Networks:
    one = slice(k, k + 1)
    return replace(
        some,
        trained={name: value[one] for name, value in some.trained.items()},
        starts={name: value[one] for name, value in some.starts.items()},
        gammas=some.gammas[one],
        reference=tuple(value[one] for value in some.reference),
    )


def outputs_of_flat(some: Networks, k: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """f (P, O) of one lane as a function of all its trained numbers in a row, and those numbers."""
    alone = lane(some, k)

    def outputs(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [value[0].numel() for value in alone.trained.values()])
        trained = {
            name: part.reshape(value.shape)
            for part, (name, value) in zip(parts, alone.trained.items(), strict=True)
        }
        return alone.outputs(trained)[0]

    return outputs, torch.cat([value.flatten() for value in alone.trained.values()])


def dense_hessian(some: Networks, k: int) -> Tensor:
    outputs, flat = outputs_of_flat(some, k)
    return torch.autograd.functional.hessian(
        lambda w: some.losses(outputs(w)[None], some.y)[0], flat
    )


def dense_gauss_newton(some: Networks, k: int) -> Tensor:
    outputs, flat = outputs_of_flat(some, k)
    jacobian = torch.autograd.functional.jacobian(outputs, flat).flatten(0, 1)
    f = outputs(flat).detach()
    bend = torch.autograd.functional.hessian(
        lambda value: some.losses(value.reshape(1, *f.shape), some.y)[0], f.flatten()
    )
    return jacobian.T @ bend @ jacobian


def dense(product: Callable[[Tensor], Tensor], some: Networks) -> Tensor:
    """The matrices (K, n, n) that a product stands for."""
    eye = torch.eye(some.size, flat_size(some.size), dtype=torch.float64)
    columns = [product(row.expand(some.count, -1))[:, : some.size] for row in eye]
    return torch.stack(columns, 2)


@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("difference", [False, True])
def test_products_are_those_with_the_dense_matrices(loss: str, difference: bool) -> None:
    some = networks(KINDS["mlp"], loss, [1e-2, 1.0, 1e3], difference=difference)
    curvature = Curvature(some)
    for product, exact in (
        (curvature.hessian, dense_hessian),
        (curvature.gauss_newton, dense_gauss_newton),
    ):
        found = dense(product, some)
        for k in range(some.count):
            expected = exact(some, k)
            # Two orders of summation over some hundred float64 terms, relative to the largest entry.
            torch.testing.assert_close(
                found[k] / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-12
            )


@pytest.mark.parametrize("kind", ["cnn", "resnet", "vit"])
@pytest.mark.parametrize("difference", [False, True])
def test_every_architecture_has_a_hessian(kind: str, difference: bool) -> None:
    some = networks(KINDS[kind], "xent", [0.5, 20.0], difference=difference)
    v = torch.randn((1, some.size), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    v = torch.nn.functional.pad(v, (0, flat_size(some.size) - some.size)).expand(2, -1)
    found = Curvature(some).hessian(v)
    for k in range(2):
        outputs, flat = outputs_of_flat(some, k)

        def slope(w: Tensor, outputs: Callable[[Tensor], Tensor] = outputs) -> Tensor:
            leaf = w.requires_grad_()
            with torch.enable_grad():
                loss = some.losses(outputs(leaf)[None], some.y)[0]
                return torch.autograd.grad(loss, leaf)[0]

        step = 1e-5
        v_k = v[k, : some.size]
        by_difference = (slope(flat + step * v_k) - slope(flat - step * v_k)) / (2 * step)
        # A central difference errs by step^2 times a third derivative; ReLUs that cross zero add some step.
        error = (found[k, : some.size] - by_difference).norm() / by_difference.norm()
        assert error < 1e-3


@pytest.mark.parametrize("loss", ["mse", "xent"])
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e3])
def test_lanczos_finds_the_largest_algebraic_eigenvalue(loss: str, gamma: float) -> None:
    # At gamma 1000 the eigenvalue of largest size is negative for some of these networks.
    some = networks(KINDS["mlp"], loss, [gamma, gamma])
    curvature = Curvature(some)
    for product, exact in (
        (curvature.hessian, dense_hessian),
        (curvature.gauss_newton, dense_gauss_newton),
    ):
        found = curvature.largest(product)
        expected = [torch.linalg.eigvalsh(exact(some, k))[-1].item() for k in range(2)]
        # 24 products resolve the largest eigenvalue of 155 to a thousandth and better.
        assert found.tolist() == pytest.approx(expected, rel=1e-3)


def test_lanczos_prefers_the_largest_to_the_one_of_largest_size() -> None:
    matrix = torch.diag(torch.tensor([-5.0, -1.0, 0.5, 2.0], dtype=torch.float64))
    start = torch.ones((1, 4), dtype=torch.float64)
    found = largest_eigenvalue(lambda v: v @ matrix, start, 4)
    assert found.item() == pytest.approx(2.0, rel=1e-12)


def test_lanczos_stops_in_an_invariant_space_and_at_zero() -> None:
    # All eigenvalues are negative, so a zero that slipped in would be the largest.
    matrices = torch.stack([-torch.eye(6), torch.zeros(6, 6)]).double()
    start = torch.ones((2, 6), dtype=torch.float64)

    def product(v: Tensor) -> Tensor:
        return torch.bmm(matrices, v[:, :, None])[:, :, 0]

    found = largest_eigenvalue(product, start, 5)
    assert found.tolist() == pytest.approx([-1.0, 0.0], abs=1e-12)


def test_a_lane_that_is_not_finite_spoils_no_other() -> None:
    start = torch.ones((2, 4), dtype=torch.float64)
    scale = torch.tensor([[float("nan")], [3.0]], dtype=torch.float64)
    found = largest_eigenvalue(lambda v: v * scale, start, 3)
    assert np.isnan(found[0].item())
    assert found[1].item() == pytest.approx(3.0)


def test_the_trace_lies_near_that_of_the_dense_hessian() -> None:
    some = networks(KINDS["mlp"], "mse", [1e-2, 1.0])
    found = Curvature(some).trace()
    for k in range(2):
        hessian = dense_hessian(some, k)
        # The estimator's standard deviation is at most sqrt(2 / probes) |H|_F; the draw is fixed.
        allowed = 3 * (2 / TRACE_PROBES) ** 0.5 * hessian.norm().item()
        assert abs(found[k].item() - hessian.trace().item()) < allowed
        assert found[k].item() != pytest.approx(0.0, abs=0.1 * hessian.trace().item())


def test_similarity_in_torch_is_that_of_the_tables() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn((1, 20, n), generator=generator).double() for n in (3, 40)]
    features.append(features[0] * 2 + 0.5 * torch.randn((1, 20, 3), generator=generator) + 7)
    grams = [gram(value) for value in features]
    table = cka_matrix([value[0].numpy() for value in grams])
    for i in range(3):
        for j in range(3):
            found = debiased_similarity(grams[i], grams[j]).item()
            # Float64 throughout; centring loses a digit or two.
            assert found == pytest.approx(table[i, j], abs=1e-12)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("most_bytes", [1, 2**30])
def test_the_tangent_kernel_is_that_of_the_jacobian(
    kind: str, difference: bool, most_bytes: int
) -> None:
    some = networks(KINDS[kind], "mse", [0.5, 2.0], difference=difference)
    found = tangent_kernel(some, most_bytes)
    for k in range(2):
        outputs, flat = outputs_of_flat(some, k)
        jacobian = torch.autograd.functional.jacobian(outputs, flat) * some.gammas[k].item()
        jacobian = (jacobian - jacobian.mean(0)).flatten(1)
        expected = jacobian @ jacobian.T
        torch.testing.assert_close(found[k], expected, rtol=1e-9, atol=1e-9 * expected.max().item())


def test_a_kernel_of_the_targets_is_aligned_with_them() -> None:
    some = networks(KINDS["mlp"], "mse", [1.0])
    targets = gram(some.y[None])
    assert debiased_similarity(5 * targets + 1, targets).item() == pytest.approx(1.0)


@pytest.mark.parametrize("most_bytes", [1, 2**30])
def test_the_noise_scale_is_that_of_gradients_one_by_one(most_bytes: int) -> None:
    some = networks(KINDS["mlp"], "xent", [1.0, 100.0])
    found = gradient_noise_scale(some, most_bytes)
    for k in range(2):
        outputs, flat = outputs_of_flat(some, k)
        rows = []
        for i in range(SAMPLES):
            leaf = flat.clone().requires_grad_()
            loss = some.losses(outputs(leaf)[None, i : i + 1], some.y[i : i + 1])[0]
            rows.append(torch.autograd.grad(loss, leaf)[0])
        gradients = torch.stack(rows)
        noise = gradients.var(0).sum()
        signal = gradients.mean(0).square().sum() - noise / SAMPLES
        expected = (noise / signal).item() if signal > 0 else float("nan")
        assert found[k].item() == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert torch.isfinite(found).any()


def test_the_effective_rank_counts_equal_singular_values() -> None:
    matrix = torch.zeros((2, 6, 4), dtype=torch.float64)
    matrix[0, :3, :3] = 2 * torch.eye(3)
    matrix[1] = float("inf")
    ranks = effective_rank(singular_values(matrix))
    assert ranks[0].item() == pytest.approx(3.0)
    assert np.isnan(ranks[1].item())


def test_the_probe_set_has_its_targets(digits: Dataset) -> None:
    count = len(digits.probe_inputs)
    assert torch.equal(digits.probe_inputs, digits.test_inputs[:count])
    assert torch.equal(digits.probe_targets, digits.test_targets[:count])
