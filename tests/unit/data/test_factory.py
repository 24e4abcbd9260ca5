"""Data of the user's own: what the function may return, and how it becomes a stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepared import DataError
from gammascape.study.keys.datasets import FactoryDatasetSpec
from gammascape.usercode.run import UserCodeError

from ..own import sources_of

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
    split = load(tmp_path, ARRAYS, classes=4, size=40, validation=0.1)
    assert split.samples_per_pass == 36
    assert split.validation is not None
    held = [int(value) for value in split.validation[0][:, 0]]
    assert sorted(n % 4 for n in held) == [0, 1, 2, 3]
    assert sorted(numbers(split, first=0, count=36) + held) == list(range(40))
    assert split.validation[1].argmax(1).tolist() == [n % 4 for n in held]
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
    "not arrays": (ARRAYS.replace("x[:n], y", "'abc', y"), {}, "training inputs that are text"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "options", "fragment"), WRONG.values(), ids=WRONG)
def test_what_is_not_as_the_study_says_is_named(
    tmp_path: Path, text: str, options: dict[str, Any], fragment: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, text, **{"classes": 4, "size": 40, **options})
    assert str(caught.value).startswith("net:make returned ")
    assert fragment in str(caught.value)


# What is done to numpy arrays x (56, 3) in float64 and y (56,), and a fragment of the error.
LOST: dict[str, tuple[str, str]] = {
    "complex": ("x = x + 1j", "inputs that are complex; give real and imaginary parts"),
    "a complex tensor": ("x = torch.tensor(x + 1j)", "inputs that are complex"),
    "masked": ("x = np.ma.masked_greater(x, 1)", "inputs of which some are masked"),
    "masked targets": ("y = np.ma.masked_equal(y, 2)", "targets of which some are masked"),
    "masked in a list": ("x = Parts([np.ma.masked_greater(row, 1) for row in x])", "some are masked"),
    "long integers": ("x = np.arange(168).reshape(56, 3) + 2**24", "such as 16777383 in int64, which lose their"),
    "longer integers": ("x = np.arange(168).reshape(56, 3) + 2**60", "lose their last digits in float32"),
    "whole numbers in float64": ("x = x.round() + 1e9", "in float64, which lose their last digits in float32"),
    "an offset": ("x = x + 1e9", "in float64, which hardly differ any more in float32; subtract an offset"),
    "too large": ("x = x * 1e40", "in float64, which are too large for float32"),
    "too small": ("x = x * 1e-60", "in float64, which are too small for float32"),
    "longdouble": ("x = x.astype(np.longdouble) * 1e40", "which are too large for float32"),
    "unsigned": ("y = y.astype(np.uint64) + 2**63", "targets of 2^63 or more"),
    "objects": ("x = Parts([[1, 2, None]] * 56)", "sparse matrices by toarray() (NoneType)"),
    "dates": ("x = np.datetime64('2020-01-01') + x.round().astype('m8[D]')", "inputs that are dates; subtract"),
    "text": ("y = np.array(list('abcd'))[y]", "targets that are text; number the classes from 0"),
    "records": ("x = np.zeros(56, 'f4,f4,f4')", "inputs that are records"),
    "sparse": ("x = torch.tensor(x).to_sparse_csr()", "inputs that are sparse_csr; return a dense"),
    "quantized": ("x = torch.quantize_per_tensor(torch.tensor(x).float(), 0.1, 0, torch.qint8)", "are quantized"),
    "a masked tensor": (
        "x = torch.masked.masked_tensor(torch.tensor(x), torch.tensor(x > 0))",
        "that are masked",
    ),
    "without values": ("x = torch.zeros(56, 3, device='meta')", "are without values"),
    "NaN": ("x[50] = np.nan", "test inputs that are not finite (NaN or infinite): 3 of 48"),
    "classes as floats": ("y = y * 1.0", "in float64; classes are whole numbers"),
    "one-hot classes": ("y = np.eye(4)[y]", "of one-hot rows write argmax(1)"),
    "negative classes": ("y = y - 1", "targets from -1 to 2; 4 classes are numbered from 0 to 3"),
}  # fmt: skip
KEPT = {
    "as it is": "x",
    "float16": "x.astype('f2')",
    "bfloat16": "torch.tensor(x).bfloat16()",
    "big-endian": "x.astype('>f4')",
    "longdouble": "x.astype(np.longdouble)",
    "booleans": "x > 0",
    "bytes": "np.abs(x * 40).astype('u1')",
    "uint16": "torch.tensor(np.abs(x * 1000).astype('u2'))",
    "uint64": "np.abs(x * 1000).astype('u8')",
    "integers up to 2^24": "2**24 - np.arange(168).reshape(56, 3)",
    "masked nowhere": "np.ma.masked_greater(x, 99)",
    "a constant but for rounding": "x * 0 + 1 + 1e-15 * x.round()",
    "large": "x * 1e20",
}
CONVERTED = """\
import numpy as np

