"""What README and examples show in plain torch is what the engine computes; links lead somewhere."""

import copy
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gammascape.study import Cell
from gammascape.study.keys.datasets import DigitsSpec
from gammascape.study.keys.models import MlpSpec
from gammascape.theory.edges import Loss
from gammascape.train import train_cell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = runpy.run_path(str(ROOT / "examples/one_cell.py"))
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "mse": torch.nn.functional.mse_loss,
    "xent": torch.nn.functional.cross_entropy,
}
STEPS = 100


def example(loss: str, gamma: float, eta: float) -> list[float]:
    return list(EXAMPLE["train"](LOSSES[loss], gamma, eta, STEPS))


@pytest.mark.parametrize(("loss", "gamma", "eta"), [("mse", "0", "0"), ("xent", "1", "0.5")])
def test_one_cell_without_the_library_has_the_losses_of_the_artifact(
    loss: Loss, gamma: str, eta: str, digits_file: Path, tmp_path: Path
) -> None:
    still = DigitsSpec(kind="digits", shift=0, rotation=0, scale=0, elastic=0, noise=0)
    mlp = MlpSpec(kind="mlp", depth=3, width=64)
    cell = Cell(mlp, still, loss, gamma, eta, batch_size=32, steps=STEPS)
    assert train_cell(cell, digits_file, tmp_path, "cpu") == 0
    with np.load(tmp_path / "arrays.npz") as arrays:
        found = arrays["loss"]
    given = [10.0 ** float(text) for text in (gamma, eta)]
    # float32 rounds to 6e-8, and 100 stable steps leave 2e-7 of it. A learning rate larger by 1 % is seen.
    np.testing.assert_allclose(example(loss, *given), found, rtol=1e-5)
    other = example(loss, given[0], 1.01 * given[1])
    assert not np.allclose(other, found, rtol=1e-3)
    assert found[-1] < 0.8 * found[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_lines_of_the_readme_train_the_same_network(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(def net.*?)```", README, re.DOTALL)
    assert len(list(filter(None, code.splitlines()))) <= 15
    drawn = iter(
        [EXAMPLE["normal"](2 * k, *s) for k, s in enumerate([(64, 64), (64, 64), (10, 64)])]
    )
    monkeypatch.setattr(torch.nn.init, "normal_", lambda weight: weight.data.copy_(next(drawn)))
    losses = []

    def loss_of(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = LOSSES[loss](f, y)
        losses.append(value.item())
        return value

    names: dict[str, Any] = {"copy": copy, "torch": torch, "loss_of": loss_of}
    sizes = {"D": 64, "N": 64, "C": 10, "gamma": 10.0, "eta": 3.0}
    exec(code, names | sizes | {"batches": EXAMPLE["batches"](STEPS)})
    # The same sums in another order, as above.
    np.testing.assert_allclose(losses, example(loss, 10.0, 3.0), rtol=1e-5)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files_and_headings(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text)
    assert links
    for path, anchor in links:
        target = ROOT / path
        assert target.is_file(), path
        headings = (
            re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor
            else []
        )
        anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
        assert anchor in anchors | {""}, f"{path}#{anchor}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130
