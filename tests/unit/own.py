"""Networks and data as a user writes them, and how to make a model of one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gammascape.data.dataset import Dataset
from gammascape.models import Model, build_model
from gammascape.study.keys.models import FactoryModelSpec
from gammascape.training.engine import Run, Training
from gammascape.training.pack import make_pack
from gammascape.usercode.find import find_sources
from gammascape.usercode.run import provide

HEAD = """\
import torch
from torch import nn

"""

MLP = """\
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)))
        return self.head(torch.relu(self.second(h)))

def make(input_shape, outputs, width):
    return Net(width)
"""


def sources_of(folder: Path, text: str, factory: str = "net:make") -> dict[str, str]:
    """Write the text as net.py and make it known; returns the hashes of its files."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "net.py").write_text(HEAD + text)
    found = find_sources(factory, [folder])
    provide(found.files.values())
    return dict(found.hashes)


def options_of(folder: Path, text: str, **options: Any) -> dict[str, Any]:
    """A cell's options of the network of a text."""
    spec = FactoryModelSpec.model_validate(
        {"factory": "net:make", "width": 16, "sources": sources_of(folder, text), **options}
    )
    return spec.model_dump(mode="json")


def run_pack(
    records: list[dict[str, Any]], dataset: Dataset, model: Model | None = None
) -> list[Run]:
    """Train cells of these records in one pack on the CPU, from start to end."""
    model = model or build_model(records[0]["model"], dataset.input_shape, dataset.outputs)
    training = Training(make_pack(records), dataset, model, torch.device("cpu"))
    runs: dict[int, Run] = {}
    while training.alive:
        runs |= dict(training.advance())
    return [runs[position] for position in range(len(records))]


def model_of(folder: Path, text: str, example: Tensor, **options: Any) -> Model:
    """The model of a text, for inputs such as `example` and ten outputs."""
    shape = tuple(example.shape[1:])
    return build_model(options_of(folder, text, **options), shape, 10, example)
