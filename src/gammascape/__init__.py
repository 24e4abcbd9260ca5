"""Map how a network trains as a function of its feature learning strength and learning rate."""

__version__ = "0.1.0"
