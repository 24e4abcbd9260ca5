"""Kinds of dataset that a study can name, with their options."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from gammascape.study.keys.factories import Factory
from gammascape.study.keys.files import ArraysSpec, FolderSpec, TableSpec
from gammascape.study.keys.generators import GeneratorSpec
from gammascape.study.keys.samples import Images, Own, Published, Samples
from gammascape.study.reading.fields import (
    Amount,
    Count,
    Listed,
    Record,
    Seed,
    factory_kind,
    mistake,
)

# As for models: a default is part of identities and never changes.


def _polynomial(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Drop trailing zeros, which do not change the function; refuse a constant."""
    kept = [value + 0.0 for value in coefficients]  # -0.0 becomes 0.0
    while kept and kept[-1] == 0:
        kept.pop()
    if len(kept) < 2:
        raise mistake(
            "needs a non-zero coefficient after the first: the first is the constant, and a "
            "constant target teaches nothing; write for example [0, 1, 0.5]"
        )
    return tuple(kept)


CONFIGURED_GENERATOR = "generator"
"""Key of the validation context for the generator named in config.yaml."""


class DigitsSpec(Images):
    """The 8x8 digits of scikit-learn, distorted differently each time one is drawn: an endless stream."""

    kind: Literal["digits"]
    """8x8 images of digits, ten classes, freshly distorted."""
    shift: Amount = Field(default=1.0, examples=[1.0])
    """Largest shift, in pixels."""
    rotation: Amount = Field(default=10.0, le=180, examples=[10.0])
    """Largest rotation, in degrees."""
    scale: Amount = Field(default=0.1, lt=1, examples=[0.1])
    """Largest relative change of size."""
    elastic: Amount = Field(default=0.5, examples=[0.5])
    """Standard deviation of the smooth displacement of pixels, in pixels."""
    noise: Amount = Field(default=0.3, examples=[0.3])
    """Standard deviation of the pixel noise, in units of the standardized pixel."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    @property
    def outputs(self) -> int:
        return 10


class TeacherSpec(Samples):
    """Gaussian inputs labelled by a polynomial of one direction: an endless stream."""

    kind: Literal["teacher"]
    """Gaussian vectors labelled by a single-index teacher."""
    inputs: Count = Field(default=16, examples=[16])
    """Dimension D of the inputs."""
    polynomial: Annotated[tuple[float, ...], Listed, AfterValidator(_polynomial)] = Field(
        default=(0.0, 1.0, 0.5), min_length=1, examples=[[0, 1, 0.5]]
    )
    """Coefficients of the normalized Hermite polynomials: constant, linear, quadratic, ..."""
    classes: Count = Field(default=1, examples=[1])
    """1 for regression; from 2, the number of classes, each scored by its own direction."""
    teacher_seed: Seed = Field(default=0, examples=[0])
    """Seed of the teacher's directions."""

    @model_validator(mode="after")
    def _labels(self) -> Self:
        does = {"label_noise": "replaces labels", "mixup": "mixes classes"}
        for name in does if self.classes == 1 else ():
            if getattr(self, name):
                text = "and a regression has none; give the teacher classes: 2 or more"
                raise mistake(f"{does[name]}, {text}", name)
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    @property
    def outputs(self) -> int:
        return self.classes


class MnistSpec(Published):
    """The 60000 training images of MNIST."""

    kind: Literal["mnist"]
    """28x28 images of digits, ten classes."""
    published: ClassVar = Published.Facts((1, 28, 28), 10, 60_000)


