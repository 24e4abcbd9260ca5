"""The coordinate check: right for the built-in kinds, and it finds a wrong role and says where to look."""

from pathlib import Path

import pytest

from gammascape.cli import main

from ..own import HEAD, MLP

STUDY = """\
models:
  own: {{factory: "net:make", width: 16{more}}}
  mlp: {{kind: mlp, depth: 3, width: 32}}
  narrow: {{kind: mlp, depth: 3, width: 16}}
  cnn: {{kind: cnn, width: 8, padding: 1}}
datasets:
  digits: {{kind: digits}}
  mnist: {{kind: mnist}}
grids:
  - &grid
    model: [own, mlp, narrow, cnn]
    dataset: digits
    loss: mse
    gamma: {{log10: 0}}
    eta: {{log10: 0}}
    batch_size: 8
    steps: 8
  - {{<<: *grid, model: mlp, dataset: mnist, loss: xent}}
"""


def check(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, *options: str, more: str = ""
) -> tuple[int, dict[str, str], str]:
    """Exit status, verdict of each layer, and all that was printed."""
    (folder / "net.py").write_text(HEAD + MLP)
    (folder / "mine.yaml").write_text(STUDY.format(more=more))
    status = main(["check-model", str(folder / "mine.yaml"), model, *options])
    printed = capsys.readouterr()
    lines = printed.out.partition("\nlayer ")[2].partition("\n\n")[0].splitlines()[1:]
    verdicts = {line.split()[0]: line.split("  ")[-1].strip() for line in lines}
    return status, verdicts, printed.out + printed.err


@pytest.mark.parametrize(
    ("model", "widths", "layers"),
    [
        ("mlp", "32,64,128,256", ["layer1", "layer2", "f"]),
        ("cnn", "8,16,32", ["conv1", "conv2", "linear", "f"]),
        ("own", "32,64,128,256", ["first", "second", "head", "f"]),
    ],
)
def test_every_layer_is_right(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    widths: str,
    layers: list[str],
) -> None:
    status, verdicts, _ = check(tmp_path, capsys, model, "--widths", widths)
    assert verdicts == dict.fromkeys(layers, "right")
    assert status == 0


def test_a_width_that_cannot_tell_is_followed_by_larger_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdicts, text = check(tmp_path, capsys, "narrow", "--widths", "16,32,64,128")
    assert (status, verdicts["f"][:8]) == (1, "vanishes")
    assert "by chance" not in text
    _, _, text = check(tmp_path, capsys, "narrow", "--widths", "16,32", "--seeds", "1")
    assert "1 seed and widths from 16 to 32 can make a right layer look wrong by chance" in text
    status, verdicts, text = check(tmp_path, capsys, "narrow")
    assert (status, set(verdicts.values())) == (0, {"right"})
    assert "N=512" in text


def test_a_hidden_layer_taken_for_a_readout_vanishes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = ("--widths", "16,32,64,128")
    status, verdicts, text = check(
        tmp_path, capsys, "own", *widths, more=", roles: {second: readout}"
    )
    assert status == 1
    assert verdicts["second"].startswith("vanishes with width: its size goes as N^-0.")
    assert verdicts["f"].startswith("vanishes with width")
    assert "Begin with second, the first whose size" in text


def test_a_readout_taken_for_a_hidden_layer_grows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdicts, text = check(tmp_path, capsys, "own", more=", roles: {head: hidden}")
    assert status == 1
    assert verdicts["f"].startswith("grows with width: its change goes as N^")
    assert "begin with the last layer, head" in text


def test_training_that_is_not_finite_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdicts, text = check(
        tmp_path, capsys, "own", "--eta", "1e30", "--widths", "16,32", "--seeds", "1"
    )
    assert status == 1
    assert verdicts["f"] == "grows with width: its change is not finite"
    assert "Training diverges at eta = 1e+30 at every width" in text
    assert "role under" not in text


def test_data_that_are_not_prepared_are_replaced_by_normal_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, text = check(tmp_path, capsys, "mlp", "--dataset", "mnist", "--widths", "64,256")
    assert status == 0
    assert "loss xent" in text


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["owl"], "mine.yaml: no model is named owl; there are own, mlp, narrow, cnn"),
        (["cnn", "--dataset", "mnist"], "no grid has cnn on mnist; there are digits"),
    ],
)
def test_a_name_that_is_not_there_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fragment: str
) -> None:
    status, _, text = check(tmp_path, capsys, *arguments)
    assert status == 2
    assert fragment in text


def test_a_network_that_cannot_be_trained_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, text = check(tmp_path, capsys, "own", more=", roles: {third: hidden}")
    assert status == 2
    assert "mine.yaml: models.own: roles.third: no layer with weights has this name" in text


SIZES = """\
class Net(nn.Module):
    def __init__(self, input_shape, outputs, width, inner=0):
        super().__init__()
        self.places = nn.Embedding(1, width)
        self.first = nn.Linear(64, width)
        self.inner = nn.Linear(width, inner or width)
        self.head = nn.Linear(inner or width, outputs)

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)) + self.places.weight)
        return self.head(torch.relu(self.inner(h)))
"""


@pytest.mark.parametrize(
    ("inner", "fragments"),
    [
        (0, ["Not measured, because no output has a row for each sample: places."]),
        (8, ["inner has 8 outputs at every width", "Begin with inner, whose size does not follow"]),
    ],
)
def test_what_is_not_measured_and_what_does_not_follow_the_width_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inner: int, fragments: list[str]
) -> None:
    (tmp_path / "net.py").write_text(HEAD + SIZES)
    study = STUDY.format(more=f", arguments: {{inner: {inner}}}").replace("net:make", "net:Net")
    (tmp_path / "mine.yaml").write_text(study)
    status = main(["check-model", str(tmp_path / "mine.yaml"), "own", "--widths", "64,256"])
    printed = capsys.readouterr().out
    assert status == (inner > 0)
    assert "digits: endless training and 359 test samples of shape [1, 8, 8]" in printed
    assert "All layers are right" not in printed
    for fragment in fragments:
        assert fragment in printed


@pytest.mark.parametrize(
    ("net", "fragment"),
    [
        (
            "class Net(nn.Module):\n    def __init__(self, dim): ...\n",
            "own.arguments: Net takes no argument",
        ),
        (
            "class A:\n    def __init__(self, n): ...\nclass Net(A): ...\n",
            "unexpected keyword argument",
        ),
    ],
)
def test_a_wrong_signature_is_answered_with_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], net: str, fragment: str
) -> None:
    (tmp_path / "net.py").write_text(HEAD + net)
    (tmp_path / "mine.yaml").write_text(STUDY.format(more="").replace("net:make", "net:Net"))
    assert main(["check-model", str(tmp_path / "mine.yaml"), "own"]) == 2
    told = capsys.readouterr().err
    assert fragment in told
    assert "made by make_net(input_shape, outputs, width, **arguments), a function or class" in told
