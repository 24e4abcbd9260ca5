"""What all tests share."""

import atexit
import fcntl
import gc
from collections.abc import Generator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

FIRST = ("slurm", "integration", "unit/training", "unit/commands")
"""Folders of long tests; SLURM's before all, as they mostly wait."""

# What is imported while tests are collected is not garbage.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    if not isinstance(collector, pytest.Module):
        return (yield)
    # Processes collect files in one order: the first rewrites the assertions of each, and the others read that.
    with collector.path.open() as file:
        # NFS knows no such lock of a file that is only read.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [Path(__file__).parent / name for name in FIRST]

    @cache
    def rank(path: Path) -> list[bool]:
        return [not path.is_relative_to(folder) for folder in folders]

    items.sort(key=lambda item: rank(item.path))


def pytest_collection_finish() -> None:
    # What was made by now stays; to look there for what can be freed takes a tenth of the time of all tests.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()
    # Libraries look at their end for what they have leaked; pytest, before, only for garbage of tests.
    atexit.register(gc.unfreeze)
