"""The journal of a pack: what a worker on another machine tells, one JSON object a line."""

import json
from pathlib import Path
from typing import Any


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events so far; a last line that is still being written, or was cut off by a crash, is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
