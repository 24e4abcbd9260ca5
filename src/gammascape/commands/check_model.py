"""Check that a model can be trained and that the width scaling of each layer is right.

Build a network of a study at several widths, train each for a few steps at one eta, and print a line for each
layer (the coordinate check). Without a model, only try all own models and data of the study, as snakemake does
before it trains. Exit status: 0 all layers are right; 1 one is wrong; 2 the study or the network cannot be used.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.commands import STUDY_FILE, study_file
from gammascape.durations import aligned, count_of
from gammascape.manifests.manifest import FILE_NAME
from gammascape.study import DatasetSpec, Slice, Study, StudyError, TeacherSpec, load_study
from gammascape.study.keys.factories import Factory
from gammascape.study.keys.files import Files
from gammascape.terminal import say

if TYPE_CHECKING:
    import torch

    from gammascape.data.dataset import Batches, Dataset
    from gammascape.models import Model
    from gammascape.training.coordinates import Coordinates

STEPS, BATCH, SEEDS, ETA = 3, 32, 5, 0.1
TELLING = 64
"""Least width for a reliable verdict; at smaller widths a right layer may seem to grow or to vanish."""
WRONG = 1


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("study", type=study_file, help=STUDY_FILE)
    parser.add_argument("model", nargs="?", help="name of one of its models")
    parser.add_argument("--dataset", help="name of a dataset; by default the model's first one")
    parser.add_argument(
        "--widths",
        type=_widths,
        help="widths, separated by commas; by default 1, 2, 4 and 8 times the model's width and, if a layer is "
        f"wrong at these, larger ones from {TELLING} on",
    )
    parser.add_argument("--eta", type=float, default=ETA, help=f"learning rate ({ETA})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"number of seeds ({SEEDS})")


def run(chosen: argparse.Namespace) -> int:
    """Check a model and return the exit status."""
    if chosen.seeds < 1 or not chosen.eta > 0:
        raise StudyError("gammascape check-model: --seeds and --eta must be positive")
    study = load_study(chosen.study, begin=True)
    part = _slice(study, chosen.model, chosen.dataset) if chosen.model else None
    from gammascape.usercode.run import provide

    for sources in study.sources:
        provide(sources.files.values())
    if part is None:
        return _try_all(study)
    dataset = _load(study, part)
    with _naming(f"{chosen.study}: datasets.{part.dataset}"):
        batches = dataset.batches(0, 0, STEPS, BATCH)
        say(*(f"{part.dataset}: {line}" for line in _about(part.dataset_spec, dataset)))
    with _naming(f"{chosen.study}: models.{part.model}"):
        return _check(part, dataset, batches, chosen.widths, chosen.eta, range(chosen.seeds))


def _load(study: Study, part: Slice) -> "Dataset":
    """Data of a slice, tried with all of its seeds."""
    with _naming(f"{study.path}: datasets.{part.dataset}"):
        dataset = load(part.dataset_spec)
        for seed in sorted({cell.data_seed for cell in part.cells}):
            dataset.batches(seed, 0, 1, 1)
        return dataset


def _try_all(study: Study) -> int:
    """Load the data of all own models and all own data, and build these models."""
    from gammascape.models import build_model

    problems: dict[str, None] = {}
    tried: set[str] = set()
    loaded: dict[str, Dataset | None] = {}
    for part in study.slices:
        own_model, own_data = (isinstance(s, Factory) for s in (part.model_spec, part.dataset_spec))
        try:
            if (own_model or own_data) and part.dataset not in loaded:
                loaded[part.dataset] = None
                loaded[part.dataset] = found = _load(study, part)
                if own_data:
                    spec = part.dataset_spec
                    say(*(f"data {part.dataset}: {line}" for line in _about(spec, found)))
            data = loaded.get(part.dataset)
            if own_model and data is not None:
                options = part.model_spec.as_trained().model_dump(mode="json")
                with _naming(f"{study.path}: models.{part.model}"):
                    build_model(options, data.input_shape, data.outputs, data.probe_inputs)
        except StudyError as error:
            problems[str(error)] = None
        tried |= {f"models.{part.model}"} if own_model else set()
        tried |= {f"datasets.{part.dataset}"} if own_data else set()
    if problems:
        raise StudyError("\n".join(problems))
    say(
        f"{study.path}: {', '.join(sorted(tried)) or 'no own model or data'}: tried, no mistake found"
    )
    return 0


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Name the study and its entry that an error comes from."""
    from gammascape.data.prepared import DataError
    from gammascape.usercode.run import UserCodeError

    try:
        yield
    except (DataError, UserCodeError) as error:
        raise StudyError(f"{place}: {error}") from None


