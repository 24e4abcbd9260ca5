"""Kinds of network that a study can name, with their options."""

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic.json_schema import SkipJsonSchema

from gammascape.study.keys.factories import Factory
from gammascape.study.reading.fields import Count, Listed, Record, factory_kind, mistake

Shape = tuple[int, ...]
Blocks = Annotated[int, Field(ge=1, le=100)]

# The default of an option is part of the identity of every cell that leaves it out: a default
# never changes, and a new option gets the default that means "as before".


class Network(Record):
    """Properties shared by all kinds of network."""

    @property
    def depth_exponent(self) -> int | None:
        """Degree L of the output in the weights, if the network is homogeneous; else None."""
        depth: int | None = getattr(self, "depth", None)
        return depth

    def as_trained(self) -> Self:
        """Return the network without options that do not affect training."""
        return self

    def misfit(self, input_shape: Shape) -> str | None:
        """Return why the network cannot read inputs of `input_shape`, (C, H, W) or (D,); None if it can.

        The text continues "needs ...".
        """
        return None


class ImageNetwork(Network):
    """Networks that read only images."""

    def misfit(self, input_shape: Shape) -> str | None:
        if len(input_shape) == 3:
            return self.misfit_of_images(input_shape)
        if len(input_shape) > 1:
            return f"images, not inputs of shape {list(input_shape)}; an mlp reads any shape"
        return f"images, not vectors of dimension {input_shape[0]}; an mlp reads vectors"

    @abstractmethod
    def misfit_of_images(self, input_shape: Shape) -> str | None:
        """Return the same as `misfit`, for inputs (C, H, W)."""


class MlpSpec(Network):
    """Fully connected ReLU network without normalization; it flattens images."""

    kind: Literal["mlp"]
    """Fully connected network."""
    depth: int = Field(ge=2, le=32, examples=[3])
    """Number L of weight matrices; depth 3 has two hidden layers."""
    width: Count = Field(examples=[64])
    """Width N of every hidden layer."""


