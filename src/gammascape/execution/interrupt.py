"""Handling of Ctrl-C while Snakemake runs."""

import signal
import threading
from collections.abc import Callable


def interrupt_once(then: Callable[[], None]) -> None:
    """Let the first Ctrl-C interrupt Snakemake, and each later one call `then`.

    A second interrupt would come while Snakemake cleans up, and end in a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    interrupted = False

    def handle(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            then()
            return
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
