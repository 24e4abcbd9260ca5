"""A user's own data: arrays, or an endless stream, returned by a function."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gammascape.data import stream
from gammascape.data.dataset import Batches, Dataset, one_hot, sample_indices
from gammascape.data.prepared import DataError
from gammascape.rng import make_key
from gammascape.usercode.isolation import another_process, seed_of
from gammascape.usercode.run import SEED_IT, Code, load_code, plain

LEAST_TEST = 16
"""Least number of test samples, since representations are compared on them."""

_NOT_NUMBERS = {
    "c": "complex; give real and imaginary parts as two channels",
    "M": "dates; subtract a first one and divide by numpy.timedelta64(1, 'D')",
    "m": "differences of time; divide by numpy.timedelta64(1, 'D')",
    "O": "not all numbers; give arrays of numbers, all samples of one shape, sparse matrices by toarray()",
    **dict.fromkeys(
        "SU", "text; number the classes from 0, as numpy.unique(y, return_inverse=True)[1] does"
    ),
    "V": "records; put their fields side by side in an array of numbers",
}
"""Kind of dtype -> description of such values, and what to return instead."""

Draw = Callable[[int, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(data seed, places (n,)) -> inputs (n, ...), targets (n,) or (n, O), numbers of the samples (n,)."""


class _Wrong(Exception):
    """Mismatch between a user function's return value and the study."""


