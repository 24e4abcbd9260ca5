"""Centred kernel alignment between representations, from Gram matrices on a common probe set."""

import numpy as np
from numpy.typing import NDArray

from gammascape.tables.statistics.fits import Floats


def unpack_triangle(triangle: NDArray[np.floating]) -> Floats:
    """Undo `measure.representations.pack_triangle`: (P (P + 1) / 2,) -> symmetric (P, P)."""
    probes = int((np.sqrt(8 * triangle.size + 1) - 1) / 2)
    gram = np.zeros((probes, probes))
    gram[np.triu_indices(probes)] = triangle
    return gram + np.triu(gram, 1).T


def u_centre(gram: Floats) -> Floats:
    """U-centred Gram matrix of Szekely and Rizzo (Annals of Statistics 42, 2014): (n, n) -> (n, n).

    The inner product of two of them over n (n - 3) is the unbiased HSIC estimator of Song et al. (JMLR 13, 2012).

    Raises:
        ValueError: for fewer than four probes, where the estimator does not exist.
    """
    n = len(gram)
    if n < 4:
        raise ValueError(f"the debiased estimator needs at least 4 probes, not {n}")
    off_diagonal = gram - np.diag(np.diag(gram))
    rows = off_diagonal.sum(1) / (n - 2)
    centred: Floats = off_diagonal - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
    np.fill_diagonal(centred, 0.0)
    return centred


def pair_vector(gram: Floats) -> Floats:
    """The U-centred Gram matrix as a unit vector: (P, P) -> (P (P - 1) / 2,), pair by pair of probes.

    The product of two is the debiased CKA of their representations. NaN for a representation without variation.
    """
    vector = u_centre(gram)[np.triu_indices(len(gram), 1)]
    size = float(np.linalg.norm(vector))
    # What is left of a constant representation is rounding.
    return vector / size if size > 1e-12 * float(np.linalg.norm(gram)) else vector * np.nan


def debiased_cka(vectors: Floats) -> Floats:
    """Debiased linear CKA between all pairs of representations.

    CKA is defined by Kornblith et al. (arXiv 1905.00414) with HSIC replaced by its unbiased estimator (Nguyen,
    Raghu, Kornblith, arXiv 2010.15327). Unrelated representations give 0 on average whatever their
    dimension; single values may be slightly negative.

    Args:
        vectors: (m, P (P - 1) / 2), `pair_vector` of each Gram matrix, of the same probes in the same order.

    Returns:
        (m, m), symmetric, diagonal 1; NaN for a representation without variation.
    """
    cka: Floats = vectors @ vectors.T
    return cka
