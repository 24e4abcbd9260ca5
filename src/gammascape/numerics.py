"""The version of the engine's numbers, part of every cell's identity."""

NUMERICS_VERSION = 1
"""Raise it in the commit that changes what a cell computes; golden-number tests enforce this."""
