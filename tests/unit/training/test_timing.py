"""The time of a cell from some of its steps."""

from types import SimpleNamespace

import pytest

from gammascape.data.load import load_dataset
from gammascape.runs.history import measurement_steps
from gammascape.study import TeacherSpec
from gammascape.training import timing


@pytest.mark.parametrize("steps", [1, 4, 3000])
def test_steps_and_measurements_are_told_apart(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    import torch

    clock = [0.0]

    class Timed(timing.Training):
        """0.25 s for a step and 0.5 s for a measurement of both lanes."""

        def advance(self) -> list[tuple[int, object]]:
            before = self.step
            ended = super().advance()
            clock[0] += 0.25 * (self.step - before)
            clock[0] += 0.5 * (self.step in measurement_steps(min(steps, 1999)))
            return ended

    monkeypatch.setattr(timing, "Training", Timed)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(timing, "_SECONDS", 20.0)
    data = TeacherSpec(kind="teacher", inputs=4, polynomial=(0, 1)).model_dump(mode="json")
    record = {
        **{"model": {"kind": "mlp", "depth": 2, "width": 4}, "dataset": data, "loss": "mse"},
        **{"gamma": "0", "eta": "-1", "batch_size": 4, "steps": steps, "seed": 0, "data_seed": 0},
        **{"dtype": "float32", "numerics": 1},
    }
    dataset = load_dataset(data, None, torch.device("cpu"))
    found = timing.seconds_of_cell([record, {**record, "seed": 1}], dataset, torch.device("cpu"))
    expected = (0.25 * steps + 0.5 * len(measurement_steps(steps))) / 2
    # From two or three blocks alone a step cannot be told from a measurement.
    assert found == pytest.approx(expected, rel=1e-9 if steps > 100 else 1.0)


def test_what_a_process_does_once_is_no_step_and_the_clock_is_that_of_the_wall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    clock, blocks = [0.0], [0]

    class Slow(timing.Training):
        """16 s for a step of all 32 lanes, and 1000 s before the first and in the fifth block, which captures."""

        def advance(self) -> list[tuple[int, object]]:
            before = self.step
            ended = super().advance()
            blocks[0] += 1
            clock[0] += 16.0 * (self.step - before) + 1000.0 * (blocks[0] in (1, 5))
            return ended

        @property
        def captures(self) -> int:
            return 1 + (blocks[0] >= 5)

    monkeypatch.setattr(timing, "Training", Slow)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(timing, "_SECONDS", 300.0)
    data = TeacherSpec(kind="teacher", inputs=4, polynomial=(0, 1)).model_dump(mode="json")
    record = {
        **{"model": {"kind": "mlp", "depth": 2, "width": 4}, "dataset": data, "loss": "mse"},
        **{"gamma": "0", "eta": "-1", "batch_size": 4, "steps": 3000, "data_seed": 0},
        **{"dtype": "float32", "numerics": 1},
    }
    dataset = load_dataset(data, None, torch.device("cpu"))
    records = [{**record, "seed": seed} for seed in range(32)]
    found = timing.seconds_of_cell(records, dataset, torch.device("cpu"))
    assert found == pytest.approx(16.0 * 3000 / 32, rel=1e-9)
    # The last block begins within the time; measurements are at most some 20 steps apart there.
    assert clock[0] < 2000.0 + 300.0 + 16.0 * 50
