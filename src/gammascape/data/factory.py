"""Data of the user's own: arrays, or an endless stream, that a function returns."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gammascape.data.dataset import PROBE_SIZE, Dataset, one_hot, sample_indices
from gammascape.data.prepared import DataError
from gammascape.data.random import make_key
from gammascape.data.stream import (
    describe_end,
    epoch_places,
    imbalanced,
    noisy_labels,
    repeats,
    shuffled,
)
from gammascape.isolation import seed_of
from gammascape.usercode import SEED_IT, Code, load_code

LEAST_TEST = 16
"""Test samples that are needed: representations are compared on them."""

Draw = Callable[[int, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(data seed, places (n,)) -> inputs (n, ...), targets (n,) or (n, O), numbers of the samples (n,)."""


def load(options: dict[str, Any], source: Path | None, device: torch.device) -> Dataset:
    """Call the function of a study's dataset with `factory`; `source` is ignored.

    Raises:
        DataError: if what it returns is not what the study says.
        UserCodeError: if its code fails.
    """
    del source
    # From two imports of the files: what they draw while they are imported is seen to differ.
    again = _parts(options, Code(options["sources"]), device)[-1]
    (draw, size, test_x, test_y), digests = _parts(options, load_code(options["sources"]), device)
    for what, digest in digests.items():
        if again[what] != digest:
            raise _wrong(
                options,
                f"returns other {what} each time, so each process would train on other data; {SEED_IT}",
            )
    digest = digests["training samples"]
    classes = options["classes"]
    repeated, noise = repeats(options), options["label_noise"]

    def batches(
        data_seed: int, first_step: int, count: int, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        places = sample_indices(first_step, count, batch_size)
        if size is not None:
            if not repeated and int(places[-1]) >= size:
                raise DataError(describe_end(options["factory"], size, batch_size))
            places = epoch_places(places, size, data_seed)
        x, y, numbers = draw(data_seed, places)
        if classes:
            y = one_hot(noisy_labels(y, numbers, noise, classes, data_seed), classes)
        return x.view(count, batch_size, *x.shape[1:]), y.view(count, batch_size, -1)

    test_digest = digests["test samples"]
    return Dataset(
        name=options["factory"],
        input_shape=tuple(options["shape"]),
        outputs=classes or options["targets"],
        classification=classes is not None,
        samples_per_pass=size,
        digest=hashlib.sha256(f"{digest} {test_digest}".encode()).hexdigest(),
        test_inputs=test_x,
        test_targets=one_hot(test_y, classes) if classes else test_y,
        probe_inputs=test_x[:PROBE_SIZE],
        batches=batches,
    )


def _parts(
    options: dict[str, Any], code: Code, device: torch.device
) -> tuple[tuple[Draw, int | None, Tensor, Tensor], dict[str, str]]:
    """Training samples, number of a pass, test inputs and targets of one call of the function; digests."""
    factory, arguments = options["factory"], options["arguments"]
    make = code.get(factory)
    with code.active(factory, seed_of("data", factory, arguments)):
        made = make(**copy.deepcopy(arguments))
    size: int | None
    wanted = 4 if options["size"] else 3
    if not isinstance(made, tuple | list) or len(made) != wanted:
        what = (
            "(train_inputs, train_targets, test_inputs, test_targets)"
            if options["size"]
            else "(sampler, test_inputs, test_targets), or give the dataset its size"
        )
        raise _wrong(options, f"returned {_shown(made)}; it must return {what}")
    test_x, test_y = _samples(options, made[-2], made[-1], "test", None, device)
    if len(test_x) < LEAST_TEST:
        raise _wrong(
            options, f"returned {len(test_x)} test samples; at least {LEAST_TEST} are needed"
        )
    if options["size"]:
        draw, size, digest = _arrays(options, made[0], made[1], device)
    else:
        draw, size, digest = _stream(options, made[0], code, device)
    digests = {"training samples": digest, "test samples": _digest(test_x, test_y)}
    return (draw, size, test_x, test_y), digests


def _arrays(
    options: dict[str, Any], inputs: Any, targets: Any, device: torch.device
) -> tuple[Draw, int, str]:
    x, y = _samples(options, inputs, targets, "training", options["size"], device)
    kept = torch.arange(len(x))
    if options["imbalance"] < 1:
        kept = imbalanced(y.cpu(), options["imbalance"], options["classes"])
    wanted = options["training_samples"]
    size = len(kept) if wanted is None else min(wanted, len(kept))

    def draw(data_seed: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        numbers = kept[shuffled(make_key(data_seed), len(kept))[places]].to(device)
        return x[numbers], y[numbers], numbers

    return draw, size, _digest(x, y)


def _stream(
    options: dict[str, Any], sampler: Any, code: Code, device: torch.device
) -> tuple[Draw, int | None, str]:
    if not callable(sampler):
        raise _wrong(
            options,
            f"returned {_shown(sampler)} as the sampler; it must be a function of (seed, first, count)",
        )

    def piece(seed: int, first: int, count: int) -> tuple[Tensor, Tensor]:
        doing = f"the sampler of {options['factory']} ({seed}, {first}, {count})"
        with code.active(doing, seed_of("stream", options["factory"], seed)):
            drawn = sampler(seed, first, count)
        if not isinstance(drawn, tuple | list) or len(drawn) != 2:
            raise _wrong(
                options, f"has a sampler that returned {_shown(drawn)}, not (inputs, targets)"
            )
        return _samples(options, drawn[0], drawn[1], "drawn", count, device)

    whole, again, rest = piece(0, 0, 8), piece(0, 0, 8), piece(0, 5, 3)
    for one, two, part in zip(whole, again, rest, strict=True):
        if not (torch.equal(one, two) and torch.equal(one[5:], part)):
            raise _wrong(
                options,
                "has a sampler that gives other samples when it is asked again or in other pieces; sample number "
                "n must be a function of (seed, n) alone, for example of numpy.random.default_rng((seed, n))",
            )

    def draw(data_seed: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, last = int(places.min()), int(places.max())
        if last - first + 1 == len(places) and bool((places.diff() == 1).all()):
            x, y = piece(data_seed, first, len(places))
        else:
            x, y = piece(data_seed, first, last - first + 1)
            x, y = x[places.to(device) - first], y[places.to(device) - first]
        return x, y, places.to(device)

    law = json.dumps({key: options[key] for key in ("factory", "arguments", "sources")})
    return draw, options["training_samples"], f"law {law} {_digest(*whole)}"


def _samples(
    options: dict[str, Any],
    inputs: Any,
    targets: Any,
    name: str,
    count: int | None,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Inputs as float32 (n, *shape), and targets as int64 (n,) or float32 (n, O), checked against the study."""
    x, y = _tensor(options, inputs, f"{name} inputs"), _tensor(options, targets, f"{name} targets")
    shape, classes = tuple(options["shape"]), options["classes"]
    if count is not None and len(x) != count:
        raise _wrong(
            options,
            f"returned {len(x)} {name} samples"
            + (f"; the study says size: {count}" if name == "training" else f", not {count}"),
        )
    if tuple(x.shape[1:]) != shape:
        raise _wrong(
            options,
            f"returned {name} inputs of shape {list(x.shape)}; the study says shape: {list(shape)}, so they "
            f"must be (samples, {', '.join(map(str, shape))})",
        )
    if len(y) != len(x):
        raise _wrong(options, f"returned {len(x)} {name} inputs and {len(y)} {name} targets")
    x = x.to(torch.float32)
    if classes:
        if y.dim() != 1 or y.is_floating_point():
            raise _wrong(
                options,
                f"returned {name} targets of shape {list(y.shape)} in {y.dtype}; classes are whole numbers, "
                "one for each sample",
            )
        y = y.to(torch.int64)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise _wrong(
                options,
                f"returned {name} targets from {int(y.min())} to {int(y.max())}; {classes} classes are "
                f"numbered from 0 to {classes - 1}",
            )
    else:
        y = y.to(torch.float32)
        y = y[:, None] if y.dim() == 1 else y
        if tuple(y.shape[1:]) != (options["targets"],):
            raise _wrong(
                options,
                f"returned {name} targets of shape {list(y.shape)}; the study says targets: "
                f"{options['targets']}, so they must be (samples, {options['targets']})",
            )
    for values, what in ((x, "inputs"), (y, "targets")):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise _wrong(options, f"returned {name} {what} that are not finite")
    return x.to(device), y.to(device)


def _tensor(options: dict[str, Any], values: Any, what: str) -> Tensor:
    try:
        tensor = (
            values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
        )
    except (TypeError, ValueError) as error:
        raise _wrong(options, f"returned {what} that are no array: {error}") from None
    if not tensor.dim():
        raise _wrong(options, f"returned {what} that are one number, not an array")
    return tensor


def _digest(x: Tensor, y: Tensor) -> str:
    digest = hashlib.sha256()
    for values in (x, y):
        digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _wrong(options: dict[str, Any], text: str) -> DataError:
    return DataError(f"{options['factory']} {text}")


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
