"""How training jobs become packs on devices. Light: the process that runs Snakemake imports it."""

from dataclasses import field
from typing import Any


def option(default: Any, text: str, kind: type = int) -> Any:
    """A field of a plugin's settings: an option of the command line with its help."""
    return field(default=default, metadata={"help": text, "type": kind})
