"""Try few gammas on your model and data within a budget of device time, and say which gamma and eta to use.

Writes a study that can be read, changed and kept: few gammas around 1, learning rates that a map finds, and runs
as short as the budget asks. Says what it will cost, maps it, and prints the advice. The same command goes on after
an interruption; with a larger budget it sharpens edges that are left, and then adds seeds.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from gammascape.command import UserError
from gammascape.commands import advise, map, study_file
from gammascape.commands.check_model import doubts
from gammascape.commands.plan import clock
from gammascape.durations import count_of, duration
from gammascape.layout import write_if_changed
from gammascape.manifests.manifest import FILE_NAME, read_manifest
from gammascape.manifests.paths import CELLS
from gammascape.provenance.estimate import estimate
from gammascape.study import Study, StudyError
from gammascape.study.keys.datasets import DatasetSpec
from gammascape.study.keys.models import ModelSpec
from gammascape.study.reading.explain import flow
from gammascape.study.reading.yaml_reader import STUDIES
from gammascape.terminal import say
from gammascape.usercode.find import FACTORY, SourceError, find_sources
from gammascape.workflow.plan import Plan

GAMMAS = "[-1, 0, 0.5, 1, 2]"
"""log10 of gamma: lazier than gamma = 1, and where features are learned."""
SEEDS, MOST_SEEDS = 2, 5
MAP = "{finest: 4, beyond: 0, edges: [eta_max_trained, eta_max_finite, eta_best]}"
OBSERVABLES = "initial_cka", "relative_change"
ETAS = 14
"""Learning rates at one gamma that the map of a pilot takes, about."""
FIRST_ETAS = 2
"""Learning rates at one gamma that its first round takes, which is trained whatever the budget."""
BATCH_SIZE = 64
STEPS = 300, 2000
"""Fewest steps, with which little is learned, and most of a short run."""
UNKNOWN_STEPS = 500
LEARNED = 0.9
"""Share of the loss of the best constant output below which a network counts as having learned in a short run."""
VALIDATION = 0.1
CHECK_SECONDS = 3.0
"""Seconds after which no wider network is checked for mu-P; one takes up to four times as long as all before."""
SIZES: Mapping[str, Mapping[str, int]] = {
    "mlp": {"depth": 3, "width": 64},
    "cnn": {"width": 16},
    "resnet": {"width": 16},
    "vit": {"width": 32},
    "factory": {"width": 64},
}
"""Options of each kind of model that need a value."""
_FILES = {".npz": "arrays", ".csv": "table", ".tsv": "table", ".parquet": "table"}
_SEED_LINE = re.compile(r"^    seed: \[(0(?:, [0-9]+)*)\]$", re.MULTILINE)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    model = "your module:function, or mlp, cnn, resnet or vit"
    data = "your module:function, a .npz, .csv or .parquet, a folder of images, or a kind such as mnist"
    parser.add_argument("--model", metavar="NAME", help=model)
    parser.add_argument("--data", metavar="NAME", help=data)
    for what in ("model", "data"):
        parser.add_argument(
            f"--{what}-option",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            type=_option,
            help=f"a key of the {what} in a study, or an argument of your function, such as width=128",
        )
    parser.add_argument(
        "--budget",
        type=map.seconds,
        default=600.0,
        metavar="TIME",
        help="device time of the whole pilot, such as 90s, 15m or 1h; 10m if left out",
    )
    parser.add_argument("--loss", choices=("mse", "xent"), help="xent for classes, if left out")
    parser.add_argument(
        "--study",
        type=study_file,
        metavar="STUDY",
        help=f"the pilot's study, by name or file; {STUDIES}/pilot-MODEL-DATA.yaml",
    )


def run(chosen: argparse.Namespace) -> int:
    """Write the study if it is not there, map it, and print the advice."""
    path = _path(chosen)
    if path.is_file():
        _check_same(path, chosen)
        say(f"going on with {path}")
    else:
        _write(path, chosen)
    plan, study = map.load(path)
    spent = _spent(study)
    if not study.points:
        say(*doubts(study, CHECK_SECONDS), _cost(plan, study, chosen.budget))
    while True:
        # With no time left, too: tables may be missing that an interrupted pilot has trained cells for.
        left = max(0.0, chosen.budget - spent)
        asked = {"study": str(path), "budget": left, "rounds": None, "after": chosen.after}
        if status := map.run(argparse.Namespace(**asked)):
            return status
        study = map.load(path)[1]
        seeds, spent = len({cell.seed for cell in study.cells}), _spent(study)
        more = min(int((chosen.budget - spent) * seeds / spent), MOST_SEEDS - seeds) if spent else 0
        if more < 1 or not _add_seeds(path, more):
            break
        time = duration(more * spent / seeds)
        say(f"the edges are found; {count_of(more, 'more seed')} take about {time} of device time")
    say(f"{duration(spent)} of device time spent, {duration(chosen.budget)} allowed")
    status = advise.run(argparse.Namespace(study=path.stem, json=False))
    states = map.look(*map.load(path))[1]
    if still := sum(state.state == "open" for state in states):
        say(
            f"{still} of {count_of(len(states), 'edge')} are not bracketed yet, so windows and margins are rough: "
            "the same command with a larger --budget goes on"
        )
    return status


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text} is not KEY=VALUE, such as width=128")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(f"{value} is no value of YAML") from None


def _path(chosen: argparse.Namespace) -> Path:
    if chosen.study is not None:
        path = Path(chosen.study)
        if path.is_file() or (chosen.model and chosen.data):
            return path
    if not chosen.model or not chosen.data:
        raise UserError(
            "gammascape pilot: say what to train, and on what: --model my_net:make --data my_data:load, or "
            "--model mlp --data digits"
        )
    words = "-".join(
        re.sub(r"[^a-z0-9]+", "-", Path(name.partition(":")[0]).stem.lower()).strip("-")
        for name in ("pilot", chosen.model, chosen.data)
    )
    return STUDIES / f"{words[:58].rstrip('-')}.yaml"


def _check_same(path: Path, chosen: argparse.Namespace) -> None:
    """Raise an error if the study in the file has another model, data or loss than the command line names."""
    (part, *_) = map.load(path)[1].slices
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    models, data = written["models"][part.model], written["datasets"][part.dataset]
    for what, known, union in (("model", models, ModelSpec), ("data", data, DatasetSpec)):
        name, options = getattr(chosen, what), getattr(chosen, f"{what}_option")
        wanted = _spec(name, options, {}, union) if name else {}
        wanted |= wanted.pop("arguments", {}) if name else dict(options)
        # What a study may leave out.
        has = known.get("arguments", {}) | {"kind": "factory"} | known
        for key, value in wanted.items():
            if has.get(key) != value:
                raise UserError(
                    f"gammascape pilot: {path} exists, and its {what} has {key} = {has.get(key)}, not {value}; "
                    f"go on with it as it is by --study {path} alone, or name another file by --study"
                )
    if chosen.loss not in (None, part.loss):
        raise UserError(
            f"gammascape pilot: {path} exists, with loss {part.loss}; name another file by --study"
        )


def _spent(study: Study) -> float:
    """Device time of the finished cells, in seconds."""
    paths = (CELLS / cell.path / FILE_NAME for cell in study.cells)
    return sum(float(read_manifest(path).cost["seconds"]) for path in paths if path.is_file())


def _cost(plan: Plan, study: Study, budget: float) -> str:
    """Cost of a pilot, in words."""
    part = study.slices[0]
    gammas, seeds = (
        len({getattr(cell, name) for cell in part.cells}) for name in ("gamma", "seed")
    )
    first = FIRST_ETAS * gammas * seeds * len(study.slices)
    cells = first * ETAS // FIRST_ETAS
    seconds, most = _seconds(plan, study), f"at most {duration(budget)}"
    if isinstance(seconds, str):
        time = f"not known yet ({seconds})"
        most += ", but its first round is trained whatever it takes"
    else:
        time = f"about {duration(cells * seconds)}"
        if first * seconds > budget:
            least = duration(first * seconds)
            most = (
                f"at least {least} for its first round, more than the budget of {duration(budget)}"
            )
    return (
        f"{count_of(gammas, 'gamma')}, {count_of(seeds, 'seed')} and about {ETAS} learning rates found by a map: "
        f"about {cells:,} cells of {part.steps:,} steps; device time {time}, {most}"
    )


def _seconds(plan: Plan, study: Study) -> float | str:
    """Device time of one cell of a study, or why it is not known."""
    found = estimate(study.cells[:1], (), lambda some: clock(plan, some))
    return "; ".join(found.problems) if found.unknown else found.seconds


def _write(path: Path, chosen: argparse.Namespace) -> None:
    """Write the study of a pilot, with as many steps as the budget has time for."""
    model = _spec(chosen.model, chosen.model_option, SIZES, ModelSpec)
    data = _spec(chosen.data, chosen.data_option, {}, DatasetSpec)
    if data["kind"] == "factory":
        data = _facts(data["factory"], data.get("arguments", {}), path.parent) | data
    endless = data["kind"] == "factory" and "size" not in data
    passes = "repeat" in _keys(DatasetSpec, data["kind"]) and not endless
    repeats = passes and not {"repeat", "training_samples"} & data.keys()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.stem[:58]}-draft.yaml")
    try:
        # With squared loss, which all data have, and passes enough for any number of steps.
        options = {"repeat": True} if repeats else {}
        draft.write_text(_text(chosen, model, data | options, "mse", UNKNOWN_STEPS, LEARNED))
        plan, study = map.load(draft)
        (part,) = study.slices
        loss = chosen.loss or ("xent" if part.dataset_spec.classification else "mse")
        steps, size = UNKNOWN_STEPS, part.dataset_spec.pass_samples
        if not isinstance(seconds := _seconds(plan, study), str):
            cells = len({cell.gamma for cell in part.cells}) * (SEEDS + 1) * ETAS
            steps = _round(chosen.budget / (cells * seconds / UNKNOWN_STEPS))
        if not endless:
            data.setdefault("validation", VALIDATION)
        if size is None or steps * BATCH_SIZE <= size * (1 - VALIDATION):
            options = {}
        draft.write_text(_text(chosen, model, data | options, loss, steps, LEARNED))
        (part,) = map.load(draft)[1].slices
        # Always answering with class frequencies is not learning.
        level = round(LEARNED * (part.class_prior or 1), 3)
        draft.write_text(_text(chosen, model, data | options, loss, steps, level))
        write_if_changed(path, draft.read_text())
    except StudyError as error:
        # The message names the draft, which is removed.
        said = str(error).replace(str(draft), str(path)).replace(draft.stem, path.stem)
        raise StudyError(
            f"{said}\nIts keys are given by --model, --model-option KEY=VALUE, --data and --data-option"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    say(f"wrote {path}: read it, change what you like")


def _round(steps: float) -> int:
    """Two digits of a number of steps, within what a short run has."""
    low, high = STEPS
    digits: int = 10 ** (len(str(int(min(max(steps, low), high)))) - 2)
    return max(low, min(high, int(steps) // digits * digits))


def _facts(factory: str, arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Keys of a study that describe the data of a function: shape, size, and classes or targets."""
    from gammascape.data.factory import facts
    from gammascape.data.prepared import DataError
    from gammascape.usercode.run import provide

    try:
        sources = find_sources(factory, (folder, Path()))
        provide(sources.files.values())
        return facts(factory, dict(arguments), sources.hashes)
    except (SourceError, DataError) as error:
        raise UserError(f"--data {factory}: {error}") from None


