"""Which cells share a pack, and in which order."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gammascape.execution.packing import cut, fate, group
from gammascape.execution.pool import Backlog
from gammascape.execution.tasks import Task
from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec
from gammascape.training.pack import graph_places, sizes
from gammascape.training.worker import Task as Received


def task(data: str | None = "digits.npz", **changes: object) -> Task:
    parts = {"gamma": "0", "eta": "0", "batch_size": 16, "steps": 20, "loss": "mse"} | changes
    cell = Cell(
        model=MlpSpec(kind="mlp", depth=2, width=16), dataset=DigitsSpec(kind="digits"), **parts
    )
    return Task(cell.canonical(), data, f"results/cells/{cell.path}", f"{cell.path}.log")


def test_cells_that_differ_in_gamma_eta_and_seed_share_a_pack() -> None:
    tasks = [task(), task(gamma="1"), task(eta="1"), task(seed=3)]
    [members] = group(tasks)
    assert set(members) == set(tasks)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 8},
        {"steps": 10},
        {"loss": "xent"},
        {"data_seed": 1},
        {"dtype": "float64"},
        {"data": "other.npz"},
    ],
)
def test_cells_that_differ_in_anything_else_do_not(change: dict[str, object]) -> None:
    assert len(group([task(), task(**change)])) == 2


def test_the_group_with_the_most_work_comes_first() -> None:
    short, long = [task(gamma=str(g)) for g in range(3)], [task(steps=1000)]
    assert group([*short, *long])[0] == long


def test_cells_that_diverge_sooner_sit_together() -> None:
    tasks = [task(gamma=g, eta=e) for g in ("-2", "0", "2") for e in ("-2", "0", "2")]
    [members] = group(tasks)
    assert [fate(member) for member in members] == sorted(map(fate, tasks), reverse=True)
    assert (members[0].record["gamma"], members[0].record["eta"]) == ("-2", "2")


@given(count=st.integers(0, 200), lanes=st.integers(1, 50), workers=st.integers(1, 8))
def test_packs_hold_every_cell_once_and_no_more_lanes_than_allowed(
    count: int, lanes: int, workers: int
) -> None:
    tasks = [Task(str(k), None, str(k), "") for k in range(count)]
    packs = cut(tasks, lanes, workers)
    assert [member for pack in packs for member in pack] == tasks
    lengths = [len(pack) for pack in packs]
    assert all(1 <= length <= lanes for length in lengths)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1
    assert len(packs) == max(math.ceil(count / lanes), min(workers, count))


@pytest.mark.parametrize("workers", [1, 3, 4, 8])
def test_packs_for_a_gpu_leave_at_most_an_eighth_of_its_places_empty(workers: int) -> None:
    for count in range(1, 5001):
        for lanes in (48, 2048):
            found = sizes(count, lanes, workers, graph_places)
            assert sum(found) == count
            assert len(found) == max(math.ceil(count / lanes), min(workers, count))
            assert 1 <= min(found) <= max(found) <= lanes
            places = sum(map(graph_places, found))
            # Small packs may hold as many as the smallest sizes are apart.
            small = sum(size < 32 for size in found)
            assert places - count <= places / 8 + 3 * small


def test_a_pack_for_a_gpu_fills_its_places_where_it_can() -> None:
    assert sizes(5000, 2048, 1, graph_places) == [1792, 1664, 1544]
    assert sizes(182, 512, 1, graph_places) == [182]
    # Each worker has one.
    assert sizes(9, 512, 4, graph_places) == [4, 2, 2, 1]


def test_a_backlog_of_gpus_alone_cuts_for_them() -> None:
    tasks = [task(gamma=str(g), eta=str(e)) for g in range(10) for e in range(7)]
    found = {}
    for on_gpus in (False, True):
        backlog = Backlog(2, 40, on_gpus=on_gpus)
        backlog.add(tasks)
        packs = [backlog.take(lambda _: 40) for _ in range(2)]
        found[on_gpus] = [len(pack.tasks) for pack in packs if pack is not None]
    assert found == {False: [35, 35], True: [36, 34]}


def test_a_pack_without_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one lane"):
        cut([task()], 0)


def test_a_worker_reads_the_task_that_is_sent_to_it() -> None:
    sent = task(gamma="-1")
    found = Received.from_json(json.loads(json.dumps(sent.as_json())))
    assert (found.identity, found.record) == (sent.parsed.identity, sent.record)
    assert (str(found.output), str(found.log)) == (sent.output, sent.log)
    assert found.record["dtype"] == "float32"
