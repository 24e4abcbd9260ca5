"""Kinds of dataset that are read from a user's own files."""

import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from gammascape.study.keys.samples import Own, Shift
from gammascape.study.reading.fields import Count, Listed, OneOrMore, mistake

# As for models: a default is part of identities and never changes. Paths are in no record: the content counts.

_PREPARED = ("content", "hold_out", "standardize", "classes", "targets")
KINDS = {"folder": "path: photos", "arrays": "path: data.npz", "table": "path: data.csv"}
"""Kind -> example of the key that names its files."""


class Files(Own):
    """Options of all data from files."""

    kind: str
    path: str = Field(default="", exclude=True, examples=["photos"])
    test_path: str = Field(default="", exclude=True, examples=["photos-test"])
    hold_out: float = Field(default=0.2, gt=0, lt=1, examples=[0.2])
    """Share of the samples (of each class) held out for testing, where the files have no test set."""
    standardize: Literal["each", "all", "none"] = "each"
    """Scaling to mean 0 and deviation 1 in the training samples: `each` channel of images or feature, `all`
    numbers together, or `none`; the same goes for numbers to predict."""
    classes: int | None = Field(default=None, ge=2, le=1_000_000, examples=[10])
    """Number of classes; left out: as the targets say, which are classes if they are whole numbers or texts."""
    targets: SkipJsonSchema[Count | None] = None
    content: SkipJsonSchema[str] = ""
    """Digest of the files; this and the next two are found when the study is loaded."""
    shape: SkipJsonSchema[Annotated[tuple[int, ...], Listed]] = ()
    size: SkipJsonSchema[int | None] = None
    about: SkipJsonSchema[Annotated[tuple[str, ...], Listed]] = Field(default=(), exclude=True)

    @property
    def prepared(self) -> str:
        """Name of the folder with the prepared data."""
        options = self.model_dump(mode="json", include={*_PREPARED, *_OPTIONS})
        text = "\n".join(f"{name} {options[name]}" for name in sorted(options))
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def options(self) -> dict[str, Any]:
        """All options, with paths."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "about"}

    def as_trained(self) -> Self:
        """Return the same data without the place of their files."""
        fields = type(self).model_fields
        return self.model_copy(update={n: fields[n].default for n in fields if fields[n].exclude})

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.content:
            self.check_found()
        elif not self.path and not (getattr(self, "x", "") and getattr(self, "y", "")):
            raise mistake(f"no file is named; write for example {KINDS[self.kind]}", "path")
        return self

    def check_found(self) -> None:
        """Refuse options that do not fit what was found in the files."""
        self.check_options("these data have none")


class FolderSpec(Files):
    """Images in folders, one for each class, split or not (see docs/howto/own-data.md)."""

    kind: Literal["folder"]
    """Images in class folders."""
    path: str = Field(default="", exclude=True, examples=["photos"])
    """Folder that has `train` and `test` with a folder for each class in them, or the folders of the classes."""
    test_path: str = Field(default="", exclude=True, examples=["photos-test"])
    """Folder with the class folders of the test set, if it is not path/test."""
    pixels: Count | None = Field(default=None, examples=[32])
    """Side of the squares to which images are resized; left out: all have one size."""
    colour: Literal["rgb", "grey"] | None = None
    """`rgb` or `grey`; left out: grey if all images are."""
    augment: Literal["none", "weak", "strong"] = "none"
    """`weak`: shifts, and flips of colour images; `strong`: crops, rotations, colours, and more."""
    test_shift: Shift | None = None
    """Second test set from another distribution, reported in addition to the clean one."""


class ArraysSpec(Files):
    """Arrays of numpy: `path` of an npz with x and y, and x_test and y_test if there is a test set."""

    kind: Literal["arrays"]
    """Arrays in npz or npy files."""
    path: str = Field(default="", exclude=True, examples=["data.npz"])
    """The npz file."""
    test_path: SkipJsonSchema[Literal[""]] = Field(default="", exclude=True)
    x: str = Field(default="", exclude=True, examples=["x.npy"])
    """File of the inputs (n, ...), npy, in place of path."""
    y: str = Field(default="", exclude=True, examples=["y.npy"])
    """npy file of the targets: classes from 0 (n,), or numbers to predict (n,) or (n, targets)."""
    x_test: str = Field(default="", exclude=True, examples=["x_test.npy"])
    """npy file of the test inputs."""
    y_test: str = Field(default="", exclude=True, examples=["y_test.npy"])
    """npy file of the test targets."""
    channels: Literal["first", "last", "none"] | None = None
    """Axis of the channels of images: `first` (n, C, H, W), `last` (n, H, W, C), `none` (n, H, W)."""
    targets: Count | None = Field(default=None, examples=[1])
    """Number of numbers to predict for each sample, where whole numbers are no classes."""


class TableSpec(Files):
    """A table in a Parquet or CSV file: columns of numbers, one of them the target."""

    kind: Literal["table"]
    """Table in a Parquet, CSV or TSV file."""
    path: str = Field(default="", exclude=True, examples=["data.csv"])
    """The file."""
    test_path: str = Field(default="", exclude=True, examples=["test.csv"])
    """File with the test rows, of the same columns."""
    target: Annotated[tuple[str, ...], OneOrMore()] = Field(examples=["species"])
    """Column of the classes, or one or more columns of numbers to predict."""
    features: Annotated[tuple[str, ...], OneOrMore()] | None = Field(
        default=None, examples=[["height", "age"]]
    )
    """Columns of the inputs; left out: all others."""
    targets: Count | None = Field(default=None, examples=[1])
    """Number of columns to predict, where whole numbers are no classes."""


_OPTIONS = {"pixels", "colour", "channels", "target", "features"}