@contextmanager
def _naming(factory: str) -> Iterator[None]:
    """Turn a _Wrong into a DataError that names the function."""
    try:
        yield
    except _Wrong as error:
        raise DataError(f"{factory} {error}") from None


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Call the function of a study's dataset with `factory`; `source` is ignored.

    Raises:
        DataError: if its return value does not match the study.
        UserCodeError: if its code fails.
    """
    del source
    # Import the files twice, so that random numbers drawn at import are seen to differ.
    sources = options["sources"]
    with _naming(options["factory"]):
        with another_process():
            _, again = _parts(options, Code(sources), device)
        parts, digests = _parts(options, load_code(sources), device)
        if other := [what for what, digest in digests.items() if again[what] != digest]:
            raise _Wrong(
                f"returns other {other[0]} each time, so each process would train on different data; {SEED_IT}"
            )
    draw, size, validation, test_x, test_y = parts
    digest = f"{digests['training samples']} {digests['test samples']}"
    classes = options["classes"]
    if validation is not None and classes:
        validation = validation[0], one_hot(validation[1], classes)
    repeated, noise = stream.repeats(options), options["label_noise"]

    def batches(data_seed: int, first_step: int, count: int, batch_size: int) -> Batches:
        places = sample_indices(first_step, count, batch_size)
        if size is not None:
            if not repeated and int(places[-1]) >= size:
                raise DataError(stream.describe_end(options["factory"], size, batch_size))
            places = stream.epoch_places(places, size, data_seed)
        with _naming(options["factory"]):
            x, y, numbers = draw(data_seed, places)
        if classes:
            y = one_hot(stream.noisy_labels(y, numbers, noise, classes, data_seed), classes)
        return x.view(count, batch_size, *x.shape[1:]), y.view(count, batch_size, -1)

    return Dataset(
        name=options["factory"],
        input_shape=tuple(options["shape"]),
        outputs=classes or options["targets"],
        classification=classes is not None,
        samples_per_pass=size,
        digest=hashlib.sha256(digest.encode()).hexdigest(),
        test_inputs=test_x,
        test_targets=one_hot(test_y, classes) if classes else test_y,
        batches=batches,
        validation=validation,
    )


def facts(factory: str, arguments: dict[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """Keys of a study that describe the data of a function: shape, size, and classes or targets.

    Raises:
        DataError: if it returns neither arrays nor a sampler with test arrays.
        UserCodeError: if its code fails.
    """
    code = load_code(sources)
    make = code.get(factory)
    with code.active(factory, seed_of("data", factory, arguments)):
        made = make(**copy.deepcopy(arguments))
    with _naming(factory):
        if not isinstance(made, tuple | list) or len(made) not in (3, 4):
            raise _Wrong(
                f"returned {_shown(made)}; it must return (train_inputs, train_targets, test_inputs, "
                "test_targets), or (sampler, test_inputs, test_targets)"
            )
        shown = made[:2] if len(made) == 4 else made[1:]
        x, y = (
            _tensor(values, what) for values, what in zip(shown, ("inputs", "targets"), strict=True)
        )
    found: dict[str, Any] = {"shape": [*x.shape[1:]]}
    if y.dim() == 1 and not y.is_floating_point():
        found["classes"] = 1 + int(y.max())
    else:
        found["targets"] = y.shape[1] if y.dim() > 1 else 1
    return found | ({"size": len(x)} if len(made) == 4 else {})


def _parts(
    options: dict[str, Any], code: Code, device: torch.device
) -> tuple[tuple[Draw, int | None, Batches | None, Tensor, Tensor], dict[str, str]]:
    """(training samples, samples per pass, validation, test inputs, test targets) of one call, and digests."""
    factory, arguments = options["factory"], options["arguments"]
    make = code.get(factory)
    with code.active(factory, seed_of("data", factory, arguments)):
        made = make(**copy.deepcopy(arguments))
    wanted, what = 3, "(sampler, test_inputs, test_targets), or give the dataset its size"
    if options["size"]:
        wanted, what = 4, "(train_inputs, train_targets, test_inputs, test_targets)"
    if not isinstance(made, tuple | list) or len(made) != wanted:
        raise _Wrong(f"returned {_shown(made)}; it must return {what}")
    test_x, test_y = _samples(options, made[-2], made[-1], "test", None, device)
    if len(test_x) < LEAST_TEST:
        raise _Wrong(f"returned {len(test_x)} test samples; at least {LEAST_TEST} are needed")
    found = _arrays(options, made[0], made[1], device) if options["size"] else None
    draw, size, validation, digest = found or _stream(options, made[0], code, device)
    digests = {"training samples": digest, "test samples": _digest(test_x, test_y)}
    return (draw, size, validation, test_x, test_y), digests


def _arrays(
    options: dict[str, Any], inputs: Any, targets: Any, device: torch.device
) -> tuple[Draw, int, Batches | None, str]:
    x, y = _samples(options, inputs, targets, "training", options["size"], device)
    kept = torch.arange(len(x))
    if options["imbalance"] < 1:
        kept = stream.imbalanced(y.cpu(), options["imbalance"], options["classes"])
    wanted = options["training_samples"]
    size = len(kept) if wanted is None else min(wanted, len(kept))
    validation = None
    if share := options.get("validation"):
        kept, held = stream.hold_out(kept, y.cpu(), size, share)
        validation = x[held.to(device)], y[held.to(device)]
        size -= len(held)

    def draw(data_seed: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        numbers = kept[stream.shuffled(make_key(data_seed), len(kept))[places]].to(device)
        return x[numbers], y[numbers], numbers

    return draw, size, validation, _digest(x, y)


def _stream(
    options: dict[str, Any], sampler: Any, code: Code, device: torch.device
) -> tuple[Draw, int | None, None, str]:
    if not callable(sampler):
        raise _Wrong(
            f"returned {_shown(sampler)} as the sampler; it must be a function of (seed, first, count)"
        )

    def piece(seed: int, first: int, count: int) -> tuple[Tensor, Tensor]:
        doing = f"the sampler of {options['factory']} ({seed}, {first}, {count})"
        with code.active(doing, seed_of("stream", options["factory"], seed)):
            drawn = sampler(seed, first, count)
        if not isinstance(drawn, tuple | list) or len(drawn) != 2:
            raise _Wrong(f"has a sampler that returned {_shown(drawn)}, not (inputs, targets)")
        return _samples(options, drawn[0], drawn[1], "drawn", count, device)

    tried: dict[int, tuple[Tensor, Tensor]] = {}

    def compare(seed: int, first: int, given: tuple[Tensor, Tensor]) -> None:
        """Draw samples of a seed again and require that they are the same."""
        again = piece(seed, first, len(given[0]))
        if not all(_same(a, b) for a, b in zip(again, given, strict=True)):
            raise _Wrong(
                f"has a sampler that gives other samples of seed {seed} from number {first} on when it is asked "
                "again, in other pieces or after another seed; sample number n must be a function of (seed, n) "
                "alone, for example drawn from numpy.random.default_rng((seed, n))"
            )

    def try_out(seed: int) -> tuple[Tensor, Tensor]:
        """Draw samples 0 to 7, compare them with other pieces, and draw them again after seed 0."""
        x, y = tried[seed] = piece(seed, 0, 8)
        if seed and torch.equal(x, tried[0][0]) and torch.equal(y, tried[0][1]):
            raise _Wrong(f"has a sampler that gives seed {seed} the samples of seed 0")
        compare(seed, 5, (x[5:], y[5:]))
        compare(0, 0, tried[0])
        compare(seed, 0, (x, y))
        return x, y

    whole = try_out(0)

    def draw(data_seed: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if data_seed not in tried:
            try_out(data_seed)
        first, last = int(places.min()), int(places.max())
        x, y = piece(data_seed, first, last - first + 1)
        compare(data_seed, last, (x[-1:], y[-1:]))
        if len(places) != len(x) or not bool((places.diff() == 1).all()):
            x, y = x[places.to(device) - first], y[places.to(device) - first]
        return x, y, places.to(device)

    law = json.dumps({key: options[key] for key in ("factory", "arguments", "sources")})
    return draw, options["training_samples"], None, f"law {law} {_digest(*whole)}"


def _samples(
    options: dict[str, Any],
    inputs: Any,
    targets: Any,
    name: str,
    count: int | None,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Inputs as float32 (n, *shape) and targets as int64 (n,) or float32 (n, O), checked against the study."""
    x, y = _tensor(inputs, f"{name} inputs"), _tensor(targets, f"{name} targets")
    shape, classes = tuple(options["shape"]), options["classes"]
    if count is not None and len(x) != count:
        raise _Wrong(
            f"returned {len(x)} {name} samples"
            + (f"; the study says size: {count}" if name == "training" else f", not {count}")
        )
    if tuple(x.shape[1:]) != shape:
        raise _Wrong(
            f"returned {name} inputs of shape {list(x.shape)}; the study says shape: {list(shape)}, so they "
            f"must be (samples, {', '.join(map(str, shape))})"
        )
    if len(y) != len(x):
        raise _Wrong(f"returned {len(x)} {name} inputs and {len(y)} {name} targets")
    law = name != "drawn"
    x = _float32(x, f"{name} inputs", law)
    if classes:
        if y.dim() != 1 or y.is_floating_point():
            raise _Wrong(
                f"returned {name} targets of shape {list(y.shape)} in {plain(y.dtype)}; classes are whole "
                "numbers, one for each sample: of one-hot rows write argmax(1), of 1.0 and 2.0 astype(int)"
            )
        y = y.to(torch.int64)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise _Wrong(
                f"returned {name} targets from {int(y.min())} to {int(y.max())}; {classes} classes are "
                f"numbered from 0 to {classes - 1}"
            )
    else:
        y = _float32(y, f"{name} targets", law)
        y = y[:, None] if y.dim() == 1 else y
        if tuple(y.shape[1:]) != (options["targets"],):
            raise _Wrong(
                f"returned {name} targets of shape {list(y.shape)}; the study says targets: "
                f"{options['targets']}, so they must be (samples, {options['targets']})"
            )
    return x.to(device), y.to(device)


