"""Map how a network trains as a function of its feature learning strength and learning rate."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gammascape.results import history, load

__version__ = "0.1.0"
__all__ = ["__version__", "history", "load"]


def __getattr__(name: str) -> Any:
    # Every job of the workflow imports this package, so modules that need polars are imported on demand.
    if name in ("history", "load"):
        from gammascape import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
