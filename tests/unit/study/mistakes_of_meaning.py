"""Mistakes in the axes of a study, and between its parts."""

from .good_study import DIGITS, ETA, GAMMA, GOOD, MLP, swap

# The text of a study, and fragments of the message that it must be answered with.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    # Axes.
    "gamma itself as text": (
        swap(GAMMA, "gamma: 1e-3"),
        [
            "grids[0].gamma: 1e-3 is text to YAML, and gamma is given as its log10: ",
            "write {log10: -3}",
        ],
    ),
    "gamma itself": (
        swap(GAMMA, "gamma: 0.1"),
        ["grids[0].gamma: gamma is given as its log10: write {log10: -1}"],
    ),
    "list of etas themselves": (
        swap(ETA, "eta: [0.01, 0.1]"),
        ["grids[0].eta: eta is given as its log10: write {log10: [-2, -1]}"],
    ),
    "negative gamma": (
        swap(GAMMA, "gamma: -1"),
        ["grids[0].gamma: gamma is given as its log10: write {log10: -1}"],
    ),
    "range without log10": (
        swap(GAMMA, "gamma: {from: -4, to: 4, per_decade: 1}"),
        ["grids[0].gamma: the range stands under log10", "{log10: {from: -4, to: 4"],
    ),
    "text in log10": (
        swap(GAMMA, "gamma: {log10: 1e-3}"),
        ["grids[0].gamma.log10: 1e-3 is text to YAML", "write -3 for 10^-3"],
    ),
    "word in log10": (
        swap(GAMMA, "gamma: {log10: [one]}"),
        ["grids[0].gamma.log10[0]: needs a number, the log10 of the value, got 'one'"],
    ),
    "boolean in log10": (
        swap(GAMMA, "gamma: {log10: yes}"),
        ["grids[0].gamma.log10: needs a number, the log10 of the value, got True", "booleans"],
    ),
    "nothing in log10": (
        swap(GAMMA, "gamma: {log10: }"),
        ["grids[0].gamma: needs one of log10 and map, got none", "{log10: {from: -4"],
    ),
    "value where its log10 is wanted": (
        swap(GAMMA, "gamma: {log10: 10000}"),
        ["grids[0].gamma.log10: ", "between -30 and 30, got 10000; write 4"],
    ),
    "too many decimals": (
        swap(GAMMA, "gamma: {log10: 0.12345678}"),
        ["grids[0].gamma.log10: 0.12345678 has more than 6 decimals; write 0.123457"],
    ),
    "not a number": (
        swap(GAMMA, "gamma: {log10: .nan}"),
        ["grids[0].gamma.log10: needs a finite number"],
    ),
    "range the wrong way": (
        swap("from: -4, to: 4", "from: 4, to: -4"),
        ["grids[0].gamma.log10: the range runs the wrong way: write from: -4 and to: 4"],
    ),
    "range without points": (
        swap("from: -4, to: 4", "from: 0.1, to: 0.2"),
        ["grids[0].gamma.log10: no point of the grid with per_decade: 1", "0.1 and 0.2"],
    ),
    "range without end": (
        swap("from: -4, to: 4", "from: -4"),
        ["grids[0].gamma.log10.to: missing", "write for example to: 4"],
    ),
    "unknown key of a range": (
        swap("per_decade: 1}", "per_decades: 1}"),
        ["grids[0].gamma.log10.per_decades: unknown key; did you mean per_decade?"],
    ),
    "no points per decade": (
        swap("per_decade: 1}", "per_decade: 0}"),
        ["grids[0].gamma.log10.per_decade: must be at least 1, got 0"],
    ),
    "map of gamma alone": (
        swap(GAMMA, "gamma: {map: {}}"),
        ["grids[0].eta: gammas are added by edges that a map of eta finds; write eta: {map: {}}"],
    ),
    "map of gamma that does not nest": (
        swap(GAMMA, "gamma: {map: {finest: 3}}"),
        ["grids[0].gamma.map.finest: 3 per decade does not add points", "write 1 or 2 or 4"],
    ),
    "map of gamma without points": (
        swap(GAMMA, "gamma: {map: {from: 0.1, to: 0.9}}"),
        ["grids[0].gamma.map: no point of the grid with coarsest: 1 lies between 0.1 and 0.9"],
    ),
    "window of gamma": (
        swap(GAMMA, "gamma: {window: {per_decade: 2, lower: -2, upper: 2}}"),
        ["grids[0].gamma.window: unknown key here; move it under eta in an entry of grids"],
    ),
    "empty eta": (
        swap(ETA, "eta: {}"),
        ["grids[0].eta: needs one of log10, window and map, got none"],
    ),
    "log10 and window": (
        swap(ETA, "eta: {log10: 0, window: {per_decade: 2, lower: -2, upper: 2}}"),
        ["grids[0].eta: needs one of log10, window and map, got log10 and window"],
    ),
    "unknown key of a window": (
        swap("lower: -2", "low: -2"),
        ["grids[0].eta.window.low: unknown key; did you mean lower?"],
    ),
    "window the wrong way": (
        swap("lower: -2, upper: 2", "lower: 2, upper: -2"),
        ["grids[0].eta.window: lower is above upper: write lower: -2 and upper: 2"],
    ),
    "window without points": (
        swap(
            "per_decade: 2, lower: -2, upper: 2",
            "per_decade: 1, lower: 0.1, upper: 0.2",
        ),
        ["grids[0].eta.window: holds no point of eta at log10 gamma -4 (mse)", "raise per_decade"],
    ),
    "exponent without effect": (
        swap("upper: 2}", "upper: 2, rich_exponent: 0.5}"),
        ["grids[0].eta.window.rich_exponent: ", "no effect; remove it"],
    ),
    "text number in a window": (
        swap("upper: 2}", "upper: 2, rich_exponent: 5e-1}"),
        ["grids[0].eta.window.rich_exponent: 5e-1 is text to YAML: write 5.0e-1 or 0.5"],
    ),
    # The parts of a file against each other.
    "unknown model": (
        swap("model: mlp3", "model: mlp4"),
        ["grids[0].model: no model is named mlp4; did you mean mlp3?"],
    ),
    "unknown dataset": (
        swap("dataset: digits", "dataset: cifar"),
        ["grids[0].dataset: no dataset is named cifar; datasets has digits"],
    ),
    "unused model": (
        swap(MLP, f"{MLP}\n  cnn: {{kind: cnn, width: 8}}"),
        ["models.cnn: no grid uses it; remove it, or name it under model in a grid (line 4)"],
    ),
    "two equal models": (
        swap(
            MLP,
            f"{MLP}\n  same: {{kind: mlp, depth: 3, width: 64}}",
            "model: mlp3",
            "model: [mlp3, same]",
        ),
        ["models.same: is the same as models.mlp3, option by option"],
    ),
    "two equal datasets": (
        swap(
            DIGITS,
            f"{DIGITS}\n  same: {{kind: digits, noise: 0.3}}",
            "dataset: digits",
            "dataset: [digits, same]",
        ),
        ["datasets.same: is the same as datasets.digits"],
    ),
    "cross-entropy of a regression": (
        swap(DIGITS, "digits: {kind: teacher}", "loss: mse", "loss: xent"),
        ["grids[0].loss: xent needs classes", "digits is a regression", "classes: 2"],
    ),
    "mixup of a regression": (
        swap(DIGITS, "digits: {kind: teacher, mixup: 0.2}"),
        ["datasets.digits.mixup: mixes classes, and a regression has none", "classes: 2"],
    ),
    "mixup below zero": (
        swap(DIGITS, "digits: {kind: digits, mixup: -0.2}"),
        ["datasets.digits.mixup: must be at least 0, got -0.2"],
    ),
    "unknown generator": (
        swap(DIGITS, "digits: {kind: mnist1m, generator: {kind: diffusoin}}"),
        ["datasets.digits.generator.kind: ", "did you mean diffusion?"],
    ),
    "generator without its kind": (
        swap(DIGITS, "digits: {kind: mnist1m, generator: {size: 10}}"),
        ["datasets.digits.generator.kind: missing; write kind: diffusion or deform"],
    ),
    "option of the other generator": (
        swap(DIGITS, "digits: {kind: mnist1m, generator: {kind: deform, guidance: 1}}"),
        ["datasets.digits.generator.guidance: unknown key"],
    ),
    "features in no whole groups": (
        swap(DIGITS, "digits: {kind: mnist1m, generator: {kind: diffusion, features: 20}}"),
        ["datasets.digits.generator.features: must be a multiple of 8, got 20; write 24"],
    ),
    "generator of a set that is published": (
        swap(DIGITS, "digits: {kind: mnist, generator: {kind: deform}}"),
        ["datasets.digits.generator: unknown key"],
    ),
    "more steps than are generated": (
        swap(DIGITS, "digits: {kind: mnist1m, generator: {kind: deform, chunks: 2, size: 300}}"),
        ["need 19200 samples, and digits has 600, each used once: write steps: 18 or less"],
    ),
    "more training samples than are generated": (
        swap(
            DIGITS,
            "digits: {kind: mnist1m, training_samples: 700, "
            "generator: {kind: deform, chunks: 2, size: 300}}",
        ),
        ["datasets.digits.training_samples: 700 training samples are more than the 600 of mnist1m"],
    ),
    "image model on vectors": (
        swap(DIGITS, "digits: {kind: teacher}", MLP, "mlp3: {kind: cnn, width: 8}"),
        ["grids[0].model: mlp3 (a cnn) cannot read digits: it needs images, not vectors"],
    ),
    "convolution of an image too small": (
        swap(MLP, "mlp3: {kind: cnn, width: 8}"),
        ["grids[0].model: mlp3 (a cnn)", "at least 10x10 pixels, not 8x8; write padding: 1"],
    ),
    "patch that does not divide the image": (
        swap(MLP, "mlp3: {kind: vit, width: 32, patch: 3}"),
        ["grids[0].model: mlp3 (a vit)", "patches of 3x3 pixels tile, not 8x8"],
    ),
    "more stages than pixels": (
        swap(MLP, "mlp3: {kind: resnet, width: 8, blocks: [1, 1, 1, 1, 1]}"),
        ["grids[0].model: mlp3 (a resnet)", "at least 16x16", "fewer stages"],
    ),
    "heads that do not divide the width": (
        swap(MLP, "mlp3: {kind: vit, width: 30}"),
        ["models.mlp3.width: 30 is not a multiple of heads, 4; write for example 32"],
    ),
    "constant teacher": (
        swap(DIGITS, "digits: {kind: teacher, polynomial: [1, 0]}"),
        ["datasets.digits.polynomial: needs a non-zero coefficient after the first"],
    ),
    "longer than one pass": (
        swap(DIGITS, "digits: {kind: mnist}", "steps: 600", "steps: 3000"),
        [
            "grids[0].steps: 3000 steps of batch size 32 need 96000 samples",
            "digits has 60000, each used once: write steps: 1875 or less",
            "or give datasets.digits repeat: true, which is not online any more",
        ],
    ),
    "more samples than there are": (
        swap(DIGITS, "digits: {kind: mnist, training_samples: 70000}"),
        ["training_samples: 70000 training samples are more than the 60000 of mnist"],
    ),
    "repeated twice": (
        swap(DIGITS, "digits: {kind: cifar10, training_samples: 100, repeat: true}"),
        ["repeat: has no effect beside training_samples"],
    ),
    "wrong labels without labels": (
        swap(DIGITS, "digits: {kind: teacher, label_noise: 0.1}"),
        ["label_noise: replaces labels, and a regression has none", "classes: 2"],
    ),
    "rare classes of vectors": (
        swap(DIGITS, "digits: {kind: teacher, imbalance: 0.1}"),
        ["digits.imbalance: unknown key"],
    ),
    # Toys.
    "a toy with data": (
        swap(MLP, "mlp3: {kind: toy, depth: 3}"),
        ["grids[0].dataset: mlp3 is a toy and learns one example", "one: {kind: constant}"],
    ),
    "a network with the example of a toy": (
        swap(DIGITS, "digits: {kind: constant}"),
        ["grids[0].dataset: digits is the one example of a toy, and mlp3 is none"],
    ),
    "a toy with a batch and seeds": (
        swap(MLP, "mlp3: {kind: toy, depth: 3}", DIGITS, "digits: {kind: constant}"),
        [
            "grids[0].batch_size: a toy has one example, which is its batch: write batch_size: 1",
            "grids[0].seed: nothing in a toy is random; remove it",
        ],
    ),
    "an observable that is none": (
        GOOD + "observables: [sharpnes]\n",
        ["observables[0]:", "sharpness"],
    ),
    "an observable twice": (
        GOOD + "observables: [sharpness, sharpness]\n",
        ["observables[1]: sharpness is listed twice"],
    ),
    "too many cells": (
        swap("per_decade: 1}", "per_decade: 100}", "seed: [0, 1]", f"seed: {list(range(300))}"),
        ["grids[0]: brings the study to more than 1000000 cells"],
    ),
    "analysis window the wrong way": (
        GOOD + "analysis: {lazy: {from: 2, to: -2}}\n",
        ["analysis.lazy: the window runs the wrong way: write from: -2 and to: 2"],
    ),
    "empty analysis window": (
        GOOD + "analysis: {lazy: {}}\n",
        ["analysis.lazy: needs from, to, or both: write for example {to: -1.5}"],
    ),
    "threshold out of range": (
        GOOD + "analysis: {confidence: 95}\n",
        ["analysis.confidence: must be below 1, got 95"],
    ),
}
