"""Turn training jobs into packs on devices. Kept light, since the process of Snakemake imports it."""

from dataclasses import field
from typing import Any


def option(default: Any, text: str, kind: type = int) -> Any:
    """Field of a plugin's settings: a command-line option with its help."""
    return field(default=default, metadata={"help": text, "type": kind})
