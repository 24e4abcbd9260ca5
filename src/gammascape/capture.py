"""Capture of CUDA graphs: many kernels in one launch."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


def record(run: Callable[[], T]) -> tuple[Callable[[], None], T]:
    """Capture `run`; return a function that replays it, and what then holds its result.

    Raises:
        RuntimeError: if `run` does something that a graph cannot capture.
    """
    side = _side_stream()
    side.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
    finally:
        # The caller may next restore tensors that this stream has changed.
        torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # In the default mode, a call of any other thread, such as one that fetches batches, may end the capture.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = run()
    return graph.replay, result


@cache
def _side_stream() -> torch.cuda.Stream:
    """Side stream for warm-up before capture; a single one, as streams do not share the allocator's memory."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
