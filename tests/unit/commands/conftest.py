"""A small study, as in the tests of studies."""

from ..study.conftest import load

__all__ = ["load"]
