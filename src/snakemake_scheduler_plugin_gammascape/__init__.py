"""Snakemake scheduler `gammascape`: start ready jobs in order of priority, until the resources are used up.

Snakemake's own schedulers compare every ready job with every other one, which takes minutes for ten thousand
cells. Cells are interchangeable, so one pass over them suffices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from snakemake_interface_scheduler_plugins.base import SchedulerBase

from gammascape.execution.inputs import leave_out_sizes


class Scheduler(SchedulerBase):  # type: ignore[misc]
    """Scheduler that takes jobs one after another as long as they fit."""

    def __post_init__(self) -> None:
        leave_out_sizes()

    def select_jobs(
        self,
        selectable_jobs: Sequence[Any],
        remaining_jobs: Sequence[Any],
        available_resources: Mapping[str, int | str],
        input_sizes: dict[Any, int],
    ) -> Sequence[Any]:
        """Jobs to start now: highest priority first, in a fixed order among equals."""
        left = {k: v for k, v in available_resources.items() if isinstance(v, int)}
        chosen = []
        for job in sorted(selectable_jobs, key=lambda job: (-job.priority, job.jobid)):
            needs = {
                name: int(value)
                for name, value in job.scheduler_resources.items()
                if name in left and isinstance(value, int)
            }
            if all(value <= left[name] for name, value in needs.items()):
                chosen.append(job)
                for name, value in needs.items():
                    left[name] -= value
        return chosen
