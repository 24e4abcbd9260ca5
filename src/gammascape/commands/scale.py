"""Write the next study, larger in width, steps or batch size, with gamma and eta carried from one that was run.

The new file lies beside the old one, and can be read and changed. It has the advised gamma, its neighbours and
gamma = 1, and at each a map of eta that begins around the carried prediction. After gammascape map has run it,
gammascape advise of it compares prediction and measurement.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from gammascape.provenance.locate import output_of, with_results
from gammascape.study import Slice, StudyError, load_study, slice_key
from gammascape.study.keys.exact import DECIMALS, decimal_text
from gammascape.study.reading.explain import flow
from gammascape.study.reading.yaml_reader import STUDIES, read_yaml
from gammascape.tables.advice.further import coupled, seed_lines
from gammascape.tables.advice.words import by_slice, interval, number, power
from gammascape.tables.cells import read_table
from gammascape.terminal import say

FACTORS = ("width", "steps", "batch_size")
DENSITY = 4
"""Points per decade of the etas that maps begin with."""
REACH = 0.5
"""Least distance, in decades, from the predicted eta to the lowest and highest eta of the first round."""
EDGES = "[eta_max_trained, eta_best]"
UNMEASURED = {"width": (0.0, 0.0, 0.0), "steps": (0.0, -1.0, 0.0), "batch_size": (0.0, 0.0, 1.0)}
"""Exponent of the best eta, and its range, where a study has not measured it: a network in mu-P keeps eta as its
width grows; the smallest eta that trains goes as 1 / steps, and the largest stays; the noise of batches moves eta
as the batch size does, curvature does not."""
ETA = ("eta_log10", "eta_low_log10", "eta_high_log10")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(x?)")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("study", metavar="STUDY", help="a study with results: its name or its file")
    for name in FACTORS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=_size, metavar="4x", help="a multiple, or a number")


def run(chosen: argparse.Namespace) -> int:
    """Write the study."""
    asked = {name: size for name in FACTORS if (size := getattr(chosen, name)) is not None}
    if not asked:
        raise StudyError("say what grows: --width, --steps or --batch-size, as 4x or as a number")
    study, old = with_results(chosen.study, "tables/advice"), Path(chosen.study)
    if not old.is_file():
        old = STUDIES / f"{old.stem}.yaml"
    advice = by_slice(read_table(output_of("table", "advice", "parquet", study)[1]))
    name = "-".join([old.stem, *(f"{n.replace('_', '-')}-{s}" for n, s in asked.items())])
    new = old.with_name(f"{name.replace('.', '-')}.yaml")
    text = _study(old, new.stem, advice, asked)
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StudyError(f"{new} exists: remove it first, or run it as it is") from None
    try:
        load_study(new, begin=True)
    except StudyError:
        new.unlink()
        raise
    say(f"Wrote {new}. Read it, run gammascape map {new}, then gammascape advise {new.stem}.")
    return 0


def _size(text: str) -> str:
    if not _SIZE.fullmatch(text) or not float(text.rstrip("x")):
        raise argparse.ArgumentTypeError(f"{text} is neither a multiple, as 4x, nor a number")
    return text


def _grown(name: str, size: str, old: int) -> int:
    new = Fraction(size.rstrip("x")) * (old if size.endswith("x") else 1)
    if new.denominator != 1:
        raise StudyError(f"{name}: {size} of {old} is not a whole number")
    return int(new)


def _study(old: Path, name: str, advice: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    """Text of the new study."""
    study, raw = load_study(old), read_yaml(old).data
    assert isinstance(raw, dict)
    models, datasets, grids, carried = ({} for _ in range(4))
    specs: dict[str, Any] = {}
    changes = False
    # If several slices map to one, use the widest.
    for part in sorted(study.slices, key=lambda part: _sizes(part)["width"] or 0):
        kinds = advice.get(part.key)
        if kinds is None or kinds["choice"][0]["eta_log10"] is None:
            continue
        sizes = _sizes(part)
        if "width" in asked and sizes["width"] is None:
            raise StudyError(f"{part.model} has no width")
        new = {n: _grown(n, asked[n], v) if n in asked else v for n, v in sizes.items()}
        changes |= new != sizes
        model, spec, was = part.model, dict(raw["models"][part.model]), ""
        if "width" in asked:
            was = f"  # {model} has width {sizes['width']}"
            model = f"{re.sub(r'w[0-9]+$', '', model)}w{new['width']}"
            spec["width"] = new["width"]
            if specs.setdefault(model, spec) != spec:  # another network, whose name ends alike
                model = f"{part.model}w{new['width']}"
        models[model] = f"  {model}: {flow(spec)}{was}"
        datasets[part.dataset] = f"  {part.dataset}: {flow(raw['datasets'][part.dataset])}"
        key = slice_key(model, part.dataset, part.loss, new["batch_size"], new["steps"])
        choice, laws = kinds["choice"][0]["gamma_log10"], _laws(kinds["carry"], sizes, new)
        entries = []
        for row in _gammas(kinds["gamma"], choice):
            gamma, ends = row["gamma_log10"], _prediction(row, laws)
            eta, low, high = map(power, ends)
            advised = ", as advised" if gamma == choice else ""
            entries.append(
                f"  # gamma = {power(gamma)}{advised}: eta = {power(row['eta_log10'])} in {old.stem}; by "
                f"{' and '.join(laws)} {eta}{interval(low, high)} here.\n"
                f"  - model: {model}\n    dataset: {part.dataset}\n    loss: {part.loss}\n"
                f"    gamma: {{log10: {_text(gamma)}}}\n"
                f"    eta: {{map: {{begin: [{_begin(*ends)}], edges: {EDGES}, beyond: 0}}}}\n"
                f"    batch_size: {new['batch_size']}\n    steps: {new['steps']}\n{_rest(part)}"
            )
            if gamma == choice:
                said = dict(zip(("eta", "eta_low", "eta_high"), map(_text, ends), strict=True))
                known = {"slice": key, "source": flow(old.stem), "gamma": _text(gamma)} | said
                words = ", ".join(f"{name}: {value}" for name, value in known.items())
                carried[key] = f"    - {{{words}}}"
        grids[key] = "\n".join(entries)
    if not grids:
        raise StudyError(f"{old.stem}: advice has no learning rate to carry")
    if not changes:
        raise StudyError(
            f"the new study would have the sizes of {old.stem}; ask for larger ones, e.g. --width 4x"
        )
    grown = ", ".join(f"{n.replace('_', ' ')} {size}" for n, size in asked.items())
    analysis = {k: v for k, v in (raw.get("analysis") or {}).items() if k != "carried"}
    lines = [
        f"# Written by gammascape scale from the advice of {old.stem}. Change what you like before it runs.",
        f"description: {old.stem} carried to {grown}.",
        *("datasets:", *datasets.values(), "models:", *models.values()),
        *("grids:", *grids.values()),
        *(f"{k}: {flow(raw[k])}" for k in ("small_gamma",) if k in raw),
        *("analysis:", *(f"  {k}: {flow(v)}" for k, v in analysis.items())),
        f"  # Logarithms to base 10. Once this has run, gammascape advise {name} compares it with them.",
        *("  carried:", *carried.values(), ""),
    ]
    return "\n".join(lines)


def _sizes(part: Slice) -> dict[str, Any]:
    width = getattr(part.model_spec, "width", None)
    return {"width": width, "steps": part.steps, "batch_size": part.batch_size}


def _text(log10: float) -> str:
    return decimal_text(Decimal(str(round(log10, DECIMALS))))


def _gammas(rows: list[dict[str, Any]], choice: float) -> Iterator[dict[str, Any]]:
    """The advised gamma, its neighbours, and gamma = 1."""
    at = next(k for k, row in enumerate(rows) if row["gamma_log10"] == choice)
    for k, row in enumerate(rows):
        if row["eta_log10"] is not None and (abs(k - at) <= 1 or row["gamma_log10"] == 0):
            yield row


def _laws(
    carry: list[dict[str, Any]], old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[float, float, float]]:
    """Decades by which each law moves eta, with the ends of an interval, by the law's words."""
    found = {}
    for name in (name for name in FACTORS if new[name] != old[name]):
        row = next(row for row in carry if row["name"] == name)
        law, what = tuple(row[end] for end in ("estimate", "low", "high")), row["verdict"]
        if None in law:
            law, what = UNMEASURED[name], "not measured"
        elif law[1] <= UNMEASURED[name][0] <= law[2]:
            law = (UNMEASURED[name][0], *law[1:])
        ratio = math.log10(new[name] / old[name])
        moved, *ends = (end * ratio for end in law)
        words = f"{name.replace('_', ' ')}^{number(law[0])} ({what})"
        found[words] = (moved, min(ends), max(ends))
    return found or {"no change": (0.0, 0.0, 0.0)}


def _prediction(
    row: Mapping[str, Any], laws: Mapping[str, tuple[float, float, float]]
) -> tuple[float, ...]:
    """log10 eta at a row's gamma, and the ends of its interval."""
    own = (row["eta_log10"] if row[n] is None else row[n] for n in ETA)
    moved = map(sum, zip(*laws.values(), strict=True))
    return tuple(round(a + b, 2) for a, b in zip(own, moved, strict=True))


def _begin(eta: float, low: float, high: float) -> str:
    """log10 etas that a map begins with: the prediction, and on either side what it cannot exclude."""
    low, high = min(low, eta - REACH), max(high, eta + REACH)
    ks = math.floor(low * DENSITY), round(eta * DENSITY), math.ceil(high * DENSITY)
    return ", ".join(_text(k / DENSITY) for k in ks)


def _rest(part: Slice) -> str:
    """Seeds and observables of a grid."""
    pairs = {(cell.seed, cell.data_seed) for cell in part.cells}
    own, streams = (sorted({pair[k] for pair in pairs}) for k in (0, 1))
    text = seed_lines(own, streams, coupled(pairs))
    return f"{text}\n    observables: {flow([*part.observables])}" if part.observables else text
