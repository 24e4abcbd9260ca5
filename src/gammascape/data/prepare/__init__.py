"""Turn published files of a dataset into prepared data. To add a format, write one module and one line here."""

from collections.abc import Callable, Mapping

from gammascape.data.prepare import cifar5m, cifar10, digits, mnist, mnist1m, own, tinyimagenet

PREPARERS: Mapping[str, Callable[..., None]] = {
    "digits": digits.prepare,
    "mnist": mnist.prepare,
    "cifar10": cifar10.prepare,
    "cifar5m": cifar5m.prepare,
    "tinyimagenet": tinyimagenet.prepare,
    "mnist1m": mnist1m.prepare,
    **dict.fromkeys(("folder", "arrays", "table"), own.prepare),
}
"""Dataset -> function of the folder with its files, the folder to write, and options of its own.

They raise DataError, which names the missing or wrong file and what was expected."""
