"""Endless MNIST-like images, deformed (`deform`) or from a diffusion model (`diffusion`), and their `quality`.

An image is a function of a seed and its number, so a set of any size can be made in parts, in any order.
"""

from gammascape.command import UserError


class GenerateError(UserError):
    """An input of a generator is missing or does not fit; the message names it and the remedy."""
