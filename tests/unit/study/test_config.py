"""The workflow's configuration is as strict as a study."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gammascape.data.prepare import __main__
from gammascape.study import StudyError, load_config
from gammascape.study.keys.config import check_file

ROOT = Path(__file__).parents[3]


def test_the_configuration_of_the_repository_loads() -> None:
    config = load_config(yaml.safe_load((ROOT / "config/config.yaml").read_text()))
    assert config.studies == (Path("config/studies/quickstart.yaml"),)
    assert config.data.mnist == "data/mnist"


def test_one_study_or_a_list_of_them() -> None:
    assert load_config({"study": "a.yaml"}) == load_config({"study": ["a.yaml"]})
    assert load_config({"study": ["a.yaml", "b.yaml"]}).study == ("a.yaml", "b.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    {
        b"study: a.yaml": None,
        b"study: [\xff]": "not UTF-8 text",
        b"study: [a\nfoo: b: c": "line 2, column 4",
        b"- study": "write keys at the top level",
        b"": "is empty",
    }.items(),
)
def test_a_file_is_refused_before_snakemake_reads_it(
    tmp_path: Path, content: bytes, said: str | None
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    problem = check_file(str(path))
    assert problem is None if said is None else problem and said in problem
    assert check_file(str(tmp_path / "another.yaml")) is None


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ({}, ["study: missing", "write for example study: config/studies/quickstart.yaml"]),
        ({"studies": "a.yaml"}, ["studies: unknown key; did you mean study?"]),
        ({"study": None}, ["study: has no value"]),
        ({"study": []}, ["study: is an empty list"]),
        ({"study": 3}, ["study: needs text, got 3"]),
        ({"study": True}, ["study: needs text, got true", "booleans"]),
        ({"study": "a.yaml", "data": "data"}, ['data: needs a mapping, got "data"']),
        ({"study": "a.yaml", "data": {"mist": "x"}}, ["data.mist: unknown key; did you mean mnist"]),
        ({"study": "a.yaml", "data": {"mnist": ""}}, ["data.mnist: is empty"]),
        ({"study": "a.yaml", "data": {"mnist1m_pixels": [1, 1]}}, ["mnist1m_pixels: needs two diff"]),
        ({"study": "a.yaml", "data": {"mnist1m_pixels": "0..1"}}, ["mnist1m_pixels: needs a list"]),
        ({"study": ["x/a.yaml", "y/a.yaml"]}, ["study: x/a.yaml and y/a.yaml", "results/a"]),
        ({"study": "a.yaml", "grids": []}, ["--config study=FILE, not by --configfile"]),
        ({"study": "a.yaml", "cores": 4}, ["cores: unknown key; the keys here are study, data"]),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_the_key_and_the_fix(
    values: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(StudyError) as caught:
        load_config(values)
    message = str(caught.value)
    assert message.startswith("config/config.yaml: 1 problem\n")
    for fragment in fragments:
        assert fragment in message


def test_a_study_given_as_configuration_is_named() -> None:
    with pytest.raises(StudyError) as caught:
        load_config({"study": "a.yaml", "grids": []}, ["mine.yaml"])
    assert str(caught.value).startswith("mine.yaml: 1 problem\n")
    assert "--config study=mine.yaml, not by --configfile" in str(caught.value)
    with pytest.raises(StudyError, match=r"^mine.yaml, over config/config.yaml: 1 problem\n"):
        load_config({"study": "a.yaml", "cores": 4}, ["mine.yaml"])


def test_the_pixels_of_chunks_are_arguments_of_their_preparation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Data that are prepared already are not prepared again where the key is left out.
    assert load_config({"study": "a.yaml"}).data.chunks == "data/mnist1m"
    config = load_config({"study": "a.yaml", "data": {"mnist1m_pixels": [-0.00001, 1]}})
    folder, *options = config.data.chunks
    given: dict[str, Any] = {}
    prepare = {"mnist1m": lambda *_, **options: given.update(options)}
    monkeypatch.setattr(__main__, "PREPARERS", prepare)
    __main__.main(["mnist1m", "--output=x", "--mnist=x", "--source", folder, *options])
    assert given["pixels"] == [-0.00001, 1.0]


def test_a_flag_of_the_command_line_is_text() -> None:
    # As Snakemake reads --config 'data={download: false}'.
    values = {"study": "config/studies/quickstart.yaml", "data": {"download": "false"}}
    assert load_config(values).data.download is False
    with pytest.raises(StudyError, match="download"):
        load_config({**values, "data": {"download": "perhaps"}})
