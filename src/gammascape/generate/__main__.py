"""`python -m gammascape.generate {train,chunk,quality,deform}`: a million MNIST-like images, a chunk at a time.

Chunk k of size n holds the samples k n .. (k + 1) n - 1: uint8 `images` (n, 1, 28, 28) and int64 `labels` (n,).
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from gammascape.command import as_command, leave
from gammascape.generate import GenerateError
from gammascape.generate.deform import deform
from gammascape.generate.diffusion import read_model, sample, train_ddpm, write_model
from gammascape.generate.numbers import CLASSES, balanced_labels
from gammascape.generate.quality import picture, quality, train_classifier
from gammascape.layout import whole
from gammascape.study.keys.generators import (
    SAMPLING,
    STRENGTHS,
    TRAINING,
    DeformSpec,
    DiffusionSpec,
)
from gammascape.study.reading.fields import Record
from gammascape.terminal import complain
from gammascape.training.device import take_gpu

_REPORT_SECONDS = 10.0
_SOURCE = "folder with MNIST's idx files, or the manifest of prepared MNIST"
_SAMPLES_A_REPORT = 5_000


@as_command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status, 1 after a user's mistake."""
    from gammascape.data.prepared import DataError

    chosen = _parser().parse_args(arguments)
    try:
        _COMMANDS[chosen.command](chosen)
    except (DataError, GenerateError) as error:
        complain(error)
        return 1
    return 0


def _train(chosen: argparse.Namespace) -> None:
    images, labels = _mnist(chosen.source, "train")
    checkpoint = chosen.output.with_name(f"{chosen.output.name}.checkpoint")
    started = time.monotonic()
    told = started

    def report(done: int, loss: Tensor) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _REPORT_SECONDS or done == chosen.steps:
            told = now
            print(
                f"step {done} of {chosen.steps}: loss {loss.item():.4f}, {now - started:.0f} s",
                flush=True,
            )

    network, _ = train_ddpm(
        images,
        labels,
        **{name: getattr(chosen, name) for name in TRAINING},
        drop=chosen.drop,
        device=_device(chosen.device),
        checkpoint=checkpoint,
        seconds=chosen.checkpoint_seconds,
        report=report,
    )
    write_model(chosen.output, network)
    checkpoint.unlink(missing_ok=True)


def _chunk(chosen: argparse.Namespace) -> None:
    if chosen.number >= chosen.chunks:
        raise GenerateError(
            f"--number {chosen.number}: chunks are 0..{chosen.chunks - 1} with --chunks {chosen.chunks}"
        )
    device = _device(chosen.device, chosen.number)
    network = read_model(chosen.model, device)
    options = {name: getattr(chosen, name) for name in ("batch_size", *SAMPLING[2:])}

    def make(numbers: Tensor) -> tuple[Tensor, Tensor]:
        labels = balanced_labels(numbers)
        return sample(network, labels, numbers=numbers, device=device, **options), labels

    # Report after whole batches.
    _make_chunk(
        chosen, device, make, max(1, _SAMPLES_A_REPORT // chosen.batch_size) * chosen.batch_size
    )


def _deform(chosen: argparse.Namespace) -> None:
    images, labels = _mnist(chosen.source, "train")
    device = _device(chosen.device, chosen.number)
    strengths = DeformSpec(kind="deform", **{name: getattr(chosen, name) for name in STRENGTHS})
    images = images.to(device)

    def make(numbers: Tensor) -> tuple[Tensor, Tensor]:
        warped, base = deform(images, numbers.to(device), chosen.seed, strengths)
        return warped.cpu(), labels[base.cpu()]

    _make_chunk(chosen, device, make)


def _make_chunk(
    chosen: argparse.Namespace,
    device: torch.device,
    make: Callable[[Tensor], tuple[Tensor, Tensor]],
    piece: int = _SAMPLES_A_REPORT,
) -> None:
    """Make a chunk piece by piece; `make` returns the images and labels of samples by their numbers."""
    first, started = chosen.number * chosen.size, time.monotonic()
    print(f"chunk {chosen.number} on {device}", flush=True)
    made = []
    for numbers in torch.split(torch.arange(first, first + chosen.size), piece):
        made.append(make(numbers))
        done = sum(len(labels) for _, labels in made)
        print(f"{done} of {chosen.size} images, {time.monotonic() - started:.0f} s", flush=True)
    images, labels = map(torch.cat, zip(*made, strict=True))
    with whole(chosen.output) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, images=images[:, None].numpy(), labels=labels.numpy())


def _quality(chosen: argparse.Namespace) -> None:
    device = _device(chosen.device)
    chunks = [_read_chunk(path) for path in chosen.chunks]
    train_images, train_labels = _mnist(chosen.source, "train")
    test_images, test_labels = _mnist(chosen.source, "t10k")
    print(f"train a classifier on {len(train_images)} images, on {device}", flush=True)
    classifier = train_classifier(train_images, train_labels, device, chosen.passes, chosen.seed)
    samples, sample_labels = map(torch.cat, zip(*chunks, strict=True))
    print(f"read {len(samples)} images", flush=True)
    options = {"device": device, "subset": chosen.subset, "seed": chosen.seed}
    given = samples, sample_labels, train_images, test_images, test_labels
    found = quality(*given, classifier=classifier, **options)
    found["pictures"] = {
        "test": picture(test_images, test_labels),
        "samples": picture(samples, sample_labels),
    }
    accuracy, nearest = found["accuracy"], found["nearest"]
    print(
        f"read as labelled: {accuracy['samples']:.4f} of samples, {accuracy['test']:.4f} of test images; "
        f"closer to a training image than 99 % of test images: {nearest['close_share']:.4f}"
    )
    with whole(chosen.output) as beside:
        beside.write_text(json.dumps(found, indent=1) + "\n")


