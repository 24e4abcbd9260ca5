"""Handling of Ctrl-C and SIGTERM while Snakemake runs."""

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


def terminate_beside() -> None:
    """Let Snakemake's handler of SIGTERM run in a thread of its own; call it once the scheduler has set it.

    The handler takes a lock of the scheduler, for which it would wait for ever if the main thread has it.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        return
    if getattr(handler, "__name__", "") == "exit_gracefully":

        def handle(*given: object) -> None:
            threading.Thread(target=handler, args=given, daemon=True).start()

        signal.signal(signal.SIGTERM, handle)
