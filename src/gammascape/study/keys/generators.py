"""Generators of MNIST-1M's digits; every option is part of the identity of cells that read them."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gammascape.study.reading.fields import Amount, Count, Record, Seed, mistake

TRAINING = ("features", "steps", "batch_size", "learning_rate", "seed", "precision")
SAMPLING = ("chunks", "size", "seed", "method", "guidance", "precision", "sampling_steps")
STRENGTHS = ("rotation", "scale", "shift", "elastic")

# As for models: a default is part of identities and never changes.


def _whole_groups(features: int) -> int:
    if features % 8:
        raise mistake(f"must be a multiple of 8, got {features}; write {features // 8 * 8 + 8}")
    return features


class Generated(Record):
    """Keys that both generators share."""

    chunks: int = Field(default=10, ge=1, le=10_000, examples=[10])
    """Number of chunks; each has its own job and can be made again alone."""
    size: int = Field(default=100_000, ge=1, le=10_000_000, examples=[100_000])
    """Images in a chunk."""
    seed: Seed = Field(default=0, examples=[0])
    """Seed of all random numbers; an image depends on it and on its own number."""
    kind: str

    @property
    def images(self) -> int:
        """Total number of training images."""
        return self.chunks * self.size

    @property
    def key(self) -> str:
        """Name of the generated set in file names: the kind, and a hash of options that are not defaults."""
        return f"{self.kind}-{_hash(self)}"

    @property
    @abstractmethod
    def chunk_options(self) -> list[str]:
        """Options of the command that makes one chunk."""


class DiffusionSpec(Generated):
    """Digits from a class-conditional diffusion model, first trained on MNIST, as in the paper."""

    kind: Literal["diffusion"]
    """Sampled from a diffusion model; meant for a GPU."""
    method: Literal["ddim", "ddpm"] = "ddim"
    """`ddim` samples in few steps, `ddpm` in all 400, as the paper did."""
    sampling_steps: Annotated[int, Field(ge=1, le=400)] | None = Field(default=None, examples=[25])
    """Evaluations of the model for each image; 25 for ddim and 400 for ddpm if left out."""
    guidance: Amount = Field(default=0.5, examples=[0.5])
    """Weight of the classifier-free guidance; 0 evaluates the model once instead of twice."""
    features: Annotated[int, AfterValidator(_whole_groups)] = Field(
        default=128, ge=1, le=8192, examples=[128]
    )
    """Channels of the model at full resolution, a multiple of 8."""
    steps: Count = Field(default=9400, examples=[9400])
    """Steps of the model's training; the default is 40 passes over MNIST."""
    batch_size: Count = Field(default=256, examples=[256])
    """Batch size of the model's training."""
    learning_rate: float = Field(default=1e-4, gt=0, examples=[0.0001])
    """Learning rate of Adam in the model's training, decreasing linearly to 0."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numeric type of the model; `bfloat16` is faster on GPUs."""

    @property
    def model_key(self) -> str:
        """Name of the model in file names, shared by sets that differ only in sampling."""
        sampling = {"chunks", "size", "method", "sampling_steps", "guidance"}
        return f"diffusion-{_hash(self, leave_out=sampling)}"

    @property
    def train_options(self) -> list[str]:
        """Options of the command that trains the model."""
        return _options(self, TRAINING)

    @property
    def chunk_options(self) -> list[str]:
        names = (name for name in SAMPLING if getattr(self, name) is not None)
        return _options(self, names)


class DeformSpec(Generated):
    """MNIST training images, each deformed differently: rotated, scaled, shifted and bent."""

    kind: Literal["deform"]
    """Deformed MNIST images; seconds on a GPU, minutes on a CPU."""
    rotation: Amount = Field(default=10.0, le=180, examples=[10.0])
    """Largest rotation, in degrees."""
    scale: Amount = Field(default=0.1, lt=1, examples=[0.1])
    """Largest relative change of size."""
    shift: Amount = Field(default=1.0, examples=[1.0])
    """Largest shift along each axis, in pixels."""
    elastic: Amount = Field(default=1.0, examples=[1.0])
    """Standard deviation of the smooth displacement of pixels, in pixels."""

    @property
    def chunk_options(self) -> list[str]:
        return _options(self, ("size", "seed", *STRENGTHS))


GeneratorSpec = Annotated[DiffusionSpec | DeformSpec, Field(discriminator="kind")]


def _hash(spec: Record, leave_out: set[str] | None = None) -> str:
    content = spec.model_dump(mode="json", exclude_defaults=True, exclude=leave_out)
    text = repr(sorted(content.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _options(spec: Record, names: Iterable[str]) -> list[str]:
    return [
        text for name in names for text in (f"--{name.replace('_', '-')}", str(getattr(spec, name)))
    ]
