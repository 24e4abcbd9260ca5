"""Group tasks into packs: tasks in a pack share batches, and tasks with a similar fate are adjacent."""

import itertools
from collections.abc import Callable, Sequence

from gammascape.execution.tasks import Task
from gammascape.training.pack import sizes


def cost(task: Task) -> float:
    """Rough amount of work in a task, for training large packs first: samples times width."""
    record = task.record
    width = max((v for v in record["model"].values() if isinstance(v, int)), default=1)
    return float(record["steps"] * record["batch_size"] * width)


def fate(task: Task) -> float:
    """Number that is larger for cells that diverge sooner.

    The largest stable eta scales as gamma^2 at small gamma and as gamma^(2/L) at large gamma (Atanasov et al.,
    arXiv 2410.04642); L = 3 is used for all models. Lanes that end together leave no gaps in a pack.
    """
    gamma, eta = float(task.parsed.gamma), float(task.parsed.eta)
    return eta - (2.0 * gamma if gamma < 0 else 2.0 / 3.0 * gamma)


def group(tasks: Sequence[Task]) -> list[list[Task]]:
    """Groups of tasks that can share a pack, the most work first; within a group, ordered by fate."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.shared, []).append(task)
    ordered = sorted(groups.values(), key=lambda members: -sum(cost(task) for task in members))
    return [sorted(members, key=lambda task: (-fate(task), task.output)) for members in ordered]


def cut(
    tasks: Sequence[Task], lanes: int, workers: int = 1, places: Callable[[int], int] | None = None
) -> list[list[Task]]:
    """Cut tasks into packs; arguments and errors as for `training.pack.sizes`."""
    ends = itertools.accumulate(sizes(len(tasks), lanes, workers, places), initial=0)
    return [list(tasks[a:b]) for a, b in itertools.pairwise(ends)]
