"""Data of the user's own: what the function may return, and how it becomes a stream."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gammascape.data import DataError, Dataset, load_dataset
from gammascape.study.datasets import FactoryDatasetSpec
from gammascape.usercode import UserCodeError

from .own import sources_of

ARRAYS = """\
def make(n=40, classes=4):
    x = torch.arange(n + 16.0)[:, None].repeat(1, 3)
    y = torch.arange(n + 16) % classes
    return x[:n], y[:n], x[n:], y[n:]
"""
STREAM = """\
import numpy as np

def sampler(seed, first, count):
    x = np.stack([np.random.default_rng((seed, n)).normal(size=3) for n in range(first, first + count)])
    return x, x[:, :2] ** 2

def make():
    return sampler, *sampler(999, 0, 20)
"""


def load(folder: Path, text: str, **options: Any) -> Dataset:
    spec = FactoryDatasetSpec.model_validate(
        {"factory": "net:make", "shape": (3,), "sources": sources_of(folder, text), **options}
    )
    return load_dataset(spec.model_dump(mode="json"), None, torch.device("cpu"))


def numbers(dataset: Dataset, *, first: int, count: int, seed: int = 0) -> list[int]:
    """Numbers of the samples of steps of one sample each."""
    x, _ = dataset.batches(seed, first, count, 1)
    assert x.shape == (count, 1, 3)
    return [int(value) for value in x[:, 0, 0]]


def test_arrays_are_a_pass_in_random_order_that_ends(tmp_path: Path) -> None:
    data = load(tmp_path, ARRAYS, classes=4, size=40)
    seen = numbers(data, first=0, count=40)
    assert sorted(seen) == list(range(40))
    assert seen != list(range(40))
    assert numbers(data, first=7, count=5) == seen[7:12]
    assert numbers(data, first=0, count=40, seed=1) != seen
    x, y = data.batches(0, 3, 2, 4)
    assert torch.equal(y.argmax(-1), x[..., 0].long() % 4)
    assert data.test_inputs[:, 0].tolist() == list(range(40, 56))
    with pytest.raises(DataError, match=r"one pass of net:make has 40 samples .* repeat: true"):
        data.batches(0, 10, 1, 4)


def test_options_of_streams_apply(tmp_path: Path) -> None:
    again = load(tmp_path, ARRAYS, classes=4, size=40, repeat=True)
    passes = numbers(again, first=0, count=80)
    assert sorted(passes[40:]) == list(range(40))
    assert passes[40:] != passes[:40]
    few = load(tmp_path, ARRAYS, classes=4, size=40, training_samples=5)
    assert few.samples_per_pass == 5
    assert len({*numbers(few, first=0, count=50)}) == 5
    rare = load(tmp_path, ARRAYS, classes=4, size=40, imbalance=0.1)
    assert rare.samples_per_pass == 10 + 5 + 2 + 1
    noisy = load(tmp_path, ARRAYS, classes=4, size=40, label_noise=0.5, repeat=True)
    x, y = noisy.batches(0, 0, 1, 80)
    wrong = y[0].argmax(-1) != x[0, :, 0].long() % 4
    assert 20 < int(wrong.sum()) < 60
    # A wrong label stays with its sample.
    assert len({(int(n), bool(w)) for n, w in zip(x[0, :, 0], wrong, strict=True)}) == 40


def test_an_endless_stream_is_entered_anywhere(tmp_path: Path) -> None:
    data = load(tmp_path, STREAM, targets=2)
    assert (data.outputs, data.classification, data.samples_per_pass) == (2, False, None)
    x, y = data.batches(5, 0, 4, 8)
    # The sampler computes in float64, so the square is rounded once there and twice here.
    torch.testing.assert_close(y, x[..., :2] ** 2, rtol=1e-6, atol=0)
    late, _ = data.batches(5, 2, 2, 8)
    assert torch.equal(late, x[2:])
    few = load(tmp_path, STREAM, targets=2, training_samples=6)
    drawn, _ = few.batches(0, 0, 5, 6)
    assert len({tuple(row.tolist()) for row in drawn.flatten(0, 1)}) == 6


def test_the_digest_changes_with_the_data(tmp_path: Path) -> None:
    digests = {
        load(tmp_path, text, classes=4, size=40).digest
        for text in (ARRAYS, ARRAYS + "# more\n", ARRAYS.replace("n + 16.0", "n + 16.0 + 0 * n"))
    }
    assert len(digests) == 1
    moved = ARRAYS.replace("repeat(1, 3)", "repeat(1, 3) + 1")
    assert load(tmp_path, moved, classes=4, size=40).digest not in digests


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "three parts": (ARRAYS.replace("x[n:], y[n:]", "x[n:]"), {}, "returned a tuple of 3; it must return (train"),
    "another size": (ARRAYS.replace("n=40", "n=39"), {}, "39 training samples; the study says size: 40"),
    "another shape": (ARRAYS.replace("(1, 3)", "(1, 4)"), {}, "shape: [3], so they must be (samples, 3)"),
    "too many classes": (ARRAYS, {"classes": 3}, "from 0 to 3; 3 classes are numbered from 0 to 2"),
    "real classes": (ARRAYS.replace("% classes", "% classes * 0.5"), {}, "classes are whole numbers"),
    "few test samples": (ARRAYS.replace("x[n:], y[n:]", "x[n:n+9], y[n:n+9]"), {}, "9 test samples; at least 16"),
    "unequal": (ARRAYS.replace("y[:n], x", "y[:n-1], x"), {}, "40 training inputs and 39 training targets"),
    "not finite": (ARRAYS.replace("x[:n], y", "x[:n] / 0, y"), {}, "training inputs that are not finite"),
    "not arrays": (ARRAYS.replace("x[:n], y", "'abc', y"), {}, "training inputs that are"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "options", "fragment"), WRONG.values(), ids=WRONG)
def test_what_is_not_as_the_study_says_is_named(
    tmp_path: Path, text: str, options: dict[str, Any], fragment: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, text, **{"classes": 4, "size": 40, **options})
    assert str(caught.value).startswith("net:make returned ")
    assert fragment in str(caught.value)


def test_a_sampler_with_state_is_refused(tmp_path: Path) -> None:
    for text in (
        STREAM.replace("(seed, n)", "None"),
        STREAM.replace("(seed, n)).normal(size=3)", "(seed, first)).normal(size=3)"),
    ):
        with pytest.raises(DataError, match="function of \\(seed, n\\) alone"):
            load(tmp_path, text, targets=2)


def test_an_error_in_the_code_shows_the_lines_of_its_author(tmp_path: Path) -> None:
    with pytest.raises(UserCodeError) as caught:
        load(tmp_path, ARRAYS.replace("return x", "return missing"), classes=4, size=40)
    text = str(caught.value)
    assert "net:make failed: NameError: name 'missing' is not defined" in text
    assert "return missing[:n]" in text
    assert "gammascape/" not in text


UNSEEDED = """\
import numpy as np, random, torch
SHIFT = {early}

