"""Turning published files of a dataset into prepared data. A new format is one module and one line here."""

from collections.abc import Callable
from pathlib import Path

from gammascape.data.prepare import cifar5m, cifar10, digits, mnist, mnist1m, tinyimagenet

PREPARERS: dict[str, Callable[..., None]] = {
    "digits": digits.prepare,
    "mnist": mnist.prepare,
    "cifar10": cifar10.prepare,
    "cifar5m": cifar5m.prepare,
    "tinyimagenet": tinyimagenet.prepare,
    "mnist1m": mnist1m.prepare,
}


def prepare(name: str, source: Path | None, folder: Path, mnist: Path | None = None) -> None:
    """Prepare dataset `name` from the files in `source` into `folder`; `mnist` is a manifest that mnist1m needs.

    Raises:
        DataError: naming the file that is missing or wrong, and what was expected.
    """
    extra = {"mnist": mnist} if name == "mnist1m" else {}
    PREPARERS[name](source, folder, **extra)


__all__ = ["PREPARERS", "prepare"]
