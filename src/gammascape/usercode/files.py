"""Read a user's own data: images in class folders, arrays, or a table; split, standardize and describe them.

A study needs their shapes and a digest of their content, and the preparation needs their samples: both read them
here, so that a mistake in a file is found before anything runs.
"""

import difflib
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gammascape.layout import whole
from gammascape.manifests import sha256_of
from gammascape.manifests.code import meaning
from gammascape.usercode.find import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

# numpy, polars and PIL are imported where they are used: every job loads studies, and few have such data.

PATHS = ("path", "test_path", "x", "y", "x_test", "y_test")
"""Keys of a study that name files. The content of these is part of a cell's identity, their place is not."""
CACHE = Path(".snakemake/own-data.json")
"""Facts of files whose sizes and times have not changed, since every job of the workflow loads the study."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_TESTS = ("test", "val", "valid", "validation")
_LEAST_TEST = 16
_TABLES = (".csv", ".tsv", ".parquet")
_MOST_CLASSES = 1000
"""Number of different whole numbers above which they may be numbers to predict."""


class Part(NamedTuple):
    """Samples for training or for testing, as they are stored."""

    x: "Array"
    """Inputs: uint8 (n, C, H, W) of images in folders, else float64 (n, *shape)."""
    y: "Array"
    """Classes int64 (n,), or numbers to predict float64 (n, targets)."""


@dataclass(frozen=True)
class OwnData:
    """Samples of a user's files in a fixed random order."""

    train: Part
    test: Part
    classes: Sequence[str]
    """Names of the classes; empty for numbers to predict."""
    files: Mapping[Path, str]
    """File -> its sha256."""
    content: str
    """Digest of all files, without their place."""
    law: Mapping[str, list[float]]
    """Means and deviations by which `scaled` standardizes inputs, and numbers to predict."""
    notes: Sequence[str] = ()


def look(options: Mapping[str, Any]) -> dict[str, Any]:
    """Content, shape, classes, targets, size and sentences of the data that a study's options name.

    Raises:
        SourceError: saying what is wrong and what to write.
    """
    key = _stamp(options)
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = json.loads(CACHE.read_text())
    if key not in known:
        data = read(options)
        x, y = scaled(data.train.x, data.law), data.train.y
        y = y if data.classes else scaled(y, data.law, "target_")
        about = describe(x, y, data.classes, len(x), len(data.test.x), options["standardize"])
        raw = "" if data.classes else f"; to predict: {_range(data.train.y)}"
        if options["standardize"] != "none":
            about.insert(2, f"before standardization: {_range(data.train.x)}{raw}")
        facts = {
            "content": data.content,
            "shape": x.shape[1:],
            "classes": len(data.classes) or None,
            "targets": None if data.classes else y.shape[1],
            "size": len(x),
            "about": [*about, *data.notes],
        }
        known = {**dict(list(known.items())[-99:]), key: facts}
        if CACHE.parent.is_dir() or Path("Snakefile").is_file():
            with whole(CACHE) as partial:
                partial.write_text(json.dumps(known))
    return {name: tuple(v) if isinstance(v, list) else v for name, v in known[key].items()}


