"""Keep freed memory in the process, for steps that allocate and free megabytes hundreds of times a second."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Ask glibc not to return freed memory to the system; elsewhere nothing is done.

    By default each large tensor is mapped anew and its pages are zeroed at first touch, which on a virtual machine
    can cost more than the convolution that fills them.
    """
    if not sys.platform.startswith("linux"):
        return
    # musl has no mallopt, and no such behaviour.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