def _tensor(values: Any, what: str) -> Tensor:
    """Convert real numbers, integers or booleans, none masked, to a tensor that torch can compute with."""
    if not isinstance(values, Tensor):
        values = torch.from_numpy(_array(values, what))
    unfit = {
        "quantized": values.is_quantized,
        "nested": values.is_nested,
        "masked": hasattr(values, "get_mask"),
        "without values": values.is_meta,
        plain(values.layout): values.layout != torch.strided,
    }
    for kind in (kind for kind, found in unfit.items() if found):
        raise _Wrong(
            f"returned {what} that are {kind}; return a dense tensor of numbers, as by to_dense() or dequantize()"
        )
    if values.is_complex():
        raise _Wrong(f"returned {what} that are {_NOT_NUMBERS['c']}")
    if not values.dim():
        raise _Wrong(f"returned {what} that are one number, not an array")
    tensor: Tensor = values.detach().as_subclass(Tensor)
    # torch has hardly any arithmetic for these types; the wider types hold all of their numbers.
    if tensor.is_floating_point() and tensor.itemsize < 4:
        return tensor.to(torch.float32)
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        tensor = tensor.to(torch.int64)
        if tensor.numel() and int(tensor.min()) < 0:
            raise _Wrong(f"returned {what} of 2^63 or more; number categories from 0")
    return tensor


