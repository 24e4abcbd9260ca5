"""The keys of the workflow's configuration, config/config.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from gammascape.study.errors import Problem, study_error
from gammascape.study.explain import explain
from gammascape.study.fields import OneOrMore, Record
from gammascape.study.yaml_reader import Source

CONFIG_FILE = "config/config.yaml"


class Data(Record):
    """Folders with the files of datasets that are the user's own."""

    mnist: str = Field(default="data/mnist", min_length=1, examples=["data/mnist"])
    """Folder with the four files of MNIST as they are published."""


class Config(Record):
    """The configuration: which studies to run and where the data are."""

    study: Annotated[tuple[str, ...], OneOrMore()] = Field(
        examples=["config/studies/quickstart.yaml"]
    )
    """Path, or list of paths, of study files; the file's name names the study."""
    data: Data = Field(default=Data())
    """Folders with data files."""

    @property
    def studies(self) -> tuple[Path, ...]:
        """Paths of the study files."""
        return tuple(map(Path, self.study))


def load_config(values: Mapping[str, Any], source: str = CONFIG_FILE) -> Config:
    """Check the mapping that Snakemake read from its configuration.

    Raises StudyError, naming `source`, if the mapping cannot be used.
    """
    data = dict(values)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise study_error(source, explain(error, Source(source, data), Config)) from None
    first: dict[str, str] = {}
    for path in config.study:
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            text = f"{other} and {path} would both write results/{Path(path).stem}; rename one"
            raise study_error(source, [Problem(("study",), text)])
    return config
