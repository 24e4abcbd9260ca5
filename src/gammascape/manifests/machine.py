"""Machine, system, versions of packages and time of an artifact."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HIDE_HOST = "GAMMASCAPE_HIDE_HOST"
"""Environment variable set by the workflow if the configuration says `record_host: false`."""


def utc_now() -> str:
    """Current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(packages: Sequence[str]) -> dict[str, Any]:
    """Host name (None if hidden), system, Python, NVIDIA driver (None without one), versions of packages."""
    return {
        "host": None if os.environ.get(HIDE_HOST) else platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "driver": _driver(),
        "packages": {name: _version(name) for name in packages},
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return found.group(0) if found else None
