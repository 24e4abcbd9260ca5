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
        "altered": "a file or a manifest is not the one that was written down",
        "missing": "a file or a manifest that was written down is not there",
        "outside": "a name leads out of its folder, or to no regular file; what is there is not read",
        "unknown origin": "a file is there that no manifest names, so no rule made it",
        "misplaced": "an artifact stands in another place than its manifest or its identity says",
    },
    "warning": {
        "numerics changed": "a cell is of another version of the numerics than this code computes",
        "code changed": "modules that decide the content say something else since; they are named",
        "dirty tree": "it was made with changes that were not committed",
        "mixed numerics": "cells of several versions of the numerics stand behind one artifact",
        "mixed devices": "cells behind one artifact were computed on several devices or versions",
        "not in the study": "a cell or a slice that the study does not have any more",
        "study changed": "the study asks for cells or parameters that the artifact was not made with",
        "source gone": "a file that data were prepared from is not there or outside; the prepared data are",
        "not compared": "it could not be made again from its inputs, so it may be anything",
    },
    "note": {
        "remade": "it was made again, to the same content",
        "not included": "the crate that was unpacked here does not hold it",
        "accepted": "a person declared that it holds after a change of the code, with this reason",
    },
}
"""Meaning of each kind by severity, in the order in which findings are shown."""

SEVERITIES = {kind: severity for severity, kinds in MEANINGS.items() for kind in kinds}


@dataclass(frozen=True)
class Finding:
    """One thing found at one link."""

    kind: FindingKind
    text: str

    @property
    def severity(self) -> Severity:
        """error, warning, or note; a note changes no verdict."""
        return SEVERITIES[self.kind]


def worst(findings: Iterable[Finding]) -> Severity:
    """Severity of the worst finding; `note` if there is none."""
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "error"
    return "warning" if "warning" in severities else "note"
