"""Journal of a pack: events of a worker on another machine, one JSON object a line."""

import json
from pathlib import Path
from typing import Any


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the events so far; lines still being written, or cut off by a crash, are left out.

    Raises:
        OSError: if it exists and cannot be read.
    """
    if not path.exists():
        return []
    events = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events
