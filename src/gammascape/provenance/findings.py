"""Findings of an audit at the links of a chain, and their severity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
FindingKind = Literal[
    "altered",
    "missing",
    "outside",
    "unknown origin",
    "misplaced",
    "numerics changed",
    "code changed",
    "dirty tree",
    "mixed numerics",
    "mixed devices",
    "not in the study",
    "study changed",
    "source gone",
    "not compared",
    "remade",
    "not included",
    "accepted",
]

MEANINGS: Mapping[Severity, Mapping[FindingKind, str]] = {
    "error": {
        "altered": "a file or a manifest differs from the recorded one",
        "missing": "a recorded file or manifest does not exist",
        "outside": "a name leads out of its folder, or to no regular file; its target is not read",
        "unknown origin": "no manifest names the file, so no rule made it",
        "misplaced": "an artifact is not at the place given by its manifest or its identity",
    },
    "warning": {
        "numerics changed": "a cell has another version of the numerics than this code",
        "code changed": "modules that decide the content have changed since; they are named",
        "dirty tree": "it was made with uncommitted changes",
        "mixed numerics": "cells behind one artifact have several versions of the numerics",
        "mixed devices": "cells behind one artifact were computed on several devices or versions",
        "not in the study": "the study no longer has this cell or slice",
        "study changed": "the study asks for cells or parameters that the artifact was not made with",
        "source gone": "a source file of prepared data is missing or outside; the prepared data exist",
        "not compared": "it could not be made again from its inputs, so it may be anything",
    },
    "note": {
        "remade": "it was made again with the same content",
        "not included": "the crate unpacked here does not contain it",
        "accepted": "a person declared it valid after a change of the code, for this reason",
    },
}
"""Meaning of each kind by severity, in the order in which findings are shown."""

SEVERITIES = {kind: severity for severity, kinds in MEANINGS.items() for kind in kinds}


@dataclass(frozen=True)
class Finding:
    """One finding at one link."""

    kind: FindingKind
    text: str

    @property
    def severity(self) -> Severity:
        """Severity: error, warning, or note; a note changes no verdict."""
        return SEVERITIES[self.kind]


def worst(findings: Iterable[Finding]) -> Severity:
    """Severity of the worst finding; `note` if there is none."""
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "error"
    return "warning" if "warning" in severities else "note"
