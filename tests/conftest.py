"""What all tests share."""

import atexit
import gc

# What is imported while tests are collected is not garbage.
gc.disable()


def pytest_collection_finish() -> None:
    # What is imported by now stays; to look there for what can be freed takes a tenth of the time of all tests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()
    # Libraries look at their end for what they have leaked; pytest, before, only for garbage of tests.
    atexit.register(gc.unfreeze)
