"""A study without mistakes, and how to put one in."""

GOOD = """\
description: A study without mistakes.
models:
  mlp3: {kind: mlp, depth: 3, width: 64}
datasets:
  digits: {kind: digits}
grids:
  - model: mlp3
    dataset: digits
    loss: mse
    gamma: {log10: {from: -4, to: 4, per_decade: 1}}
    eta: {window: {per_decade: 2, lower: -2, upper: 2}}
    batch_size: 32
    steps: 600
    seed: [0, 1]
"""

GAMMA = "gamma: {log10: {from: -4, to: 4, per_decade: 1}}"
ETA = "eta: {window: {per_decade: 2, lower: -2, upper: 2}}"
MLP = "mlp3: {kind: mlp, depth: 3, width: 64}"
DIGITS = "digits: {kind: digits}"


def swap(old: str, new: str, *more: str) -> str:
    """The good study with `old` replaced by `new`, and so on in pairs."""
    assert old in GOOD, old
    text = GOOD.replace(old, new, 1)
    return swap_in(text, *more) if more else text


def swap_in(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new, 1)