def _about(spec: DatasetSpec, data: "Dataset") -> Sequence[str]:
    """Sentences about the data: n, shape, moments, shares of classes, and what looks wrong."""
    from gammascape.usercode.files import describe

    if isinstance(spec, Files):
        return spec.about
    if data.name == "teacher" != spec.kind:
        return ["not prepared yet; normal numbers and arbitrary labels in its place"]
    x, y = (v[0].numpy() for v in data.batches(0, 0, 1, min(data.samples_per_pass or 999, 999)))
    classes = [str(n) for n in range(data.outputs)] if data.classification else []
    y = y.argmax(1) if classes else y
    return describe(x, y, classes, data.samples_per_pass, len(data.test_inputs))


def _check(
    part: Slice,
    dataset: "Dataset",
    batches: "Batches",
    widths: Sequence[int] | None,
    eta: float,
    seeds: Sequence[int],
) -> int:
    model, build = _builder(part, dataset)
    print(f"{part.model}: a network of width {model.base_width}, inputs as of {part.dataset}")
    if part.model_spec.kind == "factory":
        how = "batched over networks" if model.batched else "one network at a time"
        print(f"It can be trained, {how}.")
    for layer, role in model.roles.items():
        say(f"  {layer}: {role}")
    say("  hidden layers on the probe set: " + ", ".join(model.hidden))
    tried = [widths] if widths else _widths_of(model)
    used, found = _measured(build, batches, part.loss, tried, seeds, eta)
    wrong = [one for one in found if one.verdict != "right"]
    print(
        f"\nCoordinate check: {STEPS} steps of SGD at eta = {eta:g}, gamma = 1, batch size {BATCH}, "
        f"loss {part.loss}, mean over {count_of(len(seeds), 'seed')}."
    )
    say(*table(found, used))
    apart = [layer for layer in model.roles if layer not in {one.layer for one in found}]
    for one in (one for one in found if one.fixed_units is not None):
        say(
            f"{one.layer} has {one.fixed_units} outputs at every width: a hidden size that does not follow width. "
            "Make it a multiple of width, since mu-P scales only what grows."
        )
    if not wrong:
        words = f"Not measured, because no output has a row for each sample: {', '.join(apart)}."
        say("", f"All measured layers are right. {words}" if apart else "All layers are right.")
        return 0
    if not math.isfinite(found[-1].changes[0]):
        say(
            "",
            f"Training diverges at eta = {eta:g} at every width, so the layers cannot be judged. Correct the data "
            "if there are warnings about them, or give a smaller --eta.",
        )
        return WRONG
    count = f"{len(wrong)} of {len(found)} are wrong, some because of others."
    if wide := [line for line in _about(part.dataset_spec, dataset) if "unstandardized" in line]:
        say(
            "",
            f"First mend the data, which may be all that is wrong: {wide[0].removeprefix('warning: ')}.",
        )
    print(
        f"\n{count if wrong[1:] else f'{wrong[0].layer} is wrong.'} {_advice(found)} Set its role under "
        "roles, or look at what is done between the layers. Powers that come nearer to 0 at larger --widths are "
        "no fault: the deeper a network is, the wider it must be to tell."
    )
    if len(seeds) < SEEDS or max(used) < 8 * min(used):
        print(
            f"{count_of(len(seeds), 'seed')} and widths from {min(used)} to {max(used)} can make a right layer "
            f"look wrong by chance; leave out --seeds and --widths, for {SEEDS} seeds and wider networks."
        )
    return WRONG


def _builder(part: Slice, dataset: "Dataset") -> tuple["Model", Callable[[int], "Model"]]:
    """Model of a slice, and what builds it at a width."""
    from gammascape.models import build_model

    options = part.model_spec.as_trained().model_dump(mode="json")

    def build(**changed: int) -> "Model":
        about = dataset.input_shape, dataset.outputs, dataset.probe_inputs
        return build_model(options | changed, *about)

    return build(), lambda width: build(width=width)


