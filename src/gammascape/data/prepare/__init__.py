"""Turn published files of a dataset into prepared data. To add a format, write one module and one line here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gammascape.data.prepare import cifar5m, cifar10, digits, mnist, mnist1m, own, tinyimagenet

PREPARERS: dict[str, Callable[..., None]] = {
    "digits": digits.prepare,
    "mnist": mnist.prepare,
    "cifar10": cifar10.prepare,
    "cifar5m": cifar5m.prepare,
    "tinyimagenet": tinyimagenet.prepare,
    "mnist1m": mnist1m.prepare,
    **dict.fromkeys(("folder", "arrays", "table"), own.prepare),
}


def prepare(name: str, source: Path | None, folder: Path, **options: Any) -> None:
    """Prepare dataset `name` from the files in `source` into `folder`; `options` go to its own function.

    Raises:
        DataError: naming the missing or wrong file, and what was expected.
    """
    PREPARERS[name](source, folder, **options)


__all__ = ["PREPARERS", "prepare"]
