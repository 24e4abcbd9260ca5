"""Streams are functions of their coordinates; files are checked before they are believed."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data import images, stream
from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepared import DataError
from gammascape.data.shift import shifted
from gammascape.data.teacher import hermite_series
from gammascape.models import build_model
from gammascape.rng import make_key, normal, permutation, uniform
from gammascape.study.keys.datasets import DigitsSpec, MnistSpec, TeacherSpec
from gammascape.training.artifact import make_summary

from ..formats import pixels, prepare_mnist
from ..own import run_pack

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


def labels_of(y: torch.Tensor) -> torch.Tensor:
    return y.argmax(-1).flatten()


def mnist(folder: Path, **options: object) -> Dataset:
    """600 images like MNIST's, every class equally often."""
    manifest = folder / "mnist/manifest.json"
    if not manifest.is_file():
        prepare_mnist(folder, train=600)
    return load_dataset({"kind": "mnist", **options}, manifest, CPU)


def pairs(dataset: Dataset, steps: int, data_seed: int = 0) -> list[tuple[bytes, int]]:
    x, y = dataset.batches(data_seed, 0, steps, 20)
    rows = x.flatten(0, 1)
    return [(row.numpy().tobytes(), int(k)) for row, k in zip(rows, labels_of(y), strict=True)]


def test_a_pass_gives_every_sample_once_and_ends_with_a_message(tmp_path: Path) -> None:
    dataset = mnist(tmp_path)
    assert len({x for x, _ in pairs(dataset, 30)}) == 600
    assert pairs(dataset, 30, data_seed=1) != pairs(dataset, 30)
    with pytest.raises(DataError, match=r"ends after 30 steps of batch size 20.*repeat: true"):
        dataset.batches(0, 30, 1, 20)


def test_a_repeated_stream_gives_the_same_samples_in_another_order(tmp_path: Path) -> None:
    once, again = mnist(tmp_path), mnist(tmp_path, repeat=True)
    both = pairs(again, 60)
    assert both[:600] == pairs(once, 30)
    assert both[600:] != both[:600]
    assert sorted(both[600:]) == sorted(both[:600])
    third = pairs(again, 90)[1200:]
    assert sorted(third) == sorted(both[:600])
    assert third not in (both[:600], both[600:])
    x, _ = again.batches(0, 29, 2, 20)
    alone, _ = again.batches(0, 30, 1, 20)
    assert torch.equal(x[1], alone[0])


def test_few_training_samples_are_the_first_of_the_pass_again_and_again(tmp_path: Path) -> None:
    few = mnist(tmp_path, training_samples=50)
    assert few.samples_per_pass == 50
    seen = pairs(few, 25)
    assert set(seen) == set(pairs(mnist(tmp_path), 30)[:50])
    assert all(seen.count(pair) == 10 for pair in set(seen))


