"""A small study to vary, and how to load one from text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gammascape.study import Study, load_study

Loader = Callable[..., Study]

ROOT = Path(__file__).parents[3]
FILES = [
    file
    for file in sorted((ROOT / "config/studies").glob("*.yaml"))
    if not file.name.endswith(".points.yaml")
]
"""Studies of the repository."""

STUDY = """\
models:
  mlp3: {kind: mlp, depth: 3, width: 64}
datasets:
  digits: {kind: digits}
grids:
  - model: mlp3
    dataset: digits
    loss: mse
    gamma: {log10: [-3, 0]}
    eta: {log10: [-1, 0]}
    batch_size: 32
    steps: 600
"""


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    """Load the small study after replacing pieces of its text, given in pairs."""

    def loaded(*pairs: str, text: str = STUDY, name: str = "mine") -> Study:
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return load_study(path)

    return loaded
