"""Options of the stream and numbers of samples, shared by several kinds of dataset."""

from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from gammascape.numerics import validation_size
from gammascape.study.reading.fields import Amount, Count, Record, mistake


class Shift(Record):
    """Test set from another distribution, evaluated in addition to the clean one."""

    kind: Literal["rotation", "noise", "contrast"]
    """`rotation` turns each image, `noise` adds Gaussian noise, `contrast` scales an image about its mean."""
    strength: float = Field(gt=0, examples=[30.0])
    """Strength: degrees, standard deviation in units of the standardized pixel, or factor, by kind."""


class Samples(Record):
    """Options and properties shared by all kinds of dataset."""

    label_noise: float = Field(default=0.0, ge=0, lt=1, examples=[0.2])
    """Share of the training labels permanently replaced by another class."""
    training_samples: Count | None = Field(default=None, examples=[1000])
    """Train repeatedly on this many fixed samples; left out: on all, each used once."""
    mixup: Amount = Field(default=0.0, examples=[0.2])
    """Mix each sample and its target with the previous one in the batch, by a share drawn from Beta(mixup, mixup)
    in each step; 0 is off. Label noise and augmentation come first."""
    # In no record where it is not given: records of before keep their bytes.
    validation: float | None = Field(
        default=None, gt=0, lt=1, examples=[0.1], exclude_if=lambda share: share is None
    )
    """Share of the training samples, 5000 at most, never trained on: eta and gamma are chosen on them, and scored
    on the test set; left out: they are chosen on the test set too."""

    @model_validator(mode="after")
    def _some_left(self) -> Self:
        if self.validation is not None and (self.training_samples or getattr(self, "size", 0)) == 1:
            raise mistake("leaves nothing to train on out of one sample; remove it", "validation")
        return self

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (C, H, W) for images, (D,) for vectors."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of outputs a network needs: 1 for regression, else the number of classes."""

    @property
    def classification(self) -> bool:
        """True if targets are classes."""
        return self.outputs > 1

    @property
    def samples(self) -> int | None:
        """Number of training samples before the data end; None for an endless or repeated stream."""
        size: int | None = getattr(self, "size", None)
        if size is None or self.training_samples is not None or getattr(self, "repeat", False):
            return None
        # Only the loader knows the number of samples in an unbalanced choice.
        return self._training_count(size) if getattr(self, "imbalance", 1) == 1 else None

    @property
    def pass_samples(self) -> int | None:
        """Number of different training samples before a stream repeats; None if all are new."""
        size: int | None = getattr(self, "size", None)
        if size is None or self.training_samples is not None:
            return (
                None
                if self.training_samples is None
                else self._training_count(self.training_samples)
            )
        return self._training_count(
            kept_samples(size, getattr(self, "imbalance", 1.0), self.outputs)
        )

    def _training_count(self, samples: int) -> int:
        return samples - validation_size(samples, self.validation)

    @property
    def class_shares(self) -> tuple[float, ...]:
        """Share of each class among training labels, (C,), if the source has all classes equally often."""
        kept = kept_shares(getattr(self, "imbalance", 1.0), self.outputs)
        noise = self.label_noise
        return tuple(
            (1 - noise) * share + noise * (1 - share) / (self.outputs - 1)
            for share in (own / sum(kept) for own in kept)
        )


class Own(Samples):
    """Options and properties of a user's own data."""

    if TYPE_CHECKING:  # each kind documents them in its own words
        classes: int | None
        targets: int | None
        shape: tuple[int, ...]
        size: int | None
    repeat: bool = False
    """Start again when all samples have been used; training is then no longer online, and tables say so."""
    imbalance: float = Field(default=1.0, gt=0, le=1, examples=[0.1])
    """Imbalance r: class c of C keeps a share r^(c / (C - 1)) of its samples; 1 keeps all."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def outputs(self) -> int:
        return self.classes or self.targets or 1

    @property
    def classification(self) -> bool:
        return self.classes is not None

    def check_options(self, what: str) -> None:
        """Refuse options about classes if there are none, and more samples than there are."""
        for name, off in (("label_noise", 0), ("mixup", 0), ("imbalance", 1)):
            if self.classes is None and getattr(self, name) != off:
                raise mistake(f"is about classes, and {what}; remove it", name)
        if self.size is not None:
            check_passes(self.training_samples, self.size, self.repeat, "this dataset")


class Images(Samples):
    """Options of all kinds of images."""

    imbalance: float = Field(default=1.0, gt=0, le=1, examples=[0.1])
    """Imbalance r: class c of C keeps a share r^(c / (C - 1)) of its images; 1 keeps all."""
    test_shift: Shift | None = None
    """Second test set from another distribution, reported in addition to the clean one."""
    kind: str

    @property
    def prepared(self) -> str:
        """Name of the folder with the prepared data."""
        return self.kind


class Published(Images):
    """Images of a published set, each used once by default."""

    class Facts(NamedTuple):
        """Properties that are the same for every study."""

        shape: tuple[int, ...]
        classes: int
        size: int
        """Number of training images."""

    published: ClassVar[Facts]
    augment: Literal["none", "weak", "strong"] = "none"
    """`weak`: shifts, and flips of colour images; `strong`: crops, rotations, colours, and more."""
    repeat: bool = False
    """Start again when all images have been used; training is then no longer online, and tables say so."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.published.shape

    @property
    def outputs(self) -> int:
        return self.published.classes

    @property
    def size(self) -> int:
        """Number of training images."""
        return self.published.size

    @model_validator(mode="after")
    def _enough(self) -> Self:
        check_passes(self.training_samples, self.size, self.repeat, self.kind)
        return self


def check_passes(wanted: int | None, size: int, repeat: bool, name: str) -> None:
    """Refuse options that ask for more than the `size` samples of a set, or contradict each other."""
    if wanted is not None and wanted > size:
        raise mistake(
            f"{wanted} training samples are more than the {size} of {name}; write fewer",
            "training_samples",
        )
    if wanted is not None and repeat:
        raise mistake("has no effect beside training_samples, which repeats; remove it", "repeat")


@lru_cache
def kept_samples(size: int, imbalance: float, classes: int) -> int:
    """Approximate number of samples that remain out of `size`."""
    if imbalance == 1:
        return size
    return round(size * float(sum(kept_shares(imbalance, classes))) / classes)


def kept_shares(imbalance: float, classes: int) -> list[float]:
    """Share of its samples that each of at least two classes keeps, (C,)."""
    return [float(imbalance ** (c / (classes - 1))) for c in range(classes)]
