"""The choice of jobs to start."""

import logging
from dataclasses import dataclass, field

from snakemake_scheduler_plugin_gammascape import Scheduler


@dataclass(frozen=True)
class Job:
    jobid: int
    priority: int = 0
    scheduler_resources: dict[str, object] = field(default_factory=dict, hash=False)


def choose(jobs: list[Job], **available: int) -> list[int]:
    scheduler = Scheduler(None, None, logging.getLogger())
    return [job.jobid for job in scheduler.select_jobs(jobs, jobs, available, {})]


def job(jobid: int, cores: int, priority: int = 0, **more: object) -> Job:
    return Job(jobid, priority, {"_cores": cores, "_job_count": 1, "tmpdir": "/tmp", **more})


def test_no_more_than_the_resources_allow() -> None:
    jobs = [job(k, cores=1) for k in range(5)]
    assert choose(jobs, _cores=2, _job_count=100) == [0, 1]


def test_jobs_that_need_no_core_are_all_started() -> None:
    jobs = [job(0, cores=2), *[job(k, cores=0) for k in range(1, 6)]]
    assert choose(jobs, _cores=1, _job_count=100) == [1, 2, 3, 4, 5]


def test_a_large_job_does_not_hold_smaller_ones_up() -> None:
    assert choose([job(0, cores=4), job(1, cores=1)], _cores=2, _job_count=9) == [1]


def test_priority_goes_first() -> None:
    assert choose([job(0, 1), job(1, 1, priority=5)], _cores=1, _job_count=9) == [1]


def test_other_resources_count() -> None:
    jobs = [job(0, 1, gpu=1), job(1, 1, gpu=1)]
    assert choose(jobs, _cores=9, gpu=1, _job_count=9) == [0]


def test_job_rate_limits_count() -> None:
    assert choose([job(k, 0) for k in range(5)], _cores=9, _job_count=3) == [0, 1, 2]