def _stamp(options: Mapping[str, Any]) -> str:
    """Digest of the options, of this module, and of the names, sizes and times of the files."""
    lines = [meaning(Path(__file__)), json.dumps(options, default=str)]
    for top in (Path(options[name]) for name in PATHS if options.get(name)):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            with suppress(OSError):
                stat = path.stat()
                lines.append(f"{path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()


def read(options: Mapping[str, Any]) -> OwnData:
    """Samples of the files that a study's options name.

    Raises:
        SourceError: saying what is wrong and what to write.
    """
    import numpy as np

    readers = {"folder": _folder, "arrays": _arrays, "table": _table}
    x, y, keys, cut, classes, files, notes = readers[options["kind"]](options)
    order = _order(keys[:cut])
    if cut is not None:
        places = cut + _order(keys[cut:])
    else:
        # Hold out a share of each class.
        held = np.zeros(len(x), bool)
        groups = [y[order] == n for n in range(len(classes))] or [np.ones(len(x), bool)]
        for own in map(np.flatnonzero, groups):
            held[own[: min(round(options["hold_out"] * len(own)), max(0, len(own) - 1))]] = True
        places, order = order[held], order[~held]
    train, test = (Part(x[chosen], y[chosen]) for chosen in (order, places))
    if len(places) < _LEAST_TEST:
        more = "write a larger hold_out" if cut is None else "add more to the test set"
        raise SourceError(
            f"{len(places)} test samples, and at least {_LEAST_TEST} are needed: {more}"
        )
    hashes = {name: sha256_of(path) for name, path in files.items()}
    lines = "".join(f"{name}\0{sha256}\n" for name, sha256 in sorted(hashes.items()))
    content = hashlib.sha256(lines.encode(errors="replace")).hexdigest()
    law = _law(train.x, options["standardize"], "")
    law |= {} if classes else _law(train.y, options["standardize"], "target_")
    found = {path: hashes[name] for name, path in files.items()}
    return OwnData(train, test, classes, found, content, law, notes)


_Read = tuple[
    "Array", "Array", Sequence[str], int | None, Sequence[str], Mapping[str, Path], Sequence[str]
]
"""Samples x and y, first those for training; names on which their random order depends; the number for training,
None without a test set; names of the classes; files by what they are for; warnings."""


def _order(keys: Iterable[str]) -> "Array":
    """Places of the keys in a random order that depends on the keys alone."""
    import numpy as np

    digests = [hashlib.sha256(key.encode(errors="replace")).digest() for key in keys]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def _law(values: "Array", how: str, name: str) -> dict[str, list[float]]:
    import numpy as np

    axes: Any = (0, 2, 3) if values.ndim == 4 else 0
    mean, std = ((f(values, axes, dtype=np.float64)) for f in (np.mean, np.std))
    if how == "all":
        mean, std = mean * 0 + values.mean(dtype=np.float64), std * 0 + values.std(dtype=np.float64)
    # The deviation of a constant is the rounding of its mean.
    std[std <= 1e-12 * np.abs(mean)] = 1.0
    if how == "none":
        mean, std = mean * 0, std * 0 + (255 if values.dtype == np.uint8 else 1)
    return {f"{name}mean": mean.ravel().tolist(), f"{name}std": std.ravel().tolist()}


def scaled(values: "Array", law: Mapping[str, Any], name: str = "") -> "Array":
    """Values float32 (n, ...), standardized by means and deviations of features, or of the channels of images."""
    import numpy as np

    shape = (-1, 1, 1) if values.ndim == 4 else values.shape[1:]
    mean, std = (np.reshape(law[f"{name}{key}"], shape) for key in ("mean", "std"))
    found: Array = ((values - mean) / std).astype(np.float32)
    return found


# Dividing all numbers by one deviation brings none of them nearer, as with `all` and `none`.
_SCALE = {
    "": "subtract the mean and divide by the sd",
    "none": "write standardize: each (feature or channel by itself), or standardize: all",
    "each": "write standardize: all, since many features are constant",
}
_SPREAD = {
    "": ", or standardize all numbers together",
    "each": ", or write standardize: all, for all numbers together",
}


def describe(
    x: "Array",
    y: "Array",
    classes: Sequence[str],
    size: int | None,
    tests: int,
    standardize: str = "",
) -> list[str]:
    """Sentences about some training samples: inputs (n, *shape) and targets, as in `Part`; warnings come last.

    Args:
        classes: names of the classes; empty for numbers to predict.
        size: number of training samples; None for an endless stream.
        tests: number of test samples.
        standardize: the study's key, which only own files have.
    """
    import numpy as np

    mean, std, low, high = (float(f(x)) for f in (np.mean, np.std, np.min, np.max))
    far = max(high - mean, mean - low) / std if std else 0.0
    lines = [
        f"{'endless' if size is None else f'{size:,}'} training and {tests:,} test samples of shape "
        f"{list(x.shape[1:])}; {_range(x)}"
    ]
    share = np.bincount(y, minlength=len(classes)) / len(y) if classes else np.zeros(0)
    if not classes:
        lines.append(f"to predict: {_named([_range(column) for column in y.T])}")
    elif len(classes) > 10:
        lines.append(f"{len(classes)} classes of {share.min():.2%} to {share.max():.2%}")
    else:
        shown = (f"{name} {part:.0%}" for name, part in zip(classes, share, strict=True))
        lines.append(f"classes: {', '.join(shown)}")
    flat = x.reshape(len(x), -1)
    constant, count = int((flat == flat[:1]).all(0).sum()), flat.shape[1]
    absent = [n for n, part in zip(classes, share, strict=True) if len(x) == size and not part]
    odd = constant < count and (abs(mean) > 0.5 or not 0.3 < std < 3)
    tokens = "; leave tokens that an embedding reads" if low >= 0 and not (x % 1).any() else ""
    warnings = {
        "all inputs are the same, so nothing can be learned": constant == count,
        f"the inputs look unstandardized (mean {mean:.3g}, sd {std:.3g}), and mu-P expects numbers of order 1: "
        f"{_SCALE.get(standardize, _SCALE[''])}{tokens}": odd,
        f"{constant} of {count} features are constant": 0 < constant < count and x.ndim == 2,
        f"an input lies {far:.0f} sd from the mean; leave out features that hardly ever vary"
        f"{_SPREAD.get(standardize, '')}": far > 30,
        "the target is nearly constant; "
        f"{'write standardize: each' if standardize else 'subtract its mean'}": (
            not classes and (np.abs(y.mean(0)) > 3 * y.std(0)).any()
        ),
        f"no training sample has class {_named(absent)}": absent,
        "the target has only two values but is trained as a number; for classes give integers from 0, "
        "such as (y > 0).astype(int)": not classes and _two_values(y),
    }
    return lines + [f"warning: {text}" for text, found in warnings.items() if found]


def _two_values(y: "Array") -> bool:
    """Return whether each column is 0 or 1, or -1 or 1, and has both."""
    ends = y.min(0), y.max(0)
    on = ((y == ends[0]) | (y == ends[1])).all()
    return bool(on and (ends[1] == 1).all() and ((ends[0] == 0) | (ends[0] == -1)).all())


def _range(values: "Array") -> str:
    found = (
        round(float(v), 6) + 0.0 for v in (values.mean(), values.std(), values.min(), values.max())
    )
    return "mean {:.3g}, sd {:.3g}, from {:.3g} to {:.3g}".format(*found)


def _named(words: Sequence[str], most: int = 3) -> str:
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _near(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known := sorted(words), n=1)
    return f"did you mean {near[0]}?" if near else f"there are {_named(known, 12)}"


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _folder(options: Mapping[str, Any]) -> _Read:
    import numpy as np

    top = Path(options["path"])
    if not top.is_dir():
        raise SourceError(f"{top} is a file; name the folder that has a folder for each class")
    below = {path.name.lower(): path for path in _below(top)}
    held = [Path(options["test_path"])] if options["test_path"] else []
    held += [below[name] for name in _TESTS if name in below]
    if held and "train" not in below and not options["test_path"]:
        raise SourceError(
            f"{top} has {held[0].name} and no train beside it; rename the other one train"
        )
    tops = [below.get("train", top), *held[:1]]
    names = [path.name for path in _below(tops[0])]
    if options["classes"] not in (None, len(names)):
        raise SourceError(f"{tops[0]} has {len(names)} class folders; remove classes:")
    parts = [_labelled(one, names) for one in tops]
    keys, paths, labels = zip(*itertools.chain(*parts), strict=True)
    splits = zip(("train", "test"), parts, strict=False)
    files = {f"{split}/{key}": path for split, part in splits for key, path, _ in part}
    cut = len(parts[0]) if held else None
    return _decoded(paths, options), np.array(labels), keys, cut, names, files, ()


def _labelled(top: Path, names: Sequence[str]) -> list[tuple[str, Path, int]]:
    """Path below `top`, file and class of each image."""
    if loose := [path.name for path in sorted(top.iterdir()) if path.suffix.lower() in SUFFIXES]:
        raise SourceError(
            f"{top} has images in no class folder ({_named(loose)}); move each into a folder named as its class"
        )
    if len(names) < 2:
        example = f"{top}/cat/1.png, {top}/dog/1.png, ..."
        raise SourceError(f"{top} has {len(names)} class folders and needs two or more: {example}")
    for name in (path.name for path in _below(top) if path.name not in names):
        raise SourceError(
            f"{top} has a class {name} that has no training images; {_near(name, names)} Rename or remove it"
        )
    found = []
    for label, name in enumerate(names):
        images = sorted(p for p in (top / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        images = [p for p in images if p.is_file() and not p.name.startswith(".")]
        if not images and (top / name).is_dir():
            raise SourceError(
                f"{top / name} has no images ({', '.join(SUFFIXES)}); fill or remove it"
            )
        found += [(path.relative_to(top).as_posix(), path, label) for path in images]
    return found


def _decoded(paths: Sequence[Path], options: Mapping[str, Any]) -> "Array":
    """Pixels uint8 (n, C, H, W): one channel if all images are grey, else three."""
    import numpy as np
    from PIL import Image, ImageOps

    side = options["pixels"]
    found: list[Image.Image] = []
    bad: list[str] = []
    sizes: dict[tuple[int, int], list[str]] = {}
    for path in paths:
        try:
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode[0] in "IF":
                    raise ValueError("more than 8 bits a channel")
                grey = {None: image.mode in ("1", "L", "LA"), "grey": True}.get(options["colour"])
                image = image.convert("L" if grey else "RGB")
                if side is not None:
                    image = image.resize((side, side), Image.Resampling.BILINEAR)
                found.append(image)
                sizes.setdefault(image.size, []).append(path.as_posix())
        except Exception as error:  # a decoder can raise anything if a byte was changed
            bad.append(f"{path} ({str(error) if type(error) is ValueError else 'unreadable'})")
    if bad:
        raise SourceError(f"no images of 8 bits: {_named(bad)}; save them as PNG, or remove them")
    if len(sizes) > 1:
        ranked = sorted(sizes.items(), key=lambda item: -len(item[1]))
        shown = [f"{w}x{h} ({len(of)}, such as {of[0]})" for (w, h), of in ranked]
        raise SourceError(
            f"images have different sizes: {_named(shown, 2)}; write pixels: {min(ranked[0][0])}, the side "
            "to which all are resized"
        )
    mode = "L" if all(image.mode == "L" for image in found) else "RGB"
    pixels = np.stack([np.asarray(image.convert(mode)) for image in found])
    return np.ascontiguousarray(pixels[:, None] if mode == "L" else pixels.transpose(0, 3, 1, 2))


def _arrays(options: Mapping[str, Any]) -> _Read:
    import numpy as np

    files = {name: Path(options[name]) for name in PATHS if options.get(name)}
    loaded = {name: _load(path) for name, path in files.items()}
    if path := files.get("path"):
        stored = {n.lower().removesuffix("_train"): v for n, v in loaded["path"].items()}
        if missing := [name for name in ("x", "y") if name not in stored]:
            raise SourceError(
                f"{path} has no array {missing[0]} (its arrays: {_named([*loaded['path']], 12) or 'one, unnamed'}"
                "); save it by numpy.savez(path, x=inputs, y=targets), with x_test and y_test for a test set; of "
                "two .npy files write x: and y: in place of path:"
            )
    elif many := [files[name] for name, found in loaded.items() if "" not in found]:
        raise SourceError(f"{many[0]} is an npz; write path: {many[0]}, with x and y in it")
    else:
        stored = {name: found[""] for name, found in loaded.items()}
    if ("x_test" in stored) != ("y_test" in stored):
        raise SourceError("a test set needs both x_test and y_test")
    xs, ys = [], []
    for end in ("", "_test") if "x_test" in stored else ("",):
        x, y = (_numbers(stored[f"{name}{end}"], f"{name}{end}") for name in "xy")
        if len(x) != len(y):
            raise SourceError(
                f"x{end} has {len(x)} samples and y{end} {len(y)}; save one y for each x"
            )
        xs.append(_channels(x, options["channels"]))
        ys.append(y)
    for name, found in (("x", xs), ("y", ys)):
        if len({one.shape[1:] for one in found}) > 1:
            shapes = " and ".join(str(list(one.shape)) for one in found)
            raise SourceError(f"{name} and {name}_test have shapes {shapes}; save them alike")
    # Numbered together: a test set may lack the last class.
    y, count = _targets(np.concatenate(ys), options)
    names = [str(n) for n in range(count)]
    return *_joined(xs, y), names, files, _wrapped(stored["x"])


def _joined(xs: Sequence["Array"], y: "Array") -> tuple["Array", "Array", list[str], int | None]:
    """Inputs of one or two sets, their targets, and their numbers, as in `_Read`."""
    import numpy as np

    keys = [str(n) for x in xs for n in range(len(x))]
    return np.concatenate(xs), y, keys, len(xs[0]) if len(xs) > 1 else None


def _load(path: Path) -> dict[str, "Array"]:
    """Arrays of an npz by their names, or the one of an npy under no name."""
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
        return {n: found[n] for n in found.files} if hasattr(found, "files") else {"": found}
    except Exception as error:  # numpy raises many kinds of errors for a damaged file
        text = "it holds objects" if "pickle" in str(error) else str(error)
        advice = "save arrays of numbers by numpy.savez or numpy.save"
        if path.suffix.lower() in _TABLES:
            text, advice = (
                "it is a table",
                "write kind: table, and target: with the column to learn",
            )
        raise SourceError(f"{path} cannot be read ({text}); {advice}") from None


def _numbers(values: "Array", what: str) -> "Array":
    """The same values, if they are finite numbers."""
    import numpy as np

    if values.dtype.kind not in "biuf":
        raise SourceError(
            f"{what} is {values.dtype} and must hold numbers: number texts by numpy.unique(..., "
            "return_inverse=True)[1], divide times by numpy.timedelta64(1, 'D'), save complex numbers as two"
        )
    if not values.ndim or not len(values):
        raise SourceError(
            f"{what} has shape {list(values.shape)}; its first dimension runs over the samples"
        )
    if len(wrong := np.argwhere(~np.isfinite(values))):
        raise SourceError(
            f"{what} has {len(wrong):,} values that are NaN or infinite, the first in sample {wrong[0][0]}; fill "
            "them, or leave these samples out"
        )
    return values


def _channels(x: "Array", where: str | None) -> "Array":
    """Inputs float64 with the channels of images first."""
    import numpy as np

    shape = list(x.shape)
    if where is None and x.ndim == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        raise SourceError(
            f"x has shape {shape}, which looks like images with their channels last: write channels: last, or "
            "channels: first if they are not"
        )
    if where and x.ndim != (3 if where == "none" else 4):
        forms = {"first": "(n, C, H, W)", "last": "(n, H, W, C)", "none": "(n, H, W)"}
        raise SourceError(
            f"x has shape {shape}, and channels: {where} is for images {forms[where]}"
        )
    if x.ndim == 1 or where == "none":
        x = x[:, None]
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if where == "last" else x, np.float64)


def _targets(y: "Array", options: Mapping[str, Any]) -> tuple["Array", int]:
    """Classes int64 (n,) and their number, or numbers to predict float64 (n, targets) and 0."""
    import numpy as np

    classes, targets = options["classes"], options["targets"]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    plain = bool((y == np.round(y)).all())
    if not targets and y.ndim == 2 and plain and (y.sum(1) == 1).all() and (y >= 0).all():
        raise SourceError(f"y has one-hot rows; save y.argmax(1), or write targets: {y.shape[1]}")
    if targets or not (classes or (plain and y.ndim == 1)):
        y = y.astype(np.float64).reshape(len(y), -1)
        if targets not in (None, y.shape[1]):
            raise SourceError(
                f"y has {y.shape[1]} numbers for each sample; write targets: {y.shape[1]}"
            )
        return y, 0
    if y.ndim != 1 or not plain:
        raise SourceError(
            "y holds no whole numbers, one for each sample: write targets: for classes:"
        )
    low, high, kinds = int(y.min()), int(y.max()), len(np.unique(y))
    wanted, or_else = max(2, high + 1), "or write targets: 1 if it is a number to predict"
    if low < 0 or (low > 0 and not (classes and high < classes)):
        numbers = (
            f"y - {low}" if kinds == high - low + 1 else "numpy.unique(y, return_inverse=True)[1]"
        )
        raise SourceError(
            f"y goes from {low} to {high}, and classes are numbered from 0: save {numbers}, {or_else}"
        )
    if classes and high >= classes:
        raise SourceError(
            f"y goes up to {high}, and {classes} classes to {classes - 1}; write classes: {wanted}"
        )
    if not classes and (y.dtype.kind == "f" or kinds > min(_MOST_CLASSES, max(2, len(y) // 2))):
        raise SourceError(
            f"y is {y.dtype} with {kinds:,} whole numbers from {low} to {high}: write classes: {wanted}, {or_else}"
        )
    return y.astype(np.int64), classes or wanted


def _wrapped(x: "Array") -> list[str]:
    """Warning about integers that have overflowed, as in a subtraction in uint8."""
    # Small negative numbers lie just below 256; of real images few pixels lie near, but not at, both ends.
    ends = [float(((x >= a) & (x <= b)).mean()) for a, b in ((1, 25), (230, 254))]
    if (x.dtype == "int8" and x.min() < 0) or (x.dtype == "uint8" and min(ends) > 0.15):
        return [f"warning: x is {x.dtype} and looks wrapped around: subtract and scale in float32"]
    return []


def _table(options: Mapping[str, Any]) -> _Read:
    import numpy as np

    targets = list(options["target"])
    files = {name: Path(options[name]) for name in ("path", "test_path") if options[name]}
    frames = [_frame(path) for path in files.values()]
    for path, frame in zip(files.values(), frames, strict=True):
        for name in (*targets, *(options["features"] or frames[0].columns)):
            if name not in frame.columns:
                raise SourceError(f"{path} has no column {name}; {_near(name, frame.columns)}")
    first = frames[0]
    features = list(options["features"] or [c for c in first.columns if c not in targets])
    plain = [c for c in features if first[c].dtype.is_numeric() or str(first[c].dtype) == "Boolean"]
    if not features or {*features} & {*targets}:
        raise SourceError(
            f"features need a column beside the target {_named(targets)}, and not itself"
        )
    if odd := [f"{name} ({first[name].dtype})" for name in features if name not in plain]:
        raise SourceError(
            f"no numbers are in the columns {_named(odd, 6)}: turn them into numbers, or leave them out by "
            f"features: [{', '.join(plain)}]"
        )
    xs = []
    for path, frame in zip(files.values(), frames, strict=True):
        for name in (*features, *targets):
            if (missing := np.flatnonzero(frame[name].is_null().to_numpy())).size:
                raise SourceError(
                    f"{path}: {len(missing):,} values of the column {name} are missing, the first in row "
                    f"{missing[0] + 1}; fill them, or leave these rows out"
                )
        columns = (_numbers(frame[name].to_numpy(), f"the column {name}") for name in features)
        xs.append(np.stack([column.astype(np.float64) for column in columns], 1))
    y, classes = _column(options, [frame.select(targets) for frame in frames])
    rows = np.arange(len(first))[:, None]
    counts = [c for c, x in zip(features, (xs[0] - xs[0][0] == rows).all(0), strict=True) if x]
    others = ", ".join(c for c in features if c not in counts)
    warnings = [
        f"warning: the column {c!r} numbers the rows; write features: [{others}]" for c in counts
    ]
    return *_joined(xs, y), classes, files, warnings


def _column(options: Mapping[str, Any], frames: Sequence[Any]) -> tuple["Array", Sequence[str]]:
    """Targets of all rows, and the names of the classes; whole numbers and texts are classes."""
    import numpy as np

    names, first, classes = options["target"], frames[0], options["classes"]
    name, dtypes = names[0], [first[one].dtype for one in names]
    predicted = options["targets"] or len(names) > 1 or (dtypes[0].is_float() and not classes)
    if predicted and not all(dtype.is_numeric() for dtype in dtypes):
        raise SourceError(
            f"the column {name} holds no numbers to predict; name one column of classes"
        )
    if predicted:
        y = np.concatenate([frame.to_numpy() for frame in frames]).astype(np.float64)
        options = {**options, "targets": len(names)}
        return _targets(_numbers(y, f"the column {name}"), options)[0], ()
    known = {value: n for n, value in enumerate(sorted(first[name].unique().to_list()))}
    values = [value for frame in frames for value in frame[name].to_list()]
    if strange := [value for value in values if value not in known]:
        near = _near(str(strange[0]), map(str, known))
        raise SourceError(f"no training row has the class {strange[0]} of the test rows; {near}")
    count = len(known)
    if count < 2 or classes not in (None, count):
        raise SourceError(
            f"the column {name} has {count} different values, not {classes or '2 or more'}"
        )
    if not classes and count > min(_MOST_CLASSES, max(2, len(first) // 2)):
        raise SourceError(
            f"the column {name} has {count:,} different values in {len(first):,} rows: write classes: {count}, or "
            "targets: 1 if it is a number to predict"
        )
    return np.array([known[value] for value in values]), [str(value) for value in known]


def _frame(path: Path) -> Any:
    import polars as pl

    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            separator = "," if kind == ".csv" else "\t"
            frame = pl.read_csv(path, infer_schema_length=None, separator=separator)
        else:
            frame = pl.read_parquet(path)
    except Exception as error:  # polars raises many kinds of errors for a damaged file
        text = str(error).partition("\n")[0]
        advice = "; write kind: arrays" if kind in (".npz", ".npy") else ""
        raise SourceError(
            f"{path} cannot be read as {', '.join(_TABLES)} ({text}){advice}"
        ) from None
    if not len(frame):
        raise SourceError(f"{path} has no rows")
    if len(frame.columns) == 1 and (found := [c for c in ";\t|" if c in frame.columns[0]]):
        raise SourceError(
            f"{path} has one column, {frame.columns[0]!r}, and {found[0]!r} in its name; save it with commas, or "
            "as .tsv with tabs"
        )
    return frame
