"""Find a study's own files, code and data, which are part of the identity of its cells."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from gammascape.study.keys.factories import Factory
from gammascape.study.keys.file import StudyFile
from gammascape.study.keys.files import Files
from gammascape.study.reading.errors import KeyPath, Problem
from gammascape.usercode.files import PATHS, look
from gammascape.usercode.find import (
    CONTRACTS,
    SourceError,
    Sources,
    check_call,
    find_sources,
    folder_of,
)


def resolve(file: StudyFile, folder: Path) -> tuple[StudyFile, tuple[Sources, ...], list[Problem]]:
    """File with the sources of its factories and facts of its data filled in, these sources, and all problems.

    Modules and data are searched for in `folder`, the study's, then in the working directory.
    """
    found: dict[str, Sources] = {}
    problems: list[Problem] = []
    sections: dict[str, dict[str, Any]] = {}
    for section, specs in (("models", file.models), ("datasets", file.datasets)):
        sections[section] = {}
        for name, spec in specs.items():
            sections[section][name] = spec
            if isinstance(spec, Files):
                try:
                    sections[section][name] = _filled(spec, (folder, Path()))
                except (SourceError, OSError) as error:
                    problems.append(Problem((section, name), str(error)))
                except PydanticCustomError as error:
                    context = error.context or {}
                    problems.append(Problem((section, name, *context["below"]), context["text"]))
            if not isinstance(spec, Factory):
                continue
            path: KeyPath = (section, name)
            if spec.sources:
                text = "is found out from the files themselves; remove it"
                problems.append(Problem((*path, "sources"), text))
            try:
                sources = find_sources(spec.factory, (folder, Path()))
            except (SourceError, OSError) as error:
                problems.append(Problem((*path, "factory"), str(error)))
                continue
            function = spec.factory.partition(":")[2]
            wrong = check_call(sources.definition, function, spec.call_arguments)
            if wrong is not None:
                problems.append(Problem((*path, "arguments"), f"{wrong}. {CONTRACTS[section]}"))
            found[folder_of(sources.hashes)] = sources
            sections[section][name] = spec.model_copy(update={"sources": dict(sources.hashes)})
    return file.model_copy(update=sections), tuple(found.values()), problems


def _filled(spec: Files, roots: Sequence[Path]) -> Files:
    """Data with the paths and the facts of their files.

    Raises:
        SourceError, PydanticCustomError: saying what is wrong with the files, or with the options for them.
    """
    if spec.content or spec.shape or spec.size:
        raise SourceError("shape, size and content are found in the files themselves; remove them")
    options = spec.options
    options |= {key: _place(options[key], roots) for key in PATHS if options.get(key)}
    places = {name: options[name] for name in PATHS if name in options}
    filled = spec.model_copy(update={**places, **look(options)})
    filled.check_found()
    return filled


def _place(given: str, roots: Sequence[Path]) -> str:
    """Path of a file or folder in the first of the folders that has it."""
    paths = [Path(os.path.normpath(root / Path(given).expanduser())) for root in roots]
    # As in other records: relative, if it is in the project.
    paths = [p.relative_to(Path.cwd()) if p.is_relative_to(Path.cwd()) else p for p in paths]
    for path in paths:
        if path.exists():
            return path.as_posix()
    there = {p.name for path in paths if path.parent.is_dir() for p in path.parent.iterdir()}
    near = difflib.get_close_matches(Path(given).name, there, n=1)
    hint = f"; did you mean {Path(given).with_name(near[0])}?" if near else ""
    looked = " or ".join(dict.fromkeys(map(str, paths)))
    raise SourceError(f"{given} does not exist: there is no {looked}{hint}")
