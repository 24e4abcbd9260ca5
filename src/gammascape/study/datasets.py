"""The kinds of dataset a study can name, with their options."""

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gammascape.study.fields import Count, Listed, Record, Seed, mistake

# As for models: a default is part of identities and never changes.


def _polynomial(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Drop trailing zeros, which name the same function; refuse a constant."""
    kept = [value + 0.0 for value in coefficients]  # -0.0 becomes 0.0
    while kept and kept[-1] == 0:
        kept.pop()
    if len(kept) < 2:
        raise mistake(
            "needs a non-zero coefficient after the first: the first is the constant, and a "
            "constant target teaches nothing; write for example [0, 1, 0.5]"
        )
    return tuple(kept)


Amount = Annotated[float, Field(ge=0), AfterValidator(lambda value: value + 0.0)]


class Samples(Record):
    """What all kinds of dataset share."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) for images, (D,) for vectors."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of outputs a network needs: 1 for regression, else the number of classes."""

    @property
    def samples(self) -> int | None:
        """Number of training samples in one pass; None for an endless stream."""
        return None


class DigitsSpec(Samples):
    """The 8x8 digits of scikit-learn, distorted anew each time one is drawn: an endless stream."""

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

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    @property
    def outputs(self) -> int:
        return self.classes


class MnistSpec(Samples):
    """The 60000 training images of MNIST, each used once; the files are the user's own."""

    kind: Literal["mnist"]
    """28x28 images of digits, ten classes, one pass; see data.mnist in the configuration."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, 28, 28)

    @property
    def outputs(self) -> int:
        return 10

    @property
    def samples(self) -> int | None:
        return 60000


DatasetSpec = Annotated[DigitsSpec | TeacherSpec | MnistSpec, Field(discriminator="kind")]
