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
    monkeypatch.setattr(timing, "set_up_backend", lambda: (torch.device("cpu"), None))
    data = TeacherSpec(kind="teacher", inputs=4, polynomial=(0, 1)).model_dump(mode="json")
    record = {
        **{"model": {"kind": "mlp", "depth": 2, "width": 4}, "dataset": data, "loss": "mse"},
        **{"gamma": "0", "eta": "-1", "batch_size": 4, "steps": steps, "seed": 0, "data_seed": 0},
        **{"dtype": "float32", "numerics": 1},
    }
    dataset = load_dataset(data, None, torch.device("cpu"))
    found = timing.seconds_of_cell([record, {**record, "seed": 1}], dataset)
    expected = (0.25 * steps + 0.5 * len(measurement_steps(steps))) / 2
    # From two or three blocks alone a step cannot be told from a measurement.
    assert found == pytest.approx(expected, rel=1e-9 if steps > 100 else 1.0)