class CnnSpec(ImageNetwork):
    """Two 3x3 convolutions with average pooling, one hidden layer, no normalization."""

    kind: Literal["cnn"]
    """Convolutional network."""
    width: Count = Field(examples=[8])
    """Base width N: the convolutions have N and 2N channels, the hidden layer 8N units."""
    padding: int = Field(default=0, ge=0, le=1, examples=[1])
    """Pixels of zero padding around each convolution: 0, as in the paper's code, or 1 for images
    too small to lose their border."""

    @property
    def depth_exponent(self) -> int | None:
        return 4

    def misfit_of_images(self, input_shape: Shape) -> str | None:
        # In each of the two blocks, the convolution removes 2 - 2 * padding pixels and pooling halves the side.
        lost = 2 - 2 * self.padding
        if any(((side - lost) // 2 - lost) // 2 < 1 for side in input_shape[1:]):
            smallest = 10 if self.padding == 0 else 4
            hint = "; write padding: 1" if self.padding == 0 else ""
            shape = _size(input_shape)
            return f"images of at least {smallest}x{smallest} pixels, not {shape}{hint}"
        return None


class ResnetSpec(ImageNetwork):
    """Residual convolutional network with normalization."""

    kind: Literal["resnet"]
    """Residual network."""
    width: Count = Field(examples=[8])
    """Number N of channels of the stem and of the first stage; each later stage doubles it."""
    blocks: Annotated[tuple[Blocks, ...], Listed] = Field(
        default=(1, 1), min_length=1, max_length=8, examples=[[1, 1]]
    )
    """Number of residual blocks in each stage."""
    norm: Literal["layer", "group"] = Field(default="layer", examples=["layer"])
    """Normalization after each convolution."""

    def misfit_of_images(self, input_shape: Shape) -> str | None:
        smallest = 2 ** (len(self.blocks) - 1)
        if min(input_shape[1:]) < smallest:
            return (
                f"images of at least {smallest}x{smallest} pixels for {len(self.blocks)} stages, "
                f"not {_size(input_shape)}; give fewer stages in blocks"
            )
        return None


class VitSpec(ImageNetwork):
    """Vision transformer: patches as tokens, pre-norm attention and MLP blocks."""

    kind: Literal["vit"]
    """Vision transformer."""
    width: Count = Field(examples=[32])
    """Dimension N of a token; a multiple of heads."""
    blocks: Blocks = Field(default=2, examples=[2])
    """Number of transformer blocks."""
    heads: Count = Field(default=4, examples=[4])
    """Number of attention heads."""
    patch: Count = Field(default=2, examples=[2])
    """Side of a patch in pixels; it divides the sides of the image."""
    mlp_ratio: Count = Field(default=2, examples=[2])
    """Width of the MLP inside a block, in units of width."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            near = max(1, round(self.width / self.heads)) * self.heads
            raise mistake(
                f"{self.width} is not a multiple of heads, {self.heads}; write for example {near}",
                "width",
            )
        return self

    def misfit_of_images(self, input_shape: Shape) -> str | None:
        if any(side % self.patch for side in input_shape[1:]):
            return (
                f"images that patches of {self.patch}x{self.patch} pixels tile, "
                f"not {_size(input_shape)}; give a patch that divides the sides"
            )
        return None


Role = Literal["input", "hidden", "readout", "gain", "bias"]


def _from_record(roles: Any) -> Any:
    """Turn the pairs of a record into a mapping, and leave anything else alone."""
    pairs = isinstance(roles, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in roles
    )
    return {str(name): role for name, role in roles} if pairs else roles


def _as_record(roles: dict[str, Role]) -> Any:
    """Roles for a record, which sorts the keys of mappings: ordered pairs if the order matters."""
    return [*map(list, roles.items())] if any({*"*?["} & {*name} for name in roles) else roles


Roles = Annotated[dict[str, Role], BeforeValidator(_from_record), PlainSerializer(_as_record)]


class FactoryModelSpec(Factory, Network):
    """Your own `torch.nn.Module`, made by a function (see docs/howto/own-model.md)."""

    kind: Literal["factory"] = "factory"
    """Kind; needless next to `factory`."""
    width: Count = Field(examples=[64])
    """Base width N: an argument of the function, and a factor in the learning rate of SGD, N eta."""
    roles: Roles = Field(default={}, examples=[{"head": "readout"}])
    """Roles of layers or parameters, where the inferred ones are not what you want. Keys are names
    or patterns, such as `"blocks.*.norm"`; the first that matches a name counts."""
    depth: int | None = Field(default=None, ge=1, le=1000, examples=[3])
    """Degree L of the output in the weights, if it has one. Only windows of eta and predicted lines use it, so
    changing it retrains nothing."""
    batched: bool = True
    """false: train one network at a time, for modules that `torch.func.vmap` cannot batch."""
    contract: SkipJsonSchema[Literal[2]] = 2
    """Version of how the library treats a module (seeds, padding rows): part of the identity of its cells."""

    @property
    def call_arguments(self) -> tuple[str, ...]:
        return ("input_shape", "outputs", "width", *self.arguments)

    def as_trained(self) -> Self:
        return self.model_copy(update={"depth": None})

    @model_validator(mode="after")
    def _arguments_are_free(self) -> Self:
        for name in ("input_shape", "outputs", "width"):
            if name in self.arguments:
                raise mistake(f"{name} is always given to the function; remove it", "arguments")
        return self


class ToySpec(Network):
    """Width-one deep linear network of theory, computed without training (docs/explanation/theory.md)."""

    kind: Literal["toy"]
    """Exact toy model."""
    depth: int = Field(ge=2, le=32, examples=[3])
    """Number L of its equal weights."""


ModelSpec = Annotated[
    Annotated[
        MlpSpec | CnnSpec | ResnetSpec | VitSpec | FactoryModelSpec | ToySpec,
        Field(discriminator="kind"),
    ],
    BeforeValidator(factory_kind),
]


def _size(input_shape: Shape) -> str:
    return "x".join(map(str, input_shape[1:]))
