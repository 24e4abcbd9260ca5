"""Which cells share a pack, and in which order."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gammascape.execution.packing import cut, fate, group
from gammascape.execution.tasks import Task
from gammascape.study import Cell
from gammascape.study.datasets import DigitsSpec
from gammascape.study.models import MlpSpec


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
    sizes = [len(pack) for pack in packs]
    assert all(1 <= size <= lanes for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(packs) == max(math.ceil(count / lanes), min(workers, count))


def test_a_pack_without_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one lane"):
        cut([task()], 0)


def test_a_task_survives_its_json() -> None:
    assert Task.from_json(task().as_json()) == task()
    assert task().as_json()["record"]["dtype"] == "float32"
