"""Find the source files of a study's own factories, which are part of the identity of its cells."""

from pathlib import Path
from typing import Any

from gammascape.study.keys.factories import Factory
from gammascape.study.keys.file import StudyFile
from gammascape.study.reading.errors import KeyPath, Problem
from gammascape.usercode.find import SourceError, Sources, check_call, find_sources, folder_of


def resolve(file: StudyFile, folder: Path) -> tuple[StudyFile, tuple[Sources, ...], list[Problem]]:
    """File with the sources of its factories filled in, these sources, and all problems with them.

    Modules are searched for in `folder`, the study's, then in the working directory.
    """
    found: dict[str, Sources] = {}
    problems: list[Problem] = []
    sections: dict[str, dict[str, Any]] = {}
    for section, specs in (("models", file.models), ("datasets", file.datasets)):
        sections[section] = {}
        for name, spec in specs.items():
            sections[section][name] = spec
            if not isinstance(spec, Factory):
                continue
            path: KeyPath = (section, name)
            if spec.sources:
                text = "is found out from the files that are there; remove it"
                problems.append(Problem((*path, "sources"), text))
            try:
                sources = find_sources(spec.factory, (folder, Path()))
            except (SourceError, OSError) as error:
                problems.append(Problem((*path, "factory"), str(error)))
                continue
            function = spec.factory.partition(":")[2]
            wrong = check_call(sources.definition, function, spec.given)
            if wrong is not None:
                problems.append(Problem((*path, "arguments"), wrong))
            found[folder_of(sources.hashes)] = sources
            sections[section][name] = spec.model_copy(update={"sources": dict(sources.hashes)})
    return file.model_copy(update=sections), tuple(found.values()), problems