class Mnist1mSpec(Published):
    """A million generated digits; the paper's own are not public."""

    kind: Literal["mnist1m"]
    """28x28 images of generated digits, ten classes; tested on MNIST."""
    generator: GeneratorSpec | None = None
    """Generator of the digits; left out: the one under `data: generator:` in config.yaml, or your own chunks if
    that is left out too."""
    published: ClassVar = Published.Facts((1, 28, 28), 10, 1_000_000)

    @model_validator(mode="before")
    @classmethod
    def _as_configured(cls, data: Any, info: ValidationInfo) -> Any:
        configured = (info.context or {}).get(CONFIGURED_GENERATOR)
        if configured is None or not isinstance(data, Mapping) or "generator" in data:
            return data
        return {**data, "generator": configured}

    @property
    def size(self) -> int:
        return self.published.size if self.generator is None else self.generator.images

    @property
    def prepared(self) -> str:
        return self.kind if self.generator is None else f"{self.kind}-{self.generator.key}"


class Cifar10Spec(Published):
    """The 50000 training images of CIFAR-10."""

    kind: Literal["cifar10"]
    """32x32 colour photographs, ten classes."""
    published: ClassVar = Published.Facts((3, 32, 32), 10, 50_000)


class Cifar5mSpec(Published):
    """Five million images of CIFAR-10's classes, drawn from a diffusion model."""

    kind: Literal["cifar5m"]
    """32x32 colour images, ten classes."""
    published: ClassVar = Published.Facts((3, 32, 32), 10, 5_002_240)


class TinyImagenetSpec(Published):
    """The 100000 training images of Tiny ImageNet."""

    kind: Literal["tinyimagenet"]
    """64x64 colour photographs, 200 classes."""
    published: ClassVar = Published.Facts((3, 64, 64), 200, 100_000)


class FactoryDatasetSpec(Factory, Own):
    """Data of your own, made by a function (see docs/howto/own-data.md)."""

    kind: Literal["factory"] = "factory"
    """Kind; needless next to `factory`."""
    shape: Annotated[tuple[Count, ...], Listed] = Field(
        min_length=1, max_length=8, examples=[[1, 8, 8]]
    )
    """Shape of one input: [channels, height, width] for images, [D] for vectors."""
    classes: int | None = Field(default=None, ge=2, le=1_000_000, examples=[10])
    """Number of classes; targets are then class numbers from 0."""
    targets: Count | None = Field(default=None, examples=[1])
    """Number of real targets of each sample, for regression; give this or classes."""
    size: Count | None = Field(default=None, examples=[5000])
    """Number of training samples that the function returns; left out: it returns an endless stream."""

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if (self.classes is None) == (self.targets is None):
            raise mistake(
                "needs classes, for classification, or targets, for regression"
                + (", not both" if self.classes else "; write for example classes: 10")
            )
        self.check_options("a regression has none")
        for name, given in (
            ("repeat", self.repeat),
            ("imbalance", self.imbalance != 1),
            ("validation", self.validation is not None),
        ):
            if self.size is None and given:
                text = "(an endless stream has no end to begin anew at, nor samples to thin or hold out)"
                raise mistake(f"needs the number of samples: write size, or remove it {text}", name)
        return self


class ConstantSpec(Record):
    """One example, input 1 and target 1, which only a toy can learn."""

    kind: Literal["constant"]
    """The example of the toy."""

    input_shape: ClassVar[tuple[int, ...]] = (1,)
    outputs: ClassVar[int] = 1
    """One output: with xent, the logit of a binary label."""
    classification: ClassVar[bool] = True
    """True, since it may be learned with xent as well."""
    samples: ClassVar[int | None] = None
    pass_samples: ClassVar[int | None] = None
    """None: the example does not run out, and passes over it have no meaning."""


DatasetSpec = Annotated[
    Annotated[
        DigitsSpec
        | TeacherSpec
        | MnistSpec
        | Mnist1mSpec
        | Cifar10Spec
        | Cifar5mSpec
        | TinyImagenetSpec
        | FolderSpec
        | ArraysSpec
        | TableSpec
        | FactoryDatasetSpec
        | ConstantSpec,
        Field(discriminator="kind"),
    ],
    BeforeValidator(factory_kind),
]
