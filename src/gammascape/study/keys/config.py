"""Keys of the workflow's configuration, config/config.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from gammascape.study.keys.generators import GeneratorSpec
from gammascape.study.reading.errors import Problem, StudyError, study_error
from gammascape.study.reading.explain import explain
from gammascape.study.reading.fields import Listed, OneOrMore, Record, mistake
from gammascape.study.reading.yaml_reader import Source, check_size, read_yaml

CONFIG_FILE = "config/config.yaml"


def _flag(value: object) -> object:
    # Inside a mapping in --config, Snakemake leaves every value as text.
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _two(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) != 2 or values[0] == values[1]:
        raise mistake("needs two different numbers, black and white")
    return values


class Data(Record):
    """Folders with the published files of datasets."""

    download: Annotated[bool, BeforeValidator(_flag)] = True
    """Fetch published files that are missing from their folder; false: only read existing ones."""
    mnist: str = Field(default="data/mnist", min_length=1, examples=["data/mnist"])
    """The four idx files of MNIST, each plain or with .gz, in this folder or in its MNIST/raw (torchvision)."""
    cifar10: str = Field(default="data/cifar10", min_length=1, examples=["data/cifar10"])
    """CIFAR-10: the archive, python or binary version, or its unpacked batches, each plain or with .gz or .xz."""
    cifar5m: str = Field(default="data/cifar5m", min_length=1, examples=["data/cifar5m"])
    """The six parts of CIFAR-5M (over 12 GB to fetch, 18 GB when prepared)."""
    tinyimagenet: str = Field(
        default="data/tinyimagenet", min_length=1, examples=["data/tinyimagenet"]
    )
    """The zip of Tiny ImageNet, or its unpacked folder; images may be sorted into folders by class."""

    mnist1m: str = Field(default="data/mnist1m", min_length=1, examples=["data/mnist1m"])
    """Ten chunks of MNIST-1M, which is not public: the authors' files, or chunks of your own."""
    mnist1m_pixels: Annotated[tuple[float, ...], Listed, AfterValidator(_two)] | None = Field(
        default=None, examples=[[-1, 1]]
    )
    """Values of a black and a white pixel in these chunks; left out: recognized if they are 0 and 1, -1 and 1,
    0 and 255, or MNIST's after standardization by its mean and deviation; any others are refused."""
    generator: GeneratorSpec | None = Field(default=None, examples=[{"kind": "deform"}])
    """Generator of MNIST-1M for studies that name none; left out: it is read from the chunks in mnist1m."""

    @property
    def chunks(self) -> str | list[str]:
        """Folder of chunks of MNIST-1M and how to read them, as arguments of the preparation."""
        if self.mnist1m_pixels is None:
            return self.mnist1m
        # Fixed point, since argparse takes -1e-05 for an option.
        return [self.mnist1m, "--pixels", *(f"{value:.9f}" for value in self.mnist1m_pixels)]

    def source(self, dataset: str) -> str | None:
        """Folder with the published files of a dataset; None for a dataset that needs none."""
        folder = getattr(self, dataset, None)
        return folder if isinstance(folder, str) else None


class Config(Record):
    """Configuration: the studies to run, and the folders of data."""

    study: Annotated[tuple[str, ...], OneOrMore()] = Field(
        examples=["config/studies/quickstart.yaml"]
    )
    """Path, or list of paths, of study files; the file's name names the study."""
    data: Data = Field(default=Data())
    """Folders with data files."""

    record_host: Annotated[bool, BeforeValidator(_flag)] = True
    """Write the name of the machine into the manifests of its results."""
    so_far: Annotated[bool, BeforeValidator(_flag)] = True
    """While cells are trained, write tables and an explorer of the finished ones to `results/so-far`, in at
    most 2 % of the time."""

    @property
    def studies(self) -> tuple[Path, ...]:
        """Paths of the study files."""
        return tuple(map(Path, self.study))


def check_file(path: str) -> str | None:
    """Problem of a configuration as a file, before its keys are checked, or None."""
    if not Path(path).exists():
        return None
    try:
        is_mapping = isinstance(read_yaml(path).data, dict)
    except StudyError as error:
        return str(error)
    text = f"{path}: write keys at the top level, as in `study: config/studies/quickstart.yaml`"
    return None if is_mapping else text


def load_config(values: Mapping[str, Any], files: Sequence[str] = ()) -> Config:
    """Check the mapping that Snakemake read from its configuration and from the `files` of --configfile.

    Raises StudyError, naming the files, if the mapping is invalid.
    """
    named = ", ".join(files)
    source = f"{named}, over {CONFIG_FILE}" if files else CONFIG_FILE
    given = Source(source, dict(values))
    check_size(given)
    for key in sorted({"grids", "models"}.intersection(values)):
        text = f"--config study={named or 'FILE'}, not by --configfile"
        text = f"is a key of studies: name the study's file by {text}"
        raise study_error(named or source, [Problem((key,), text)])
    try:
        config = Config.model_validate(given.data)
    except ValidationError as error:
        raise study_error(source, explain(error, given, Config)) from None
    first: dict[str, str] = {}
    for path in config.study:
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            text = f"{other} and {path} would both write results/{Path(path).stem}; rename one"
            raise study_error(source, [Problem(("study",), text)])
    return config
