"""Findings of an audit at the links of a chain, and their severity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Severity = Literal["error", "warning", "note"]
_Error = Literal["altered", "missing", "outside", "unknown origin", "misplaced"]
_Warning = Literal[
    "numerics changed",
    "code changed",
    "dirty tree",
    "mixed numerics",
    "mixed devices",
    "not in the study",
    "study changed",
    "source gone",
    "not compared",
]
_Note = Literal["remade", "not included", "accepted"]
FindingKind = _Error | _Warning | _Note
"""Kinds in the order in which they are shown; docs/reference/commands.md gives the meaning of each."""

_KINDS: Mapping[Severity, Any] = {"error": _Error, "warning": _Warning, "note": _Note}
SEVERITIES = {kind: severity for severity, kinds in _KINDS.items() for kind in get_args(kinds)}


@dataclass(frozen=True)
class Finding:
    """One finding at one link."""

    kind: FindingKind
    text: str
    missing: str = ""
    """Name of the file that is missing, of several that an artifact has."""

    @property
    def severity(self) -> Severity:
        """Severity: error, warning, or note; a note changes no verdict."""
        return SEVERITIES[self.kind]


def worst(findings: Iterable[Finding]) -> Severity:
    """Severity of the worst finding; `note` if there is none."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in _KINDS if severity in severities), "note")
