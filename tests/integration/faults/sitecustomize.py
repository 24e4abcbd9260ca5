"""Faults for the tests of recovery: Python runs this whenever a process starts with this folder on its path.

What goes wrong is said by environment variables, and it goes wrong in the engine, between two blocks of steps:

    FAULT_SLOW=0.05          every block takes at least so many seconds
    FAULT_WHILE=some/file    ... as long as this file exists
    FAULT_KILL=2             the process is killed when a lane of log10 gamma = 2 passes half of its steps
    FAULT_RAISE=2            the same, with an exception
    FAULT_MEMORY=4           packs of more than 4 lanes do not fit into memory
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

ENGINE = "gammascape.training.engine"


def break_engine(engine):
    advance = engine.Training.advance

    def faulty(self):
        if Path(os.environ.get("FAULT_WHILE", "/")).exists():
            time.sleep(float(os.environ.get("FAULT_SLOW", 0)))
        records = [self._pack.lanes[k].record for k in self.alive]
        half = self.step >= int(records[0]["steps"]) // 2
        gammas = {record["gamma"] for record in records} if half else set()
        if os.environ.get("FAULT_KILL") in gammas:
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("FAULT_RAISE") in gammas:
            raise ValueError("a mistake in the model")
        if len(records) > int(os.environ.get("FAULT_MEMORY", 10**9)):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return advance(self)

    engine.Training.advance = faulty


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != ENGINE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            break_engine(module)

        spec.loader.exec_module = exec_module
        return spec


if any(name.startswith("FAULT_") for name in os.environ):
    if ENGINE in sys.modules:
        break_engine(sys.modules[ENGINE])
    sys.meta_path.insert(0, Finder())
