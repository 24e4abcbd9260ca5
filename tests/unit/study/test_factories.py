"""Factories in a study: how their files are found, and what of them is part of a cell's identity."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gammascape.study import Cell, Study, StudyError, load_study
from gammascape.study.keys.datasets import FactoryDatasetSpec
from gammascape.usercode.find import meaning_hash

STUDY = """\
models:
  net: {factory: "my_net:make_net", width: 16, arguments: {depth: 2}}
datasets:
  digits: {kind: digits}
grids:
  - model: net
    dataset: digits
    loss: mse
    gamma: {log10: [-3, 0]}
    eta: {log10: [-1]}
    batch_size: 32
    steps: 10
"""
NET = """\
from layers import norm

def make_net(input_shape, outputs, width, depth=1):
    return norm(depth)
"""
LAYERS = "def norm(n):\n    return n\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a study and its modules into a folder; the working directory is another one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def written(study: str = STUDY, folder: str = "studies", **modules: str) -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for name, text in ({"my_net": NET, "layers": LAYERS} | modules).items():
            (place / f"{name}.py").write_text(text)
        (place / "mine.yaml").write_text(study)
        return place / "mine.yaml"

    return written


def identities(study: Study) -> list[str]:
    return [cell.identity for cell in study.cells]


def message(path: Path) -> str:
    with pytest.raises(StudyError) as caught:
        load_study(path)
    return str(caught.value)


def test_a_cell_names_the_files_of_its_factory_and_what_they_import(write: Write) -> None:
    cell = load_study(write()).cells[0]
    assert cell.record()["model"]["sources"] == {
        "layers.py": meaning_hash(LAYERS.encode()),
        "my_net.py": meaning_hash(NET.encode()),
    }
    assert Cell.from_canonical(cell.canonical()) == cell


@pytest.mark.parametrize(
    "modules",
    [
        {"my_net": NET.replace("depth=1", "depth=2")},
        {"layers": LAYERS.replace("return n", "return n + 1")},
        {"layers": LAYERS.replace("norm(n)", "norm(m)").replace("return n", "return m")},
    ],
    ids=["its own", "an imported one", "a renamed variable"],
)
def test_editing_a_file_makes_other_cells(write: Write, modules: dict[str, str]) -> None:
    before = load_study(write())
    after = load_study(write(**modules))
    assert not {*identities(before)} & {*identities(after)}
    assert not {c.family for c in before.cells} & {c.family for c in after.cells}


def test_comments_layout_place_and_unused_files_make_no_other_cells(write: Write) -> None:
    before = identities(load_study(write()))
    commented = NET.replace("    return", "\n    # What it returns.\n    return")
    assert identities(load_study(write(my_net=commented, other="x = 1\n"))) == before
    moved = write(folder="elsewhere").parent
    assert identities(load_study(moved / "mine.yaml")) == before


def test_the_hash_does_not_depend_on_what_this_version_of_python_writes_about_a_tree() -> None:
    # Fixed text: the hash of this small module in every version of Python.
    assert meaning_hash(b"def f(a, *, b=None):\n    return [*a, {'x': b}]\n").startswith(
        "052d7ebebb"
    )


def test_the_expected_degree_retrains_nothing(write: Write) -> None:
    before = load_study(write())
    after = load_study(write(STUDY.replace("width: 16", "width: 16, depth: 4")))
    assert identities(before) == identities(after)
    assert after.slices[0].depth_exponent == 4


def test_the_order_of_patterns_is_part_of_the_identity_and_of_the_record(write: Write) -> None:
    orders = ['{"b*": input, b.c: hidden}', '{b.c: hidden, "b*": input}']
    cells = [load_study(write(STUDY.replace("16,", f"16, roles: {o},"))).cells[0] for o in orders]
    assert cells[0].identity != cells[1].identity
    for cell, first in zip(cells, ("b*", "b.c"), strict=True):
        again = Cell.from_canonical(cell.canonical())
        assert again.canonical() == cell.canonical()
        assert again.record()["model"]["roles"][0][0] == first


def test_names_without_a_pattern_keep_the_record_they_had(write: Write) -> None:
    # Numbers are names of layers of nn.Sequential; YAML 1.1 would take them, and `on`, for something else.
    study = STUDY.replace("16,", "16, roles: {3: readout, 0.10: hidden, on: input},")
    record = load_study(write(study)).cells[0].record()
    assert record["model"]["roles"] == {"3": "readout", "0.10": "hidden", "on": "input"}
    again = STUDY.replace("16,", '16, roles: {"on": input, "0.10": hidden, "3": readout},')
    assert identities(load_study(write(again))) == identities(load_study(write(study)))


def test_arguments_roles_and_width_are_part_of_the_identity(write: Write) -> None:
    found = {identities(load_study(write()))[0]}
    for new in (
        "width: 32",
        "width: 16, batched: false",
        "width: 16, roles: {a: readout}",
    ):
        found.add(identities(load_study(write(STUDY.replace("width: 16", new))))[0])
    found.add(identities(load_study(write(STUDY.replace("depth: 2", "depth: 3"))))[0])
    assert len(found) == 5


def test_modules_of_the_working_directory_are_found_after_those_beside_the_study(
    write: Write,
) -> None:
    path = write()
    beside = load_study(path)
    shutil.copy(path.parent / "layers.py", "layers.py")
    (path.parent / "layers.py").unlink()
    assert identities(load_study(path)) == identities(beside)
    (path.parent / "layers.py").write_text(LAYERS + "x = 1\n")
    assert identities(load_study(path)) != identities(beside)


def test_packages_and_relative_imports_are_followed(write: Write) -> None:
    path = write(STUDY.replace("my_net:make_net", "nets.plain:make_net"))
    package = path.parent / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plain.py").write_text(NET.replace("from layers", "from .parts.norms"))
    (package / "parts").mkdir()
    (package / "parts/norms.py").write_text("from ..deep import *\n" + LAYERS)
    (package / "deep.py").write_text("import torch, math\n")
    sources = load_study(path).cells[0].record()["model"]["sources"]
    assert set(sources) == {
        "nets/__init__.py",
        "nets/plain.py",
        "nets/parts/norms.py",
        "nets/deep.py",
    }


def test_small_gamma_is_computed_in_float64_whatever_the_form(write: Write) -> None:
    for form in ("fastest", "difference", "float64"):
        study = load_study(write(STUDY + f"small_gamma: {{form: {form}}}\n"))
        assert [cell.dtype for cell in study.cells] == ["float64", "float32"]


MISTAKES: dict[str, tuple[str, str, list[str]]] = {
    "no such module": (
        "my_net:make_net",
        "my_nett:make_net",
        [
            "models.net.factory: no module my_nett: there is no",
            "my_nett.py or my_nett.py",
            "my_net?",
        ],
    ),
    "no such function": (
        "my_net:make_net",
        "my_net:make_nett",
        ["my_net.py has no function make_nett; did you mean make_net? it defines make_net"],
    ),
    "a path": (
        "my_net:make_net",
        "nets/my-net.py:make_net",
        ["is not module:function; write for example nets.my_net:make_net"],
    ),
    "no function": ("my_net:make_net", "my_net", ["write for example my_net:make_net"]),
    "a name of python": ("my_net:make_net", "random:make_net", ["rename your file"]),
    "unknown argument": (
        "depth: 2",
        "depht: 2",
        [
            "models.net.arguments: make_net takes no argument depht; its parameters are input_shape, "
        ],
    ),
    "argument that is given": (
        "depth: 2",
        "width: 2",
        ["models.net.arguments: width is always given to the function"],
    ),
    "argument that is not plain": (
        "depth: 2",
        "depth: .nan",
        ["models.net.arguments.depth: must consist of finite numbers"],
    ),
    "unknown role": (
        "width: 16",
        "width: 16, roles: {a: output}",
        ['models.net.roles.a: unknown "output"; ', "write one of input, hidden, readout"],
    ),
    "sources by hand": (
        "width: 16",
        "width: 16, sources: {a.py: b}",
        ["models.net.sources: is found out from the files"],
    ),
    "no width": (", width: 16", "", ["models.net.width: missing (Base width N"]),
    "unknown key": (
        "width: 16",
        "widht: 16",
        ["models.net.widht: unknown key; did you mean width?"],
    ),
}


@pytest.mark.parametrize(("old", "new", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_key_and_fix(
    write: Write, old: str, new: str, fragments: list[str]
) -> None:
    assert old in STUDY
    text = message(write(STUDY.replace(old, new)))
    for fragment in fragments:
        assert fragment in text


def test_a_file_that_is_not_python_is_named_with_its_line(write: Write) -> None:
    text = message(write(layers="x = 1\ndef norm(:\n"))
    assert "models.net.factory: " in text
    assert "layers.py, line 2: " in text


def test_a_function_that_needs_more_arguments_says_which(write: Write) -> None:
    text = message(write(my_net="def make_net(input_shape, outputs, width, depth, heads): ...\n"))
    assert "make_net needs an argument heads: write arguments: {heads: ...}" in text
    text = message(write(my_net="def make_net(shape, outputs, width, depth): ...\n"))
    # What the library passes comes first: naming `shape` under arguments would not help.
    assert "make_net takes no argument input_shape; its parameters are shape, outputs," in text


DATA = """\
def make_data(n=1): ...
"""


def dataset(write: Write, options: str) -> FactoryDatasetSpec:
    text = STUDY.replace("{kind: digits}", f'{{factory: "my_data:make_data", {options}}}')
    spec = load_study(write(text, my_data=DATA)).slices[0].dataset_spec
    assert isinstance(spec, FactoryDatasetSpec)
    return spec


def test_a_dataset_says_what_a_study_must_know_before_its_code_runs(write: Write) -> None:
    spec = dataset(write, "shape: [3, 4], classes: 5, size: 400")
    assert (spec.input_shape, spec.outputs, spec.samples) == ((3, 4), 5, 400)
    assert dataset(write, "shape: [7], targets: 2").samples is None
    assert dataset(write, "shape: [7], targets: 2, size: 400, repeat: true").samples is None


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ("shape: [7]", "datasets.digits: needs classes, for classification, or targets"),
        ("shape: [7], classes: 2, targets: 1", "datasets.digits: needs classes, for"),
        ("classes: 2", "datasets.digits.shape: missing"),
        ("shape: [7], classes: 2, repeat: true", "datasets.digits.repeat: needs the number"),
        (
            "shape: [7], targets: 1, label_noise: 0.1",
            "datasets.digits.label_noise: is about classes",
        ),
        ("shape: [7], classes: 2, imbalance: 0.1", "datasets.digits.imbalance: needs the number"),
        ("shape: [7], classes: 2, validation: 0.1", "datasets.digits.validation: needs the number"),
        ("shape: [7], classes: 2, size: 1, validation: 0.1", "leaves nothing to train on"),
        ("shape: [7], classes: 2, size: 350, validation: 0.1", "digits has 315, each used once"),
        (
            "shape: [7], classes: 2, size: 9, training_samples: 10",
            "more than the 9 of this dataset",
        ),
        ("shape: [7], classes: 2, size: 300", "10 steps of batch size 32 need 320 samples"),
        ("shape: [7], classes: 2, arguments: {m: 1}", "make_data takes no argument m"),
    ],
)
def test_options_of_a_dataset_that_do_not_fit_are_named(
    write: Write, options: str, fragment: str
) -> None:
    with pytest.raises(StudyError) as caught:
        dataset(write, options)
    assert fragment in str(caught.value)


def test_a_regression_has_no_training_accuracy(write: Write) -> None:
    text = STUDY.replace("{kind: digits}", "{kind: teacher}") + "observables: [training_accuracy]\n"
    with pytest.raises(StudyError, match=r"training_accuracy needs classes, .* out for digits"):
        load_study(write(text))


def test_cross_entropy_on_several_real_targets_is_refused(write: Write) -> None:
    text = STUDY.replace("loss: mse", "loss: xent").replace(
        "{kind: digits}", '{factory: "my_data:make_data", shape: [7], targets: 3}'
    )
    assert "xent needs classes, and digits is a regression" in message(write(text, my_data=DATA))
