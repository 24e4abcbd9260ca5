"""Own data in files: what a study finds in them, and what each mistake is answered with."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from gammascape.data.dataset import Dataset
from gammascape.data.load import load_dataset
from gammascape.data.prepare import PREPARERS
from gammascape.data.prepared import DataError
from gammascape.study import Cell, StudyError, load_study
from gammascape.study.keys.files import Files
from gammascape.usercode import files as own
from gammascape.usercode.files import describe

STUDY = """\
models: {m: {kind: mlp, depth: 2, width: 8}}
datasets:
  mine: {%s, repeat: true}
grids:
  - {model: m, dataset: mine, loss: mse, gamma: {log10: 0}, eta: {log10: 0}, batch_size: 8, steps: 9}
"""
RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (100, 4))
Y = np.arange(100) % 3
ROWS = pl.DataFrame(
    {"a": X[:, 0], "b": X[:, 1] > 3, "kind": [["cat", "dog"][n % 2] for n in range(100)]}
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def image(
    path: str, size: tuple[int, int] = (6, 6), mode: str = "L", value: int | None = None
) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = RNG.integers(0, 256, shape) if value is None else np.full(shape, value)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def photos(top: str = "photos", count: int = 50, **options: Any) -> None:
    for n in range(count):
        image(f"{top}/{['cat', 'dog'][n % 2]}/{n}.png", **options)


def cell(entry: str) -> Cell:
    Path("mine.yaml").write_text(STUDY % entry)
    return load_study("mine.yaml").cells[0]


def spec(entry: str) -> Files:
    cell(entry)
    found = load_study("mine.yaml").slices[0].dataset_spec
    assert isinstance(found, Files)
    return found


def loaded(entry: str) -> Dataset:
    """The dataset as a cell reads it, after preparation."""
    found = spec(entry)
    PREPARERS[found.kind](None, Path("out"), options=found.options)
    record = cell(entry).record()["dataset"]
    return load_dataset(record, Path("out/manifest.json"), torch.device("cpu"))


def test_images_in_class_folders_are_split_and_standardized() -> None:
    photos()
    data = loaded("kind: folder, path: photos")
    assert (data.input_shape, data.outputs, data.samples_per_pass) == ((1, 6, 6), 2, 40)
    x, y = data.batches(0, 0, 1, 40)
    assert tuple(data.test_inputs.shape) == (10, 1, 6, 6)
    # A whole pass: the moments of 1,440 pixels up to float32.
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert y.sum(1).tolist() == [[20, 20]]
    assert data.test_targets.sum(0).tolist() == [5, 5]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_LEAST_TEST", 10)


def test_train_and_test_folders_sizes_and_colours() -> None:
    photos("photos/train", mode="RGB", size=(9, 7))
    photos("photos/test", 12)
    data = loaded("kind: folder, path: photos, pixels: 5, augment: weak")
    assert data.input_shape == (3, 5, 5)
    assert len(data.test_inputs) == 12
    assert loaded("kind: folder, path: photos, pixels: 4, colour: grey").input_shape == (1, 4, 4)


def test_arrays_are_standardized_by_their_training_samples() -> None:
    np.savez("data.npz", X_train=X, y_train=Y, x_test=X[:20], y_test=Y[:20])
    data = loaded("kind: arrays, path: data.npz")
    wanted = (X[:20] - X.mean(0)) / X.std(0)
    assert sorted(data.test_inputs[:, 0].tolist()) == pytest.approx(sorted(wanted[:, 0]), abs=1e-5)
    for name, values in (("x", X), ("y", X[:, :2] * 5)):
        np.save(f"{name}.npy", values)
    data = loaded("kind: arrays, x: x.npy, y: y.npy")
    assert (data.outputs, data.classification) == (2, False)
    _, y = data.batches(0, 0, 1, 80)
    assert y.mean((0, 1)).tolist() == pytest.approx([0, 0], abs=1e-5)


def test_channels_are_put_first() -> None:
    np.savez("data.npz", x=RNG.integers(0, 256, (100, 5, 6, 3)).astype(np.uint8), y=Y)
    assert spec("kind: arrays, path: data.npz, channels: last").shape == (3, 5, 6)
    np.savez("data.npz", x=RNG.normal(size=(100, 5, 6)), y=Y)
    assert spec("kind: arrays, path: data.npz, channels: none").shape == (1, 5, 6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_has_features_and_a_target(kind: str) -> None:
    getattr(ROWS, f"write_{kind}")(f"data.{kind}")
    data = loaded(f"kind: table, path: data.{kind}, target: kind")
    assert (data.input_shape, data.outputs) == ((2,), 2)
    data = loaded(f"kind: table, path: data.{kind}, target: a, features: b")
    assert (data.input_shape, data.outputs, data.classification) == ((1,), 1, False)


def test_the_content_counts_and_not_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    photos()
    before = cell("kind: folder, path: photos")
    assert Cell.from_canonical(before.canonical()) == before
    shutil.copytree("photos", "sub/elsewhere")
    assert cell("kind: folder, path: sub/elsewhere").identity == before.identity
    assert cell("kind: folder, path: photos, hold_out: 0.3").identity != before.identity
    shutil.copy("photos/dog/1.png", "photos/dog/3.png")
    assert cell("kind: folder, path: photos").identity != before.identity
    found = spec("kind: folder, path: sub/elsewhere")
    shutil.copy("photos/dog/1.png", "sub/elsewhere/dog/3.png")
    with pytest.raises(DataError, match="have changed since the study was loaded"):
        PREPARERS["folder"](None, Path("out"), options=found.options)


def test_files_are_read_again_only_if_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".snakemake").mkdir()
    photos()
    before = cell("kind: folder, path: photos").identity
    calls: list[object] = []
    monkeypatch.setattr(own, "read", lambda options: calls.append(options) or original(options))
    assert cell("kind: folder, path: photos").identity == before
    assert not calls
    os.utime("photos/cat/0.png")
    assert cell("kind: folder, path: photos").identity == before
    assert len(calls) == 1


original = own.read


def save(**arrays: Any) -> None:
    np.savez("data.npz", **arrays)


NAN = np.where(np.arange(400).reshape(100, 4) == 9, np.nan, X)
ARRAYS, FOLDER, TABLE = (
    "kind: arrays, path: data.npz",
    "kind: folder, path: photos",
    "kind: table, path: data.csv",
)
MISTAKES: dict[str, tuple[Callable[[], object], str, list[str]]] = {
    "nothing named": (
        photos,
        "kind: folder",
        ["mine.path: no file is named; write for example path: photos"],
    ),
    "missing": (photos, "kind: folder, path: photo", ["there is no photo; did you mean photos?"]),
    "shape": (photos, f"{FOLDER}, shape: [1, 6, 6]", ["found in the files themselves; remove"]),
    "no classes": (
        lambda: image("photos/1.png"),
        FOLDER,
        ["no class folder (1.png)", "named as its class"],
    ),
    "one class": (
        lambda: image("photos/a/1.png"),
        FOLDER,
        ["has 1 class folders and needs two or more: "],
    ),
    "empty class": (
        lambda: (photos(), Path("photos/emu").mkdir()),
        FOLDER,
        ["photos/emu has no images"],
    ),
    "test without train": (
        lambda: photos("photos/test"),
        FOLDER,
        ["has test and no train beside it"],
    ),
    "class of the test set": (
        lambda: (photos("photos/train"), photos("photos/test"), image("photos/test/cats/9.png")),
        FOLDER,
        ["class cats that has no training images; did you mean cat?"],
    ),
    "sizes": (
        lambda: (photos(), image("photos/cat/odd.png", (9, 8))),
        FOLDER,
        ["6x6 (50, such as", "9x8 (1, such as photos/cat/odd.png); write pixels: 6"],
    ),
    "unreadable": (
        lambda: (photos(), Path("photos/cat/bad.png").write_bytes(b"no")),
        FOLDER,
        ["photos/cat/bad.png (unreadable)", "or remove"],
    ),
    "16 bits": (
        lambda: (
            photos(),
            Image.fromarray(np.zeros((6, 6), np.uint16)).save("photos/cat/deep.png"),
        ),
        FOLDER,
        ["photos/cat/deep.png (more than 8 bits a channel)"],
    ),
    "few for testing": (
        lambda: photos(count=20),
        FOLDER,
        ["4 test samples", "write a larger hold_out"],
    ),
    "a small test set": (
        lambda: save(x=X, y=Y, x_test=X[:4], y_test=Y[:4]),
        ARRAYS,
        ["4 test samples, and at least 10 are needed: add more to the test set"],
    ),
    "none for testing": (
        lambda: (photos("photos/train"), Path("photos/test").mkdir()),
        FOLDER,
        ["0 test samples"],
    ),
    "more samples than there are": (
        lambda: save(x=X, y=Y),
        f"{ARRAYS}, training_samples: 999",
        ["999 training samples are more than the 79"],
    ),
    "other names": (
        lambda: save(a=X, b=Y),
        ARRAYS,
        ["has no array x (its arrays: a, b)", "savez(path, x=inputs"],
    ),
    "objects": (
        lambda: save(x=np.array([X, 1], object), y=Y),
        ARRAYS,
        ["holds objects", "arrays of numbers"],
    ),
    "no npz": (
        lambda: Path("data.npz").write_text("x"),
        ARRAYS,
        ["data.npz cannot be read", "numpy.savez"],
    ),
    "labels from 1": (
        lambda: save(x=X, y=Y + 1),
        ARRAYS,
        ["y goes from 1 to 3", "save y - 1, or write targets: 1"],
    ),
    "labels with gaps": (
        lambda: save(x=X, y=Y * 5 - 5),
        ARRAYS,
        ["y goes from -5 to 5", "numpy.unique(y"],
    ),
    "float labels": (
        lambda: save(x=X, y=Y * 1.0),
        ARRAYS,
        ["from 0 to 2: write classes: 3, or write targets: 1"],
    ),
    "counts": (
        lambda: save(x=X, y=np.arange(100)),
        ARRAYS,
        ["100 whole numbers", "targets: 1 if it is a number"],
    ),
    "one-hot": (lambda: save(x=X, y=np.eye(3, dtype=int)[Y]), ARRAYS, ["save y.argmax(1)"]),
    "too many": (
        lambda: save(x=X, y=Y),
        f"{ARRAYS}, classes: 2",
        ["y goes up to 2", "write classes: 3"],
    ),
    "NaN": (
        lambda: save(x=NAN, y=Y),
        ARRAYS,
        ["x has 1 values that are NaN", "the first in sample 2"],
    ),
    "text": (
        lambda: save(x=X, y=np.array(["a", "b"] * 50)),
        ARRAYS,
        ["y is <U1", "numpy.unique(..."],
    ),
    "lengths": (lambda: save(x=X, y=Y[:9]), ARRAYS, ["x has 100 samples and y 9"]),
    "half a test set": (lambda: save(x=X, y=Y, x_test=X), ARRAYS, ["both x_test and y_test"]),
    "other test shape": (
        lambda: save(x=X, y=Y, x_test=X[:, :2], y_test=Y),
        ARRAYS,
        ["x and x_test have shapes [100, 4] and [100, 2]"],
    ),
    "channels last": (
        lambda: save(x=np.zeros((100, 8, 8, 3)), y=Y),
        ARRAYS,
        ["write channels: last"],
    ),
    "no images": (
        lambda: save(x=X, y=Y),
        f"{ARRAYS}, channels: first",
        ["is for images (n, C, H, W)"],
    ),
    "noise of numbers": (
        lambda: save(x=X, y=X[:, 0]),
        f"{ARRAYS}, label_noise: 0.1",
        ["mine.label_noise: is about classes"],
    ),
    "no column": (
        lambda: ROWS.write_csv("data.csv"),
        f"{TABLE}, target: kinds",
        ["kinds; did you mean kind?"],
    ),
    "text column": (
        lambda: ROWS.write_csv("data.csv"),
        f"{TABLE}, target: a",
        ["no numbers are in the columns kind (String)", "features: [b]"],
    ),
    "missing values": (
        lambda: ROWS.with_columns(
            a=pl.when(pl.col("a") > pl.col("a").quantile(0.5)).then("a")
        ).write_csv("data.csv"),
        f"{TABLE}, target: kind",
        ["51 values of the column a are missing, the first in row 2"],
    ),
    "number as class": (
        lambda: ROWS.with_columns(n=pl.int_range(100)).write_csv("data.csv"),
        f"{TABLE}, target: n, features: [a, b]",
        ["n has 100 different values in 100 rows: write classes: 100, or targets: 1"],
    ),
    "classes of the test table": (
        lambda: (
            ROWS.write_csv("data.csv"),
            ROWS.with_columns(kind=pl.lit("emu")).write_csv("test.csv"),
        ),
        f"{TABLE}, test_path: test.csv, target: kind",
        ["no training row has the class emu"],
    ),
    "no table": (
        lambda: Path("data.csv").mkdir(),
        f"{TABLE}, target: kind",
        ["cannot be read as .csv"],
    ),
    "arrays as a table": (
        lambda: save(x=X, y=Y),
        "kind: table, path: data.npz, target: y",
        ["write kind: arrays"],
    ),
    "a table as arrays": (
        lambda: ROWS.write_csv("data.csv"),
        "kind: arrays, path: data.csv",
        ["it is a table", "write kind: table, and target:"],
    ),
    "one array": (
        lambda: np.save("data.npy", X),
        "kind: arrays, path: data.npy",
        ["no array x (its arrays: one, unnamed)", "write x: and y:"],
    ),
    "semicolons": (
        lambda: ROWS.write_csv("data.csv", separator=";"),
        f"{TABLE}, target: kind",
        ["has one column, 'a;b;kind', and ';' in its name; save it with commas"],
    ),
}


@pytest.mark.parametrize(("make", "entry", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_with_what_to_write(
    make: Callable[[], object], entry: str, fragments: list[str]
) -> None:
    make()
    with pytest.raises(StudyError) as caught:
        cell(entry)
    assert str(caught.value).startswith("mine.yaml: 1 problem\n  datasets.mine")
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_numbers_that_look_wrong_are_warned_of() -> None:
    def words(x: Any, y: Any = Y, classes: tuple[str, ...] = ("0", "1", "2")) -> str:
        return "\n".join(describe(np.asarray(x, np.float32), y, classes, len(x), 20))

    good = (X - X.mean(0)) / X.std(0)
    assert "warning" not in words(good)
    assert "100 training and 20 test samples of shape [4]; mean 0, sd 1" in words(good)
    assert "classes: 0 34%, 1 33%, 2 33%" in words(good)
    assert "look unstandardized (mean 2.93, sd 1.99)" in words(X)
    assert "all inputs are the same" in words(X * 0)
    assert "1 of 4 features are constant" in words(good * [0, 1, 1, 1])
    assert "no training sample has class d" in words(good, Y, ("a", "b", "c", "d"))
    far = np.zeros((2000, 4))
    far[0] = 1e3
    assert "sd from the mean" in words(far, Y[np.arange(2000) % 100])
    assert "nearly constant" in words(good, X[:, :1] * 0.01 + 9, ())
    signs = np.where(X[:, :2] > 0, 1.0, -1.0)
    for y in (signs[:, :1], (signs[:, :1] + 1) / 2, signs):
        assert "for classes give integers from 0" in words(good, y, ())
    for y in (signs[:, :1] * 2, X[:, :1], np.minimum(signs[:, :1], 0)):
        assert "for classes give" not in words(good, y, ())
    # Data of a function have no key for it.
    assert "standardize:" not in words(X) + words(far, Y[np.arange(2000) % 100])
    np.savez("data.npz", x=X, y=Y)
    about = " ".join(spec("kind: arrays, path: data.npz, standardize: none").about)
    assert "look unstandardized" in about
    assert "write standardize: each" in about
    sparse = np.pad(good, ((0, 0), (0, 60)))
    np.savez("data.npz", x=sparse, y=Y)
    about = " ".join(spec("kind: arrays, path: data.npz").about)
    assert "look unstandardized" in about
    assert "write standardize: all" in about
    np.savez("data.npz", x=good, y=X[:, :1] * 0.01 + 9.5)
    about = " ".join(spec("kind: arrays, path: data.npz, standardize: none").about)
    assert "nearly constant; write standardize: each" in about
    np.savez("data.npz", x=RNG.integers(0, 9, (100, 4)), y=Y)
    about = " ".join(spec("kind: arrays, path: data.npz, standardize: none").about)
    assert "standardize: all; leave tokens that an embedding reads" in about
    ROWS.with_row_index("").write_csv("data.csv")
    about = spec("kind: table, path: data.csv, target: kind").about
    assert about[-1] == "warning: the column '' numbers the rows; write features: [a, b]"
    residue = RNG.normal(0, 9, (100, 64)).astype(int).astype(np.uint8)
    np.savez("data.npz", x=residue, y=Y)
    assert "x is uint8 and looks wrapped around" in spec("kind: arrays, path: data.npz").about[-1]
    np.savez("data.npz", x=RNG.integers(0, 256, (100, 64)).astype(np.uint8), y=Y)
    about = " ".join(spec("kind: arrays, path: data.npz").about)
    assert "wrapped" not in about
    assert "before standardization" in about
    about = " ".join(spec("kind: arrays, path: data.npz, standardize: none").about)
    assert "before standardization" not in about