@pytest.mark.parametrize("wanted", [None, 200])
def test_a_validation_split_is_fixed_has_all_classes_and_is_never_trained_on(
    wanted: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"repeat": True} if wanted is None else {"training_samples": wanted}
    data = mnist(tmp_path, validation=0.1, **options)
    size, held = (540, 60) if wanted is None else (180, 20)
    assert data.samples_per_pass == size
    assert data.validation is not None
    rows = [row.numpy().tobytes() for row in data.validation[0]]
    assert len({*rows}) == held
    assert labels_of(data.validation[1]).bincount(minlength=10).tolist() == [held // 10] * 10
    whole = dict(pairs(mnist(tmp_path), 30))
    for seed in (0, 1):
        trained = {x for x, _ in pairs(data, size // 20 + 2, data_seed=seed)}
        assert len(trained) == size
        assert trained <= whole.keys() - {*rows}
    assert [whole[row] for row in rows] == labels_of(data.validation[1]).tolist()
    monkeypatch.setattr(images, "_fits", lambda size, device: False)
    mapped = mnist(tmp_path, validation=0.1, **options)
    assert mapped.validation is not None
    assert torch.equal(mapped.validation[0], data.validation[0])
    assert pairs(mapped, 5) == pairs(data, 5)


def test_a_validation_split_of_an_unbalanced_set_has_its_shares() -> None:
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 10)
    kept, held = stream.hold_out(torch.arange(160), labels, 160, 0.1)
    assert torch.cat((kept, held)).sort().values.tolist() == list(range(160))
    assert labels[held].bincount().tolist() == [10, 5, 1]
    # Numbers to predict have no classes.
    kept, held = stream.hold_out(torch.arange(160), torch.rand(160, 2), 160, 0.25)
    assert len(held) == 40
    kept, held = stream.hold_out(torch.arange(160), labels, 160, None)
    assert (len(kept), len(held)) == (160, 0)


def test_endless_streams_are_validated_on_samples_of_their_own(digits_file: Path) -> None:
    still = {"shift": 0.0, "rotation": 0.0, "scale": 0.0, "elastic": 0.0, "noise": 0.0}
    digits = load_dataset({"kind": "digits", "validation": 0.1, **still}, digits_file, CPU)
    assert digits.validation is not None
    held = {row.numpy().round(3).tobytes() for row in digits.validation[0]}
    x, _ = digits.batches(0, 0, 40, 128)
    assert len(held) == 144
    assert not held & {row.numpy().round(3).tobytes() for row in x.flatten(0, 1)}
    few = teacher(classes=3, validation=0.2, training_samples=40)
    assert few.samples_per_pass == 32
    assert few.validation is not None
    assert few.validation[0].shape == (8, 16)
    fresh, plain = teacher(validation=0.1), teacher()
    assert fresh.validation is not None
    assert not torch.equal(fresh.validation[0], fresh.test_inputs)
    for one, other in zip(fresh.batches(0, 0, 2, 8), plain.batches(0, 0, 2, 8), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["digits", "teacher"])
def test_an_endless_stream_can_be_cut_to_few_samples(kind: str, digits_file: Path) -> None:
    if kind == "digits":
        spec = DigitsSpec(kind="digits", training_samples=40).model_dump(mode="json")
        few = load_dataset(spec, digits_file, CPU)
    else:
        few = teacher(classes=3, training_samples=40)
    assert few.samples_per_pass == 40
    assert len(set(pairs(few, 8))) == 40


@pytest.mark.parametrize("repeat", [False, True])
def test_wrong_labels_have_their_share_and_stay_with_their_sample(
    repeat: bool, tmp_path: Path
) -> None:
    clean, noisy = mnist(tmp_path), mnist(tmp_path, label_noise=0.3, repeat=repeat)
    before, after = dict(pairs(clean, 30)), dict(pairs(noisy, 30))
    wrong = [after[x] != k for x, k in before.items()]
    # A binomial share of 600: standard error 0.019; four of them.
    assert np.mean(wrong) == pytest.approx(0.3, abs=0.075)
    if repeat:
        assert dict(pairs(noisy, 60)) == after


def test_other_classes_are_equally_often_the_wrong_one() -> None:
    labels = torch.full((9000,), 4)
    wrong = stream.noisy_labels(labels, torch.arange(9000), 0.999, 10, 0)
    counts = torch.bincount(wrong[wrong != 4], minlength=10)
    # 1000 of each: five standard deviations of sqrt(1000 * 8 / 9).
    assert counts[4] == 0
    assert (counts[[0, 1, 2, 3, 5, 6, 7, 8, 9]] - 1000).abs().max() < 150


def test_an_unbalanced_choice_keeps_the_long_tail(tmp_path: Path) -> None:
    dataset = mnist(tmp_path, imbalance=0.1, repeat=True)
    assert dataset.samples_per_pass is not None
    counts = torch.zeros(10)
    for _, label in set(pairs(dataset, -(-dataset.samples_per_pass // 20) + 1)):
        counts[label] += 1
    assert counts[0] == 60
    assert counts[9] == 6
    assert (counts.diff() <= 0).all()
    shares = MnistSpec(kind="mnist", imbalance=0.1).class_shares
    # Whole images of 60.
    assert (counts / counts.sum()).tolist() == pytest.approx(shares, abs=0.005)


def test_images_from_the_disk_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = pairs(mnist(tmp_path, repeat=True, label_noise=0.1), 70)
    monkeypatch.setattr(images, "_fits", lambda size, device: False)
    mapped = mnist(tmp_path, repeat=True, label_noise=0.1)
    assert pairs(mapped, 70) == resident
    # Other pieces, and backwards.
    x, _ = mapped.batches(0, 50, 1, 20)
    assert x[0, 0].numpy().tobytes() == resident[1000][0]


def test_large_data_are_read_file_by_file_each_sample_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [40, 40, 25]
    order = stream.pass_order(sizes, False, 3)
    assert sorted(order.tolist()) == list(range(105))
    shards = (order.unsqueeze(1) >= torch.tensor([40, 80])).sum(1)
    # One file after the other: the number of the file changes twice.
    assert int((shards.diff() != 0).sum()) == 2
    assert not torch.equal(order, stream.pass_order(sizes, False, 4))


def test_what_is_fetched_ahead_is_what_was_asked_for() -> None:
    def fetch(data_seed: int, first: int, count: int) -> tuple[torch.Tensor, ...]:
        return (1000 * data_seed + torch.arange(first, first + count),)

    pieces = stream.Prefetched(fetch, 95, piece=10)
    for seed, first, count in ((0, 0, 7), (0, 7, 30), (0, 90, 5), (1, 3, 20), (0, 0, 95)):
        (found,) = pieces(seed, first, count)
        assert found.tolist() == list(range(1000 * seed + first, 1000 * seed + first + count))


def test_what_is_handed_out_is_pinned_in_the_thread_that_captures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinned: list[tuple[torch.Tensor, threading.Thread]] = []

    def pin(value: torch.Tensor) -> torch.Tensor:
        pinned.append((value, threading.current_thread()))
        return value

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    pieces = stream.Prefetched(
        lambda _, first, n: (torch.arange(first, first + n),), 95, 10, pin=True
    )
    for first, count in ((0, 7), (7, 30)):
        (found,) = pieces(0, first, count)
        assert found.tolist() == list(range(first, first + count))
        assert pinned[-1][0] is found
    assert {thread for _, thread in pinned} == {threading.current_thread()}


def test_shifted_test_sets_are_shifted_as_they_say() -> None:
    x = torch.from_numpy(pixels(400, 1, 8, 8)).float() / 128 - 1
    black = torch.full((1, 1, 8, 8), -1.0)
    noisy = shifted(x, {"kind": "noise", "strength": 0.5}, black)
    # 25,600 draws: the standard error of the deviation is 0.5 / sqrt(2 * 25600) = 0.002.
    assert (noisy - x).std().item() == pytest.approx(0.5, abs=0.01)
    flat = shifted(x, {"kind": "contrast", "strength": 0.25}, black)
    torch.testing.assert_close(flat.mean((1, 2, 3)), x.mean((1, 2, 3)))
    torch.testing.assert_close(flat.std((1, 2, 3)), 0.25 * x.std((1, 2, 3)))
    turned = shifted(x, {"kind": "rotation", "strength": 90.0}, black)
    # A quarter turn moves pixels onto pixels, up to the rounding of cos 90 degrees in bilinear weights.
    torch.testing.assert_close(turned[1], x[1].rot90(1, (1, 2)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned[0], x[0].rot90(-1, (1, 2)), rtol=1e-4, atol=1e-4)


def test_augmented_training_leaves_the_test_set_alone(tmp_path: Path) -> None:
    plain, strong = mnist(tmp_path), mnist(tmp_path, augment="strong", repeat=True)
    assert torch.equal(plain.test_inputs, strong.test_inputs)
    x, _ = strong.batches(0, 0, 30, 20)
    again, _ = strong.batches(0, 30, 30, 20)
    rows = {row.numpy().tobytes() for row in torch.cat((x, again)).flatten(0, 1)}
    assert len(rows) == 1200


def test_mixup_belongs_to_the_step_and_leaves_the_test_set_alone(tmp_path: Path) -> None:
    plain, mixed = mnist(tmp_path), mnist(tmp_path, mixup=0.5)
    assert torch.equal(plain.test_inputs, mixed.test_inputs)
    assert torch.equal(plain.test_targets, mixed.test_targets)
    x, y = plain.batches(0, 3, 4, 20)
    xs, ys = mixed.batches(0, 3, 4, 20)
    alone, _ = mixed.batches(0, 5, 1, 20)
    assert torch.equal(xs[2], alone[0])
    other, _ = mixed.batches(1, 3, 4, 20)
    assert not torch.equal(xs, other)
    # Two products of float32 below some 3 and their sum.
    torch.testing.assert_close(ys.sum(-1), torch.ones(4, 20), rtol=0, atol=2e-7)
    share = (xs[1, 4] - x[1, 3]).flatten() @ (x[1, 4] - x[1, 3]).flatten()
    share = share / (x[1, 4] - x[1, 3]).square().sum()
    torch.testing.assert_close(ys[1, 4], share * y[1, 4] + (1 - share) * y[1, 3], rtol=0, atol=1e-5)


def test_mixup_mixes_the_wrong_labels_and_not_the_right_ones(tmp_path: Path) -> None:
    _, noisy = mnist(tmp_path, label_noise=0.5).batches(0, 0, 30, 20)
    _, both = mnist(tmp_path, label_noise=0.5, mixup=1.0).batches(0, 0, 30, 20)
    allowed = noisy + noisy.roll(1, 1)
    assert (both[allowed == 0] == 0).all()
    assert ((both > 0) & (both < 1)).any()


@pytest.mark.parametrize("loss", ["mse", "xent"])
def test_a_cell_learns_from_mixed_samples(loss: str, digits_file: Path, record: Any) -> None:
    options = DigitsSpec(kind="digits", mixup=0.2).model_dump(mode="json")
    dataset = load_dataset(options, digits_file, CPU)
    model = build_model(record()["model"], dataset.input_shape, 10)
    cell = record(dataset=options, loss=loss, eta="0", steps=200)
    (run,) = run_pack([cell], dataset, model)
    last = run.evaluations[-1]
    assert last.accuracy is not None
    assert last.accuracy > 0.6


def test_a_cell_is_evaluated_on_the_validation_split_too(digits_file: Path, record: Any) -> None:
    plain = DigitsSpec(kind="digits").model_dump(mode="json")
    options = plain | {"validation": 0.1, "test_shift": {"kind": "noise", "strength": 0.1}}
    runs = {}
    for name, given in (("split", options), ("plain", plain)):
        dataset = load_dataset(given, digits_file, CPU)
        model = build_model(record()["model"], dataset.input_shape, 10)
        cell = record(dataset=given, loss="xent", eta="0", steps=200)
        (run,) = run_pack([cell], dataset, model)
        runs[name] = make_summary(cell, run, dataset, model)["evaluations"][-1]
    split = runs["split"]
    assert split["validation_accuracy"] > 0.6
    assert 0 < split["validation_loss"] < 1.5
    assert split["shifted_accuracy"] > 0.6
    assert split["validation_loss"] != split["loss"]
    assert set(split) - set(runs["plain"]) == {"validation_loss", "validation_accuracy"}


def test_a_cell_is_evaluated_on_the_shifted_test_set_too(digits_file: Path, record: Any) -> None:
    shift = {"kind": "contrast", "strength": 1e-3}
    options = DigitsSpec(kind="digits").model_dump(mode="json") | {"test_shift": shift}
    dataset = load_dataset(options, digits_file, CPU)
    model = build_model(record()["model"], dataset.input_shape, 10)
    cell = record(dataset=options, loss="xent", eta="0", steps=200)
    (run,) = run_pack([cell], dataset, model)
    last = run.evaluations[-1]
    assert last.accuracy is not None
    assert last.shifted_accuracy is not None
    # Images without contrast are all alike.
    assert last.accuracy > 0.6
    assert last.shifted_accuracy < 0.3
    assert last.shifted_loss is not None
    assert last.shifted_loss > last.loss