def _widths_of(model: "Model") -> list[list[int]]:
    """Widths to try, and larger ones if a layer is wrong at these."""
    scales = [1, -(-TELLING // model.base_width)] if model.base_width < TELLING else [1]
    return [[model.base_width * s * n for n in (1, 2, 4, 8)] for s in scales]


def _measured(
    build: Callable[[int], "Model"],
    batches: "Batches",
    loss: str,
    tried: Sequence[Sequence[int]],
    seeds: Sequence[int],
    eta: float,
) -> tuple[Sequence[int], list["Coordinates"]]:
    """The first widths at which all layers are right, or the last ones, and what is measured there."""
    from gammascape.training.coordinates import check_coordinates

    for used in tried:
        found = check_coordinates(build, batches, loss, used, seeds, eta)
        if all(one.verdict == "right" for one in found):
            break
    return used, found


def doubts(study: Study, seconds: float) -> Iterator[str]:
    """Faults in the data of a study's first slice, and in the width scaling of its own model.

    No larger network is measured after `seconds`. A check that lacks the time, or fails, is left to the command
    `check-model`.
    """
    from gammascape.data.prepared import DataError
    from gammascape.usercode.run import UserCodeError, provide

    for sources in study.sources:
        provide(sources.files.values())
    part = study.slices[0]
    dataset, end = _load(study, part), time.monotonic() + seconds
    for line in _about(part.dataset_spec, dataset):
        if line.startswith("warning: "):
            yield f"{part.dataset}: {line}"
    if part.model_spec.kind != "factory":
        return
    with _naming(f"{study.path}: models.{part.model}"):
        model, build = _builder(part, dataset)

    def timed(width: int) -> "Model":
        if time.monotonic() > end:
            raise TimeoutError
        return build(width)

    command = f"gammascape check-model {study.path} {part.model}"
    try:
        batches = dataset.batches(0, 0, STEPS, BATCH)
        found = _measured(timed, batches, part.loss, _widths_of(model), range(SEEDS), ETA)[1]
    except (DataError, UserCodeError, RuntimeError, TimeoutError):
        yield f"not checked whether {part.model} is in mu-P: {command}"
        return
    wrong = [f"{one.layer} {one.verdict}" for one in found if one.verdict != "right"]
    if wrong and math.isfinite(found[-1].changes[0]):
        yield (
            f"warning: {part.model} is not in mu-P, so gamma and eta do not hold at other widths ({wrong[0]}); "
            f"what to do: {command}"
        )


def _advice(layers: Sequence["Coordinates"]) -> str:
    """Advice on where to look first: a wrong size comes from lower layers, a wrong change from higher ones."""
    for one in layers[:-1]:
        if one.fixed_units is not None:
            return f"Begin with {one.layer}, whose size does not follow width."
        if one.size_verdict is not None:
            return f"Begin with {one.layer}, the first whose size at initialization is wrong."
    last = layers[-2].layer if len(layers) > 1 else layers[-1].layer
    return f"All sizes at initialization are right: begin with the last layer, {last}."


def table(layers: Sequence["Coordinates"], widths: Sequence[int]) -> list[str]:
    """Lines of a table with each layer's change at each width, powers of the width, and verdict."""
    head = ["layer", "role", *(f"N={width}" for width in widths), "change", "size", "verdict"]
    rows = [head]
    for one in layers:
        changes = [f"{value:.3g}" for value in one.changes]
        powers = [_power(one.change_slope), _power(one.size_slope)]
        rows.append([one.layer, one.role or "-", *changes, *powers, one.verdict])
    return aligned(rows)


def _power(slope: float | None) -> str:
    return "-" if slope is None else f"N^{slope + 0.0:.2f}"


def _widths(text: str) -> list[int]:
    widths = [int(part) for part in text.split(",")]
    if len(widths) < 2 or min(widths) < 1 or len(set(widths)) < len(widths):
        raise argparse.ArgumentTypeError("at least two different widths are needed")
    return widths


def _slice(study: Study, model: str, dataset: str | None) -> Slice:
    for part in study.slices:
        if part.model == model and dataset in (None, part.dataset):
            return part
    models = ", ".join(dict.fromkeys(part.model for part in study.slices))
    if not any(part.model == model for part in study.slices):
        raise StudyError(f"{study.path}: no model is named {model}; there are {models}")
    datasets = ", ".join(dict.fromkeys(p.dataset for p in study.slices if p.model == model))
    raise StudyError(f"{study.path}: no grid has {model} on {dataset}; there are {datasets}")


def load(spec: DatasetSpec, device: "torch.device | None" = None) -> "Dataset":
    """Load the dataset if nothing has to be fetched; otherwise substitute normal numbers and arbitrary labels.

    The width scaling of a layer does not depend on the content of the images.
    """
    import torch

    from gammascape.data.load import load_dataset
    from gammascape.data.prepare import PREPARERS

    options, device = spec.model_dump(mode="json"), device or torch.device("cpu")
    manifest = Path(f"results/data/{getattr(spec, 'prepared', spec.kind)}/{FILE_NAME}")
    if spec.kind == "digits" or isinstance(spec, Files):
        more = {"options": spec.options} if isinstance(spec, Files) else {}
        with tempfile.TemporaryDirectory() as folder:
            PREPARERS[spec.kind](None, Path(folder) / spec.kind, **more)
            return load_dataset(options, Path(folder) / spec.kind / FILE_NAME, device)
    if spec.kind in ("factory", "teacher") or manifest.is_file():
        return load_dataset(options, manifest, device)
    inputs = math.prod(spec.input_shape)
    teacher = TeacherSpec(kind="teacher", inputs=inputs, classes=spec.outputs, polynomial=(0, 1))
    vectors, shape = load_dataset(teacher.model_dump(mode="json"), None, device), spec.input_shape

    def batches(*arguments: int) -> "Batches":
        x, y = vectors.batches(*arguments)
        return x.view(*x.shape[:2], *shape), y

    tests = vectors.test_inputs.view(-1, *shape)
    return replace(vectors, input_shape=shape, test_inputs=tests, batches=batches)
