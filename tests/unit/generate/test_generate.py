"""Generated digits are functions of their numbers, and training a generator can be interrupted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gammascape.generate import diffusion
from gammascape.generate.__main__ import main
from gammascape.generate.adam import Adam
from gammascape.generate.deform import deform
from gammascape.generate.diffusion import sample, train_ddpm
from gammascape.generate.quality import nearest_distances, predictions, train_classifier
from gammascape.study.keys.generators import DeformSpec

from ..formats import pixels, prepare_mnist

CPU = torch.device("cpu")
IMAGES = torch.from_numpy(pixels(40, 28, 28))
LABELS = torch.arange(40) % 10


def test_a_deformed_image_depends_on_its_number_alone() -> None:
    made, base = deform(IMAGES, torch.arange(80), 3)
    alone, _ = deform(IMAGES, torch.tensor([57]), 3)
    assert torch.equal(made[57], alone[0])
    other, _ = deform(IMAGES, torch.tensor([57]), 4)
    assert not torch.equal(alone, other)
    for begin in (0, 40):
        assert sorted(base[begin : begin + 40].tolist()) == list(range(40))


def test_no_strength_leaves_images_as_they_are() -> None:
    made, base = deform(
        IMAGES,
        torch.arange(40),
        0,
        DeformSpec(kind="deform", rotation=0.0, scale=0.0, shift=0.0, elastic=0.0),
    )
    assert torch.equal(made, IMAGES[base])


def ddpm(steps: int, checkpoint: Path | None = None) -> tuple[torch.nn.Module, torch.Tensor]:
    return train_ddpm(
        IMAGES, LABELS, features=8, steps=steps, batch_size=8, learning_rate=1e-3, seed=0,
        device=CPU, checkpoint=checkpoint, seconds=0.0,
    )  # fmt: skip


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, loss: torch.Tensor) -> None:
        raise Stop

    path = tmp_path / "checkpoint.pt"
    whole, losses = ddpm(12)
    with pytest.raises(Stop):
        train_ddpm(
            IMAGES, LABELS, features=8, steps=12, batch_size=8, learning_rate=1e-3, seed=0,
            device=CPU, checkpoint=path, seconds=0.0, report=stop,
        )  # fmt: skip
    assert path.is_file()
    again, found = ddpm(12, path)
    assert torch.equal(losses, found)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_learning_rate_falls_linearly_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    class Recorded(Adam):
        def step(self, loss: torch.Tensor, learning_rate: float) -> None:
            rates.append(learning_rate)

    monkeypatch.setattr(diffusion, "Adam", Recorded)
    ddpm(4)
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_a_classifier_learns_what_tells_classes_apart() -> None:
    labels = torch.arange(1280) % 10
    images = torch.zeros((1280, 28, 28), dtype=torch.uint8)
    # Each class has a bright line of its own.
    images[torch.arange(1280), 2 * labels + 4] = 255
    classifier = train_classifier(images, labels, CPU, 2, 0)
    assert (predictions(classifier, images, CPU) == labels).float().mean() > 0.9


def test_a_sample_depends_on_its_number_and_label() -> None:
    network, _ = ddpm(2)

    def made(*numbers: int) -> torch.Tensor:
        chosen = torch.tensor(numbers)
        return sample(
            network, chosen % 10, numbers=chosen, seed=1, sampling_steps=3, device=CPU
        )  # fmt: skip

    together, alone = made(4, 5, 6), made(5)
    assert together.shape == (3, 28, 28)
    # Rounding depends on the batch and may turn a pixel by one of 255.
    assert (together[1].int() - alone[0].int()).abs().max() <= 1
    assert not torch.equal(together[0], together[1])


def test_nearest_distances_are_those_of_all_pairs() -> None:
    a, b = IMAGES[:7], IMAGES[7:]
    found = nearest_distances(a, b, CPU)
    pairs = (a.flatten(1).double() - b.flatten(1).double()[:, None]).norm(dim=-1) / 255
    # Squares of differences by a product in float32.
    torch.testing.assert_close(found.double(), pairs.min(0).values, rtol=1e-4, atol=1e-4)


def test_every_chunk_is_the_same_by_itself_and_of_the_prepared_images(tmp_path: Path) -> None:
    manifest = prepare_mnist(tmp_path)
    for k in (1, 0):
        arguments = ["--source", str(manifest), "--number", str(k), "--size", "50"]
        assert main(["deform", *arguments, "--output", str(tmp_path / f"chunk_{k}.npz")]) == 0
    one = ["--source", str(tmp_path / "source"), "--number", "0", "--size", "100"]
    assert main(["deform", *one, "--output", str(tmp_path / "whole.npz")]) == 0
    with np.load(tmp_path / "whole.npz") as whole:
        for k in (0, 1):
            with np.load(tmp_path / f"chunk_{k}.npz") as chunk:
                for name in ("images", "labels"):
                    assert np.array_equal(chunk[name], whole[name][50 * k : 50 * (k + 1)])


def test_quality_tells_copies_from_new_digits(tmp_path: Path) -> None:
    manifest = prepare_mnist(tmp_path, train=100, test=100)
    still = ["--rotation", "0", "--scale", "0", "--shift", "0", "--elastic", "0"]
    for name, options in (("copied", still), ("moved", [])):
        chunk, found = tmp_path / f"{name}.npz", tmp_path / f"{name}.json"
        command = ["--source", str(manifest), "--number", "0", "--size", "100", *options]
        assert main(["deform", *command, "--output", str(chunk)]) == 0
        command = ["--source", str(manifest), "--chunks", str(chunk), "--output", str(found)]
        assert main(["quality", *command]) == 0
    copied, moved = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("copied", "moved"))
    assert copied["nearest"]["close_share"] == 1
    assert moved["nearest"]["close_share"] < 1
    assert max(copied["nearest"]["samples_quantiles"]) == 0
    assert min(moved["nearest"]["samples_quantiles"]) > 1
    assert copied["pictures"]["samples"].startswith("data:image/png;base64,")


def test_a_mistake_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--source", str(tmp_path), "--number", "0", "--output", str(tmp_path / "x.npz")]
    assert main(["deform", *command]) == 1
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    command = [
        "--model",
        str(tmp_path / "none.pt"),
        "--number",
        "0",
        "--output",
        str(tmp_path / "x"),
    ]
    assert main(["chunk", *command]) == 1
    assert "none.pt: no such model" in capsys.readouterr().err