def make():
    x = {late}
    y = (x[:, 0] > 0).astype(int)
    return x[:40], y[:40], x[40:], y[40:]
"""


def test_global_generators_are_seeded_by_the_factory_and_its_arguments(tmp_path: Path) -> None:
    text = UNSEEDED.format(
        early="np.random.rand(); np.random.seed(1)", late="np.random.randn(60, 3) + SHIFT"
    )
    first = load(tmp_path / "a", text, classes=2, size=40)
    torch.rand(3)
    assert load(tmp_path / "b", text + "# again\n", classes=2, size=40).digest == first.digest
    more = text.replace("def make():", "def make(number=0):")
    digests = {
        load(tmp_path / f"c{n}", more, classes=2, size=40, arguments={"number": n}).digest
        for n in range(3)
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("0", "np.random.default_rng().normal(size=(60, 3))"),
        ("np.random.default_rng().normal()", "np.random.randn(60, 3) + SHIFT"),
    ],
)
def test_data_that_are_others_each_time_are_refused(tmp_path: Path, early: str, late: str) -> None:
    with pytest.raises(
        DataError, match=r"returns other training samples each time.*default_rng\(0\)"
    ):
        load(tmp_path, UNSEEDED.format(early=early, late=late), classes=2, size=40)


def test_a_table_of_the_sampler_that_is_another_one_each_time_is_refused(tmp_path: Path) -> None:
    text = STREAM.replace(
        "def sampler", "TABLE = np.random.default_rng().normal(size=3)\n\ndef sampler"
    )
    with pytest.raises(DataError, match="returns other training samples each time"):
        load(tmp_path, text.replace("return x, x", "x = x + TABLE\n    return x, x"), targets=2)