def _text(
    chosen: argparse.Namespace,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    loss: str,
    steps: int,
    level: float,
) -> str:
    seeds = [*range(SEEDS)]
    fits = ["training_accuracy"] if loss == "xent" else []
    return f"""\
# Written by gammascape pilot. Change what you like before or after it has run; gammascape pilot --study with this
# file goes on with it.
description: {flow(f"Pilot of {chosen.model} on {chosen.data}, for gamma and eta to use.")}
datasets:
  data: {flow(data)}
models:
  model: {flow(model)}
# How far each network is from lazy, and whether it fits its data.
observables: {flow([*OBSERVABLES, *fits])}
analysis:
  # Part of the loss of f = 0 below which a network counts as trained; in short runs most of it is left.
  trained_below: {level}
grids:
  - model: model
    dataset: data
    loss: {loss}
    gamma: {{log10: {GAMMAS}}}
    # gammascape map finds the learning rates.
    eta: {{map: {MAP}}}
    batch_size: {BATCH_SIZE}
    steps: {steps}
    seed: {seeds}
    data_seed: seed
"""


def _add_seeds(path: Path, more: int) -> bool:
    """Add seeds to a study that has its seeds as they were written; say whether it could be."""
    text = path.read_text(encoding="utf-8")
    found = _SEED_LINE.findall(text)
    if len(found) != 1:
        return False
    seeds = [*range(1 + int(found[0].split(", ")[-1]) + more)]
    write_if_changed(path, _SEED_LINE.sub(f"    seed: {seeds}", text))
    return True


def _spec(
    name: str,
    options: Sequence[tuple[str, Any]],
    sizes: Mapping[str, Mapping[str, int]],
    union: Any,
) -> dict[str, Any]:
    """Entry of a model or dataset under `models` or `datasets`."""
    given = dict(options)
    if FACTORY.fullmatch(name):
        spec: dict[str, Any] = {"kind": "factory", "factory": name}
        known = _keys(union, "factory")
        arguments = {key: value for key, value in given.items() if key not in known}
        given = {key: value for key, value in given.items() if key in known}
        spec |= {"arguments": arguments} if arguments else {}
    elif Path(name).is_dir():
        spec = {"kind": "folder", "path": name}
    elif kind := _FILES.get(Path(name).suffix):
        spec = {"kind": kind, "path": name}
    else:
        spec = {"kind": name}
    return spec | dict(sizes.get(spec["kind"], {})) | given


@cache
def _keys(union: Any, kind: str) -> set[str]:
    """Keys of one kind of model or dataset; none of one that is not known."""
    schema = TypeAdapter(union).json_schema()
    for record in schema["$defs"].values():
        if kind in (
            record["properties"].get("kind", {}).get(name) for name in ("const", "default")
        ):
            return {*record["properties"]}
    return set()
