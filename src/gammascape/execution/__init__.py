"""Turn training jobs into packs on devices. Kept light, since the process of Snakemake imports it."""

from dataclasses import field
from typing import Any


def option(default: Any, text: str, kind: type = int) -> Any:
    """Field of a plugin's settings: a command-line option with its help."""
    return field(default=default, metadata={"help": text, "type": kind})


def how_ended(status: int) -> str:
    """End of a process, in words, from the exit status that `subprocess` gives."""
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
