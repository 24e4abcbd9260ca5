"""Kernels of networks on probes, and the similarity of two kernels: torch version of tables.similarity.cka."""

import torch
from torch import Tensor

from gammascape.measure.networks import Networks, twice_differentiable


def gram(features: Tensor) -> Tensor:
    """Gram matrices of centred features with a mean diagonal of 1, float64: (K, P, n) -> (K, P, P).

    Similarity is invariant under translation and scaling, so both are removed before they can cost digits.
    NaN if features are not finite or all probes have the same features.
    """
    centred = features.flatten(2).double()
    centred = centred - centred.mean(1, keepdim=True)
    found = torch.bmm(centred, centred.transpose(1, 2))
    return found / found.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]


def debiased_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Debiased linear CKA of two kernels, (K, P, P) each -> (K,); NaN if one has no variation.

    The definition is as in `tables.similarity.cka.debiased_cka`. With b the Gram matrix of the targets it is the
    centred kernel-target alignment of Cortes, Mohri, Rostamizadeh (JMLR 13, 2012), debiased: 0 on average for a
    kernel independent of the targets, 1 for the targets' own kernel.
    """
    a, b = _u_centre(a), _u_centre(b)
    return (a * b).sum((1, 2)) / (a.square().sum((1, 2)) * b.square().sum((1, 2))).sqrt()


def _u_centre(kernel: Tensor) -> Tensor:
    """U-centred kernels of Szekely and Rizzo (Annals of Statistics 42, 2014), (K, P, P) with P at least 4."""
    n = kernel.shape[1]
    centred = kernel - torch.diag_embed(kernel.diagonal(dim1=1, dim2=2))
    rows = centred.sum(2) / (n - 2)
    centred = centred - rows[:, :, None] - rows[:, None, :] + (rows.sum(1) / (n - 1))[:, None, None]
    return centred - torch.diag_embed(centred.diagonal(dim1=1, dim2=2))


def tangent_kernel(networks: Networks, most_bytes: int) -> Tensor:
    """Empirical neural tangent kernel of each lane, summed over the outputs: float64 (K, P, P).

    It is sum_o (df_io/dw - mean over i) . (df_jo/dw - mean over j), up to a factor, from the gradient of every
    output of every probe. Gradients of as many outputs as fit into `most_bytes`, at least one, are held at once.
    """
    count, outputs = networks.count, networks.y.shape[1]
    x, kept = networks.x, networks.by_probe()
    names = list(networks.trained)
    item = x.element_size()
    together = max(1, most_bytes // (len(x) * count * networks.size * item))
    kernel = torch.zeros((count, len(x), len(x)), dtype=torch.float64, device=x.device)
    directions = torch.eye(outputs, dtype=x.dtype, device=x.device)

    def gradients(x_i: Tensor, kept_i: tuple[Tensor, ...], chosen: Tensor) -> list[Tensor]:
        def f_of(trained: dict[str, Tensor]) -> Tensor:
            return networks.form.numerator(trained, networks.starts, kept_i, x_i[None], None)

        pull_back = torch.func.vjp(f_of, dict(networks.trained))[1]
        found = torch.func.vmap(lambda row: pull_back(row.expand(count, 1, -1))[0])(chosen)
        return [found[name] for name in names]

    over_probes = torch.func.vmap(gradients, in_dims=(0, 1, None))
    with twice_differentiable():
        for chosen in torch.split(directions, together):
            found = [value.detach() for value in over_probes(x, kept, chosen)]
            # (P, outputs, K, ...) -> (K, P, outputs * n)
            rows = [value.movedim(2, 0).flatten(2) for value in found]
            flat = torch.cat(rows, 2)
            flat = flat - flat.mean(1, keepdim=True)
            kernel += torch.bmm(flat, flat.transpose(1, 2))
    return kernel


def gradient_noise_scale(networks: Networks, most_bytes: int) -> Tensor:
    """Noise scale tr(Sigma) / |G|^2 of each lane's loss gradient, in samples: float64 (K,).

    It is the simple noise scale of McCandlish, Kaplan, Amodei (arXiv 1812.06162, eq. 2.9): the batch size at which
    noise and gradient have equal size. Sigma is the covariance of single-sample gradients, G the gradient of the
    distribution; |G|^2 is |mean gradient|^2 - tr(Sigma) / P, which removes the contribution of noise in P samples.
    NaN if that is not positive: there are too few probes to tell the gradient from noise.
    """
    count, samples = networks.count, len(networks.x)
    kept = networks.by_probe()
    names = list(networks.trained)

    def gradient(x_i: Tensor, y_i: Tensor, kept_i: tuple[Tensor, ...]) -> list[Tensor]:
        def loss_of(trained: dict[str, Tensor]) -> Tensor:
            f = networks.form.numerator(trained, networks.starts, kept_i, x_i[None], None)
            return networks.losses(f / networks.gammas, y_i[None]).sum()

        found = torch.func.grad(loss_of)(dict(networks.trained))
        return [found[name] for name in names]

    over_probes = torch.func.vmap(gradient, in_dims=(0, 0, 1))
    item = networks.x.element_size()
    together = max(1, most_bytes // (count * networks.size * item))
    squares = torch.zeros(count, dtype=torch.float64, device=networks.x.device)
    total: Tensor | None = None
    with twice_differentiable():
        for first in range(0, samples, together):
            part = slice(first, first + together)
            several = tuple(value[:, part] for value in kept)
            found = over_probes(networks.x[part], networks.y[part], several)
            rows = torch.cat([value.detach().flatten(2) for value in found], 2).double()
            squares += rows.square().sum((0, 2))
            total = rows.sum(0) if total is None else total + rows.sum(0)
    assert total is not None
    mean = (total / samples).square().sum(1)
    noise = (squares - samples * mean) / (samples - 1)
    signal = mean - noise / samples
    return torch.where(signal > 0, noise / signal, torch.nan)
