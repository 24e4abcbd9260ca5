"""Every mistake a user can make in a study file is answered by one message that says the fix."""

import traceback
from pathlib import Path

import pytest

from gammascape.study import StudyError, load_study

from . import mistakes_of_form, mistakes_of_meaning
from .good_study import DIGITS, GOOD, swap

MISTAKES = {**mistakes_of_form.MISTAKES, **mistakes_of_meaning.MISTAKES}


def message_of(path: Path) -> str:
    with pytest.raises(StudyError) as caught:
        load_study(path)
    shown = "".join(traceback.format_exception_only(caught.value))
    assert "Traceback" not in shown
    assert "pydantic" not in shown
    return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_study_without_mistakes_loads(here: Path) -> None:
    Path("mine.yaml").write_text(GOOD)
    assert load_study("mine.yaml").cells


@pytest.mark.parametrize(("text", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_file_key_and_fix(
    here: Path, text: str, fragments: list[str]
) -> None:
    Path("mine.yaml").write_text(text)
    message = message_of(Path("mine.yaml"))
    assert message.startswith("mine.yaml: ")
    for fragment in fragments:
        assert fragment in message


def test_all_problems_of_a_file_come_in_one_message_in_the_order_of_the_file(here: Path) -> None:
    text = swap("depth: 3", "depth: 1", "steps: 600", "steps: 0")
    Path("mine.yaml").write_text(text.replace("loss: mse", "loss: mae"))
    lines = message_of(Path("mine.yaml")).splitlines()
    assert lines[0] == "mine.yaml: 3 problems"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "models.mlp3.depth",
        "grids[0].loss",
        "grids[0].steps",
    ]


def test_a_missing_file_names_the_nearest_one(here: Path) -> None:
    Path("quickstart.yaml").write_text(GOOD)
    assert "no such file; did you mean quickstart.yaml?" in message_of(Path("quikstart.yaml"))
    Path(".hidden.yaml").touch()
    assert "no such file; . has quickstart.yaml" in message_of(Path("zzz.yaml"))
    Path("config/studies").mkdir(parents=True)
    Path("config/studies/mine.yml").write_text(GOOD)
    for name in (
        "mine.yaml",
        "config/studies/mine.yaml",
        "config/studies/mine",
        "studies/mine.yaml",
    ):
        assert "did you mean config/studies/mine.yml?" in message_of(Path(name))
    Path("config/studies/mine.yml").unlink()
    assert "no folder nowhere" in message_of(Path("nowhere/mine.yaml"))
    for name in ("mine.yaml", "mine.points.yaml"):
        Path("config/studies", name).write_text(GOOD)
    nothing = "no such file, and no study of this name in config/studies"
    assert f"mime: {nothing}; did you mean mine?" in message_of(Path("mime"))
    assert message_of(Path("zzz")).endswith(nothing)


def test_a_folder_is_not_a_study(here: Path) -> None:
    assert "is a folder" in message_of(here)


def test_a_file_of_another_encoding_is_told_to_be_utf8(here: Path) -> None:
    Path("mine.yaml").write_bytes(GOOD.replace("study", "\u00e9tude").encode("latin-1"))
    assert "UTF-8" in message_of(Path("mine.yaml"))


def test_the_name_of_the_file_must_be_fit_for_a_folder(here: Path) -> None:
    Path("My Study.yaml").write_text(GOOD)
    assert "the file's name My Study names the study" in message_of(Path("My Study.yaml"))


def test_a_date_and_a_merge_key_are_no_mistakes(here: Path) -> None:
    text = swap("A study without mistakes.", "2024-10-06", DIGITS, "digits: &d {kind: digits}")
    text = text.replace("grids:", "  clean: {<<: *d, noise: 0}\ngrids:")
    Path("mine.yaml").write_text(text.replace("dataset: digits", "dataset: [digits, clean]"))
    study = load_study("mine.yaml")
    assert study.description == "2024-10-06"
    assert [part.dataset for part in study.slices] == ["digits", "clean"]
