"""Streams are functions of their coordinates; files are checked before they are believed."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gammascape.data import DataError, Dataset, load_dataset
from gammascape.data.prepare import prepare_mnist, read_idx
from gammascape.data.random import make_key, normal, permutation, uniform
from gammascape.data.teacher import hermite_series
from gammascape.study.datasets import TeacherSpec

CPU = torch.device("cpu")


def teacher(**options: object) -> Dataset:
    spec = TeacherSpec.model_validate({"kind": "teacher", **options})
    return load_dataset(spec.model_dump(mode="json"), None, CPU)


@pytest.mark.parametrize("name", ["digits", "teacher"])
def test_a_batch_is_the_same_however_it_is_drawn(name: str, digits: Dataset) -> None:
    dataset = digits if name == "digits" else teacher(classes=4)
    xs, ys = dataset.batches(5, 40, 10, 32)
    x, y = dataset.batches(5, 47, 1, 32)
    assert torch.equal(xs[7], x[0])
    assert torch.equal(ys[7], y[0])
    other, _ = dataset.batches(6, 47, 1, 32)
    assert not torch.equal(x, other)


def test_test_digits_are_not_augmented_and_never_trained_on(digits_file: Path) -> None:
    still = {"shift": 0.0, "rotation": 0.0, "scale": 0.0, "elastic": 0.0, "noise": 0.0}
    dataset = load_dataset({"kind": "digits", **still}, digits_file, CPU)
    x, _ = dataset.batches(0, 0, 40, 128)
    train = {row.numpy().round(3).tobytes() for row in x.flatten(0, 1)}
    test = {row.numpy().round(3).tobytes() for row in dataset.test_inputs}
    assert len(train) > 1200
    assert not train & test


def test_random_numbers_have_their_distributions() -> None:
    index = torch.arange(20_000)
    u, z = uniform(make_key(1), index, 5), normal(make_key(2), index, 5)
    # 10^5 draws: standard errors of 0.001 (mean of u) and 0.003 (mean), 0.005 (variance of z); five of them.
    assert u.mean().item() == pytest.approx(0.5, abs=0.005)
    assert z.mean().item() == pytest.approx(0, abs=0.016)
    assert z.var().item() == pytest.approx(1, abs=0.023)
    assert abs(np.corrcoef(z.T.numpy())[np.triu_indices(5, 1)]).max() < 0.035
    assert make_key(1, 2) != make_key(2, 1)
    assert sorted(permutation(3, 1000).tolist()) == list(range(1000))


def test_hermite_polynomials_are_orthonormal_under_gaussian_inputs() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    basis = [hermite_series([0.0] * k + [1.0], torch.from_numpy(nodes)).numpy() for k in range(5)]
    overlaps = np.array([[(weights * a * b).sum() for b in basis] for a in basis])
    # Gauss quadrature is exact for these degrees, up to rounding.
    np.testing.assert_allclose(overlaps / weights.sum(), np.eye(5), atol=1e-12)


def test_a_regression_teacher_has_the_variance_of_its_coefficients() -> None:
    _, y = teacher(polynomial=[0, 1, 0.5]).batches(0, 0, 100, 1000)
    # y^2 has a standard deviation of about 2.5, so the mean of 10^5 is known to 0.01.
    assert y.square().mean().item() == pytest.approx(1.25, abs=0.05)


def idx(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def test_idx_files_are_read_plain_and_compressed(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "zipped.gz"):
        assert np.array_equal(read_idx(tmp_path / name, (2, 3, 4)), array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx(np.zeros((2, 3, 4), np.uint8))[:-1], "truncated"),
        (idx(np.zeros((2, 3, 5), np.uint8)), "expected"),
        (b"\0\0\x0d\x03" + bytes(40), "type code"),
        (b"no idx file", "not an idx file"),
    ],
)
def test_a_wrong_idx_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(path, (2, 3, 4))
    assert str(path) in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        prepare_mnist(tmp_path)
    with pytest.raises(DataError, match=r"config/config\.yaml"):
        prepare_mnist(tmp_path / "nowhere")


def test_a_damaged_prepared_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    path.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"digits\.npz"):
        load_dataset({"kind": "digits"}, path, CPU)


@pytest.mark.skipif("GAMMASCAPE_MNIST" not in os.environ, reason="GAMMASCAPE_MNIST names no folder")
def test_real_mnist_is_read() -> None:
    arrays = prepare_mnist(Path(os.environ["GAMMASCAPE_MNIST"]))
    assert np.bincount(arrays["train_labels"]).tolist()[:3] == [5923, 6742, 5958]