_COMMANDS = {"train": _train, "chunk": _chunk, "quality": _quality, "deform": _deform}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gammascape.generate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a diffusion model on MNIST")
    train.add_argument("--source", type=Path, required=True, help=_SOURCE)
    train.add_argument("--output", type=Path, required=True, help="model file to make")
    _add(train, DiffusionSpec, *TRAINING)
    train.add_argument("--drop", type=float, default=0.1, help="share of classes withheld")
    train.add_argument("--checkpoint-seconds", type=float, default=60.0)

    chunk = commands.add_parser("chunk", help="sample one chunk from a model")
    chunk.add_argument("--model", type=Path, required=True, help="file made by `train`")
    _add(chunk, DiffusionSpec, *SAMPLING)
    chunk.add_argument("--batch-size", type=_positive, default=1000)

    warp = commands.add_parser("deform", help="make one chunk of deformed training images")
    warp.add_argument("--source", type=Path, required=True, help=_SOURCE)
    _add(warp, DeformSpec, "size", "seed", *STRENGTHS)

    judge = commands.add_parser("quality", help="measure chunks against real digits")
    judge.add_argument("--chunks", type=Path, nargs="+", required=True, help="files of chunks")
    judge.add_argument("--source", type=Path, required=True, help=_SOURCE)
    judge.add_argument("--output", type=Path, required=True, help="JSON file to make")
    judge.add_argument("--passes", type=_positive, default=2, help="passes of training")
    judge.add_argument("--subset", type=_positive, default=2000, help="images for distances")
    judge.add_argument("--seed", type=int, default=0)

    for command in (chunk, warp):
        command.add_argument("--number", type=_natural, required=True, help="of the chunk, from 0")
        command.add_argument("--output", type=Path, required=True, help="npz file to make")
    for command in (train, chunk, warp, judge):
        command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser


def _add(parser: argparse.ArgumentParser, spec: type[Record], *names: str) -> None:
    """Add options with the defaults, choices and descriptions of a study's keys."""
    for name in names:
        field = spec.model_fields[name]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        number = float if field.annotation is float else int if name == "seed" else _positive
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str if choices else number,
            choices=choices,
            default=field.default,
            help=field.description,
        )


def _natural(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not an integer of {least} or more")
    return int(text)


_positive = partial(_natural, least=1)


def _device(name: str, number: int = 0) -> torch.device:
    """Device of that name; among several GPUs a free one, or else the one with this number."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise GenerateError("--device cuda: no CUDA device here; write --device cpu")
    return torch.device("cpu") if name == "cpu" else take_gpu(number % torch.cuda.device_count())


def _mnist(source: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 28, 28) and int64 labels (N,) of a split, from idx files or from prepared MNIST."""
    from gammascape.data.prepare.mnist import read_idx
    from gammascape.data.prepared import read_prepared

    if source.is_file():
        prepared = read_prepared(source, "mnist")
        shards = prepared.train if split == "train" else prepared.test
        pixels = np.concatenate([shard.images[:, 0] for shard in shards])
        classes = np.concatenate([shard.labels for shard in shards])
        return torch.from_numpy(pixels), torch.from_numpy(classes).to(torch.int64)
    images, labels = (
        torch.from_numpy(read_idx(source, f"{split}-{name}", dimensions)[1].copy())
        for name, dimensions in (("images-idx3-ubyte", 3), ("labels-idx1-ubyte", 1))
    )
    if images.shape[1:] != (28, 28) or len(images) != len(labels) or not len(images):
        raise GenerateError(
            f"--source {source}: {split} images {tuple(images.shape)} with {len(labels)} labels, "
            "expected (N, 28, 28) with N"
        )
    if labels.max() >= CLASSES:
        raise GenerateError(f"--source {source}: label {int(labels.max())}, expected 0..9")
    return images, labels.to(torch.int64)


def _read_chunk(path: Path) -> tuple[Tensor, Tensor]:
    from gammascape.data.prepare.arrays import open_arrays_file
    from gammascape.data.prepare.sources import naming, occupant_of

    if not path.exists() or occupant_of(path):
        raise GenerateError(f"--chunks {path}: {occupant_of(path) or 'no such file'}")
    with naming(path), open_arrays_file(path, "images", "labels") as readers:
        images, labels = readers
        fits = images.dtype == np.uint8 and images.shape[1:] == (1, 28, 28)
        if not fits or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"images {images.dtype} {images.shape} with labels {labels.dtype} {labels.shape}, "
                "expected uint8 (n, 1, 28, 28) with integers (n,)"
            )
        rows = (np.concatenate(list(reader.rows(_SAMPLES_A_REPORT))) for reader in readers)
        pixels, classes = (torch.from_numpy(array) for array in rows)
    return pixels[:, 0], classes.to(torch.int64)


if __name__ == "__main__":
    leave(main())