def _array(values: Any, what: str) -> NDArray[Any]:
    """Convert numbers to an array in a dtype that torch knows."""
    if _masked(values):
        raise _Wrong(
            f"returned {what} of which some are masked; fill them, or leave these samples out"
        )
    try:
        array = np.array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _Wrong(f"returned {what} that are no array: {error}") from None
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in _NOT_NUMBERS:
        odd = (type(value).__name__ for value in array.flat if not isinstance(value, int | float))
        shown = f" ({next(odd, 'int')})" if kind == "O" else ""
        raise _Wrong(f"returned {what} that are {_NOT_NUMBERS[kind]}{shown}")
    if kind == "f" and size > 8:
        array = array.astype(np.float64)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _masked(values: Any) -> bool:
    if np.ma.isMaskedArray(values):
        return bool(np.ma.getmaskarray(values).any())
    return isinstance(values, list | tuple) and any(map(_masked, values))


def _float32(values: Tensor, what: str, law: bool = True) -> Tensor:
    """Convert numbers (n, ...) to float32, if they are finite and lose no meaning.

    `law` says whether there are enough samples to judge how each feature varies.
    """
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        count = int((~torch.isfinite(values)).sum())
        raise _Wrong(
            f"returned {what} that are not finite (NaN or infinite): {count} of {values.numel()}; fill them, or "
            "leave these samples out"
        )
    found = values.to(torch.float32)
    if values.dtype not in (torch.int32, torch.int64, torch.float64) or not values.numel():
        return found
    exact = values.to(torch.float64)
    size, lost = exact.abs(), (exact - found).abs()
    # From 2^53 on, a float64 number does not determine its last digit.
    coarse = (lost > 0) | (size >= 2**53)
    whole = not values.is_floating_point() or bool(
        ((exact == exact.round()) & (size < 2**53)).all()
    )
    fault, at = None, size
    if not bool(torch.isfinite(found).all()):
        fault = "are too large for"
    elif not bool(found.any()) and bool(exact.any()):
        fault = "are too small for"
    elif whole:
        fault, at = "lose their last digits in" if bool(coarse.any()) else None, coarse * size
    elif law:
        # Relative variation below 1e-11 is float64 rounding.
        spread = exact.std(0, correction=0)
        faint = (lost.amax(0) > 0.01 * spread) & (spread > 1e-11 * exact.mean(0).abs())
        fault, at = "hardly differ any more in" if bool(faint.any()) else None, faint * size
    if fault is None:
        return found
    example = values.flatten()[int(at.flatten().argmax())].item()
    raise _Wrong(
        f"returned {what} such as {example} in {plain(values.dtype)}, which {fault} float32; subtract an offset, "
        "scale them, or number categories from 0"
    )


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether samples are the same, up to the rounding of products of different sizes."""
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def _digest(x: Tensor, y: Tensor) -> str:
    digest = hashlib.sha256()
    for values in (x, y):
        digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shown(value: object) -> str:
    more = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{more}"