class Parts(list):
    def __getitem__(self, part):
        return list(self)[part]

def make():
    x, y = np.random.default_rng(0).normal(size=(56, 3)), np.arange(56) % 4
    {line}
    return x[:40], y[:40], x[40:], y[40:]
"""


@pytest.mark.parametrize(("line", "fragment"), LOST.values(), ids=LOST)
@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
def test_what_float32_cannot_hold_is_refused(tmp_path: Path, line: str, fragment: str) -> None:
    text = CONVERTED.format(line=line)
    if "sparse" in line:
        text = text.replace("x[:40], y[:40], x[40:]", "x, y, x")  # Such tensors have no slices.
    with pytest.raises(DataError) as caught:
        load(tmp_path, text, classes=4, size=40)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_what_float32_can_hold_is_kept(tmp_path: Path, value: str) -> None:
    data = load(tmp_path, CONVERTED.format(line=f"x = {value}"), classes=4, size=40)
    names = {"x": np.random.default_rng(0).normal(size=(56, 3)), "np": np, "torch": torch}
    found = eval(value, names)
    wanted = found.double().numpy() if isinstance(found, torch.Tensor) else found
    np.testing.assert_array_equal(data.test_inputs.numpy(), wanted[40:].astype(np.float32))


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("x = x + (first if seed == 3 else 0)", "other samples of seed 3"),
        ("x = x * (np.nan if seed == 3 else 1)", "drawn inputs that are not finite"),
        ("x = x * (1j if seed == 3 else 1)", "drawn inputs that are complex"),
        ("seen.add(seed); x = x + (seed == 0 and 3 in seen)", "other samples of seed 0"),
    ],
)
def test_a_sampler_is_tried_with_each_seed_before_its_first_batch(
    tmp_path: Path, line: str, fragment: str
) -> None:
    text = STREAM.replace("    return x,", f"    {line}\n    return x,").replace(
        "def s", "seen = set()\n\ndef s"
    )
    data = load(tmp_path, text, targets=2)
    data.batches(0, 0, 1, 4)
    data.batches(1, 0, 1, 4)
    with pytest.raises(DataError, match=fragment):
        data.batches(3, 0, 1, 4)


def test_seeds_have_samples_of_their_own(tmp_path: Path) -> None:
    data = load(tmp_path, STREAM.replace("(seed, n)", "n"), targets=2)
    with pytest.raises(DataError, match="gives seed 1 the samples of seed 0"):
        data.batches(1, 0, 1, 4)


def test_a_sampler_that_draws_in_blocks_is_found_where_a_draw_leaves_its_block(
    tmp_path: Path,
) -> None:
    block = "x = np.random.default_rng((seed, first // 32)).normal(size=(first % 32 + count, 3))[first % 32:]"
    data = load(tmp_path, STREAM.replace("    return x,", f"    {block}\n    return x,"), targets=2)
    data.batches(0, 0, 2, 16)
    data.batches(0, 2, 1, 16)
    with pytest.raises(DataError, match="other samples of seed 0 from number 47"):
        data.batches(0, 0, 3, 16)


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
import os
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
        ("0", "np.random.default_rng(os.getpid()).normal(size=(60, 3))"),
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
