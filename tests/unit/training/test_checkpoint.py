"""Runs that go on from a checkpoint, and locks."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.data.dataset import Dataset
from gammascape.models import build_model
from gammascape.training.artifact import make_arrays
from gammascape.training.checkpoint import Checkpoints, scratch_of
from gammascape.training.engine import Run, State, Training
from gammascape.training.pack import make_pack

CPU = torch.device("cpu")
BACKEND = {"device": "cpu", "torch": "2"}
IDENTITY = "0123456789ab"


def training(
    records: list[dict[str, Any]], digits: Dataset, states: list[State] | None = None
) -> Training:
    model = build_model(records[0]["model"], digits.input_shape, digits.outputs)
    return Training(make_pack(records), digits, model, CPU, states)


def to_the_end(part: Training) -> dict[int, Run]:
    runs: dict[int, Run] = {}
    while part.alive:
        runs |= dict(part.advance())
    return runs


def same_bytes(one: Run, other: Run) -> None:
    # As text, where NaN equals NaN and every float has its shortest exact form.
    assert repr((one.evaluations, one.facts)) == repr((other.evaluations, other.facts))
    first, second = make_arrays(one), make_arrays(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.mark.parametrize("blocks", [1, 4, 8])
def test_a_run_that_goes_on_ends_in_the_same_bytes(
    digits: Dataset, record: Callable[..., dict[str, Any]], tmp_path: Path, blocks: int
) -> None:
    # The third diverges on the way, the fourth has a seed of its own.
    changes = [{}, {"gamma": "1"}, {"gamma": "-1", "eta": "2"}, {"seed": 1}]
    records = [record(steps=200, **change) for change in changes]
    undisturbed = to_the_end(training(records, digits))
    interrupted = training(records, digits)
    early: dict[int, Run] = {}
    for _ in range(blocks):
        early |= dict(interrupted.advance())
    store = Checkpoints(tmp_path, BACKEND)
    for lane, state in interrupted.states():
        store.save(f"{lane:012x}", state)
    # Each goes on in a pack of its own.
    for lane in interrupted.alive:
        state = store.load(f"{lane:012x}")
        assert state is not None
        early[lane] = to_the_end(training([records[lane]], digits, [state]))[0]
    assert early.keys() == undisturbed.keys()
    for lane, run in early.items():
        same_bytes(run, undisturbed[lane])


def test_lanes_at_different_steps_do_not_go_on_together(
    digits: Dataset, record: Callable[..., dict[str, Any]]
) -> None:
    part = training([record()], digits)
    states = []
    for _ in range(2):
        part.advance()
        states.append(part.states()[0][1])
    with pytest.raises(ValueError, match="same step"):
        training([record(), record(gamma="1")], digits, states)


@pytest.fixture
def state() -> State:
    return State(
        step=3,
        weights={"layer1.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
        losses=np.array([1.0, np.inf, 0.5]),
        zero_losses=np.ones(3),
        evaluations=(),
        seconds=0.25,
    )


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path, state: State) -> None:
    store = Checkpoints(tmp_path, BACKEND)
    store.save(IDENTITY, state)
    found = store.load(IDENTITY)
    assert found is not None
    assert (found.step, found.seconds) == (3, 0.25)
    np.testing.assert_array_equal(found.losses, state.losses)
    np.testing.assert_array_equal(found.weights["layer1.weight"], state.weights["layer1.weight"])
    store.discard(IDENTITY)
    assert store.load(IDENTITY) is None


@pytest.mark.parametrize("length", [0, 10, 500, -1])
def test_a_truncated_checkpoint_is_left_out(tmp_path: Path, state: State, length: int) -> None:
    store = Checkpoints(tmp_path, BACKEND)
    store.save(IDENTITY, state)
    path = store.path(IDENTITY)
    path.write_bytes(path.read_bytes()[:length])
    assert store.load(IDENTITY) is None


def test_an_altered_checkpoint_is_left_out(tmp_path: Path, state: State) -> None:
    store = Checkpoints(tmp_path, BACKEND)
    store.save(IDENTITY, state)
    path = store.path(IDENTITY)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert store.load(IDENTITY) is None


def test_a_checkpoint_of_another_machine_is_left_out(tmp_path: Path, state: State) -> None:
    Checkpoints(tmp_path, BACKEND).save(IDENTITY, state)
    assert Checkpoints(tmp_path, {**BACKEND, "torch": "3"}).load(IDENTITY) is None


def test_a_checkpoint_of_other_numerics_is_not_seen(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoints(tmp_path, BACKEND)
    store.save(IDENTITY, state)
    monkeypatch.setattr("gammascape.training.checkpoint.NUMERICS_VERSION", 999)
    assert store.load(IDENTITY) is None


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoints(tmp_path, BACKEND)
    store.save(IDENTITY, state)

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(IDENTITY, state)
    assert store.load(IDENTITY) is not None
    assert [path.name for path in store.path(IDENTITY).parent.iterdir()] == [f"{IDENTITY}-n1"]


HOLD = """
import sys
from pathlib import Path
from gammascape.training.checkpoint import Checkpoints
store = Checkpoints(Path(sys.argv[1]), {})
store.lock(sys.argv[2])
print("locked", flush=True)
sys.stdin.read()
"""


def test_one_process_trains_a_cell_and_its_end_frees_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), IDENTITY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        store = Checkpoints(tmp_path, BACKEND)
        assert store.lock("ba9876543210")
        assert not store.lock(IDENTITY)
        other.kill()
        other.wait()
        assert store.lock(IDENTITY)


def test_the_scratch_folder_lies_in_the_results() -> None:
    assert scratch_of(Path("results/cells/family/cell")) == Path("results/.scratch")
    assert scratch_of(Path("elsewhere/cell")) == Path("elsewhere/.scratch")


def test_a_checkpoint_with_other_constants_is_nothing_to_go_on_from(
    digits: Dataset, record: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    part = training([record(steps=100)], digits)
    part.advance()
    store = Checkpoints(tmp_path, BACKEND)
    ((_, state),) = part.states()
    store.save(IDENTITY, state, (), {"model": "a", "data": "b"})
    assert store.load(IDENTITY, {"model": "a", "data": "b"}) is not None
    assert store.load(IDENTITY, {"model": "a", "data": "c"}) is None
    assert store.load(IDENTITY, {"data": "b"}) is None
