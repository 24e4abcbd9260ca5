"""Mistakes in the YAML of a study, its keys, and the types of its values."""

from .good_study import DIGITS, ETA, GAMMA, GOOD, MLP, swap

# The text of a study, and fragments of the message that it must be answered with.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    # The file as YAML.
    "empty file": ("", ["is empty", "config/README.md"]),
    "only comments": ("# nothing yet\n", ["is empty"]),
    "unclosed bracket": (
        swap("seed: [0, 1]", "seed: [0, 1"),
        ["not valid YAML", "line 15, column 1", "missing bracket"],
    ),
    "tab as indentation": (
        swap("    steps: 600", "\tsteps: 600"),
        ["not valid YAML", "line 13, column 1", "spaces, not with tabs"],
    ),
    "colon in a text": (
        swap("A study without", "Depth: a study without"),
        ["not valid YAML", "line 1, column 19", "in quotes"],
    ),
    "two documents": (GOOD + "---\na: 1\n", ["second document", "without ---"]),
    "asterisk in a text": (swap("A study", "*A study"), ["line 1", "needs quotes"]),
    "duplicate key": (
        swap("    steps: 600", "    steps: 600\n    steps: 700"),
        ["steps: this key stands twice, first on line 13", "(line 14, column 5)"],
    ),
    "duplicate model name": (
        swap(MLP, f"{MLP}\n  {MLP}"),
        ["mlp3: this key stands twice, first on line 3", "line 4"],
    ),
    "boolean as a name": (
        swap(DIGITS, "on: {kind: digits}"),
        ["on: a key must be text", "booleans", "line 5"],
    ),
    "number as a name": (swap(DIGITS, "1: {kind: digits}"), ["1: a key must be text", "line 5"]),
    "octal number": (swap("steps: 600", "steps: 0600"), ["0600", "octal, here 384", "write 600"]),
    "number in base 60": (swap("steps: 600", "steps: 1:30"), ["1:30", "base 60, here 90"]),
    "a list as a key": (
        swap(DIGITS, "[1, 2]: {kind: digits}"),
        ["a list or mapping stands where a key is wanted", "line 5"],
    ),
    "a value that contains itself": (
        swap("seed: [0, 1]", "seed: &s [*s]"),
        ["grids[0].seed[0]: ", "contains itself"],
    ),
    "brackets without end": ("[" * 3000, ["nested too deeply"]),
    "python object": (
        swap("steps: 600", "steps: !!python/none x"),
        ["a tag that begins with !", "line 13"],
    ),
    "a number with a tag": (
        swap("width: 64", "width: !!int 64"),
        ["not valid YAML: a tag that begins with !", "line 3, column 38", "remove the tag"],
    ),
    "null character": (
        swap("A study", "A\0study"),
        ["the character U+0000, which no text of a study holds; remove it (line 1, column 15)"],
    ),
    "control character behind an escape": (
        swap("A study without mistakes.", r'"\e[31mred"'),
        ["the character U+001B", "line 1, column 14"],
    ),
    "half of a surrogate pair": (
        swap("A study without mistakes.", r'"\ud83d\ude00"'),
        ["the character U+D83D", "line 1"],
    ),
    "an escape without a character": (
        swap("A study without mistakes.", r'"\UFFFFFFFF"'),
        ["an escape names no character", "line 1"],
    ),
    "number of five thousand digits": (
        swap("width: 64", "width: " + "9" * 5000),
        ["999...: no number of a study is as long (line 3, column 38)"],
    ),
    "number that is too large for a computer": (
        swap("width: 64", "width: 1.0e+400"),
        ["1.0e+400: is too large for a computer", "line 3"],
    ),
    "number that is too small for a computer": (
        swap(DIGITS, "digits: {kind: digits, noise: 1.0e-400}"),
        ["1.0e-400: is too small for a computer, which takes it for 0", "line 5"],
    ),
    "text of a number that is too large": (
        swap(DIGITS, "digits: {kind: digits, noise: 1e400}"),
        ["datasets.digits.noise: 1e400 is text to YAML", "not too large for a computer"],
    ),
    "duplicate key on one line": (
        swap(MLP, "mlp3: {kind: mlp, depth: 3, depth: 4, width: 64}"),
        ["depth: this key stands twice, first on line 3"],
    ),
    "a list as the file": ("- 1\n- 2\n", ["needs a mapping, got [1, 2]"]),
    # Keys.
    "unknown key": (
        swap("batch_size: 32", "batchsize: 32"),
        [
            "mine.yaml: 1 problem\n",
            "grids[0].batchsize: unknown key; did you mean batch_size? (line 12)",
        ],
    ),
    "name from elsewhere": (
        swap(ETA, "lr: {log10: -2}"),
        ["grids[0].lr: unknown key; did you mean eta?"],
    ),
    "key of the wrong level": (
        GOOD + "steps: 700\n",
        ["steps: unknown key here; move it into an entry of grids", "line 15"],
    ),
    "key of the top in a grid": (
        GOOD + "    small_gamma: {below: -1}\n",
        ["grids[0].small_gamma: unknown key here; move it to the top of the file"],
    ),
    "key of the analysis at the top": (
        GOOD + "trained_below: 0.3\n",
        ["trained_below: unknown key here; move it under analysis"],
    ),
    "key of a dataset in a grid": (
        GOOD + "    repeat: true\n",
        ["grids[0].repeat: unknown key here; move it into an entry of datasets"],
    ),
    "misspelt key of another level": (
        GOOD + "analysis: {seeds: 3}\n",
        ["analysis.seeds: unknown key here; move it into an entry of grids, as seed (line 15)"],
    ),
    "key of a window in a grid": (
        GOOD + "    lower: -1\n    from: -3\n",
        [
            "grids[0].lower: unknown key here; move it under eta.window in an entry of grids",
            "from: unknown key here; move it under gamma.log10 in an entry of grids or under gamma.map in",
        ],
    ),
    "key of several places": (
        GOOD + "kind: mlp\n",
        ["kind: unknown key here; move it into an entry of models or into an entry of datasets"],
    ),
    "option of another kind": (
        swap(MLP, "mlp3: {kind: mlp, depth: 3, width: 64, heads: 2}"),
        ["models.mlp3.heads: unknown key; the keys here are kind, depth, width (line 3)"],
    ),
    "unknown option of a kind": (
        swap(MLP, "mlp3: {kind: mlp, depth: 3, width: 64, norm: layer}"),
        ["models.mlp3.norm: unknown key; the keys here are kind, depth, width (line 3)"],
    ),
    "unknown key of the analysis": (
        GOOD + "analysis: {trained: 0.5}\n",
        ["analysis.trained: unknown key; did you mean trained_below?"],
    ),
    "missing key": (
        swap("    steps: 600\n", ""),
        ["grids[0].steps: missing (Number T of SGD steps", "write for example steps: 600"],
    ),
    "missing grids": (GOOD.partition("grids:")[0], ["grids: missing"]),
    "missing option": (
        swap(MLP, "mlp3: {kind: mlp, width: 64}"),
        ["models.mlp3.depth: missing", "write for example depth: 3"],
    ),
    "missing kind": (
        swap(MLP, "mlp3: {depth: 3, width: 64}"),
        ["models.mlp3.kind: missing; write kind: mlp or cnn or resnet or vit"],
    ),
    "unknown kind": (
        swap(MLP, "mlp3: {kind: resnt, width: 8}"),
        ['models.mlp3.kind: unknown kind "resnt"; did you mean resnet?'],
    ),
    "unknown kind of dataset": (
        swap(DIGITS, "digits: {kind: photographs}"),
        ['datasets.digits.kind: unknown kind "photographs"; write one of digits, teacher, mnist'],
    ),
    # Types and values.
    "key without a value": (
        swap("steps: 600", "steps:"),
        ["grids[0].steps: has no value; write for example steps: 600 (line 13)"],
    ),
    "model without a value": (
        swap(MLP, "mlp3:"),
        ["models.mlp3: has no value; write for example mlp3: {kind: mlp, ...}"],
    ),
    "text for a whole number": (
        swap("steps: 600", "steps: many"),
        ['grids[0].steps: needs a whole number, got "many"', "steps: 600"],
    ),
    "decimals for a whole number": (
        swap("steps: 600", "steps: 600.0"),
        ["grids[0].steps: needs a whole number, got 600.0: write 600"],
    ),
    "a fraction for a whole number": (
        swap("width: 64", "width: 64.5"),
        ["models.mlp3.width: needs a whole number, got 64.5"],
    ),
    "boolean for a whole number": (
        swap("seed: [0, 1]", "seed: on"),
        ["grids[0].seed: needs a whole number, got true", "booleans"],
    ),
    "text number for a whole number": (
        swap("steps: 600", "steps: 1e3"),
        ["grids[0].steps: 1e3 is text to YAML: write 1000"],
    ),
    "text number": (
        GOOD + "analysis: {trained_below: 1e-3}\n",
        ["analysis.trained_below: 1e-3 is text to YAML: write 1.0e-3 or 0.001"],
    ),
    "boolean for text": (
        swap("description: A study without mistakes.", "description: yes"),
        ["description: needs text, got true", "booleans", "quotes"],
    ),
    "boolean for a loss": (
        swap("loss: mse", "loss: no"),
        ["grids[0].loss: unknown false; write one of mse, xent", "booleans"],
    ),
    "boolean for a small number": (
        swap(MLP, "mlp3: {kind: cnn, width: 8, padding: yes}"),
        ["models.mlp3.padding: needs a whole number, got true", "booleans"],
    ),
    "unknown loss": (
        swap("loss: mse", "loss: [mse, cross_entropy]"),
        ['grids[0].loss[1]: unknown "cross_entropy"; write one of mse, xent'],
    ),
    "unknown word for a data seed": (
        swap("seed: [0, 1]", "seed: [0, 1]\n    data_seed: seeds"),
        ['grids[0].data_seed: unknown "seeds"', "seed"],
    ),
    "text number for a data seed": (
        swap("seed: [0, 1]", "seed: [0, 1]\n    data_seed: '1'"),
        ["grids[0].data_seed: 1 is text to YAML: write 1"],
    ),
    "negative data seed": (
        swap("seed: [0, 1]", "seed: [0, 1]\n    data_seed: [0, -1]"),
        ["grids[0].data_seed[1]: must be at least 0"],
    ),
    "empty list": (swap("seed: [0, 1]", "seed: []"), ["grids[0].seed: is an empty list"]),
    "empty list of values": (
        swap(GAMMA, "gamma: {log10: []}"),
        ["grids[0].gamma.log10: is an empty list"],
    ),
    "no models": (swap(f"models:\n  {MLP}", "models: {}"), ["models: is empty"]),
    "no grids": (GOOD.partition("grids:")[0] + "grids: []\n", ["grids: is empty"]),
    "grids without hyphens": (
        swap("  - model: mlp3", "    model: mlp3"),
        ["grids: needs a list, got a mapping; begin each entry with a hyphen"],
    ),
    "models as a list": (
        swap(f"  {MLP}", f"  - {MLP}"),
        ["models: needs a mapping, got ["],
    ),
    "a seed twice": (swap("seed: [0, 1]", "seed: [0, 1, 0]"), ["grids[0].seed[2]: 0 is listed"]),
    "a gamma twice": (
        swap(GAMMA, "gamma: {log10: [1, 1.0]}"),
        ["grids[0].gamma.log10[1]: 1.0 is listed twice"],
    ),
    "zero size": (
        swap("batch_size: 32", "batch_size: 0"),
        ["grids[0].batch_size: must be at least 1, got 0 (line 12)"],
    ),
    "negative size in a list": (
        swap("batch_size: 32", "batch_size: [32, -8]"),
        ["grids[0].batch_size[1]: must be at least 1, got -8"],
    ),
    "negative seed": (swap("seed: [0, 1]", "seed: -1"), ["grids[0].seed: must be at least 0"]),
    "depth of one": (
        swap("depth: 3", "depth: 1"),
        ["models.mlp3.depth: must be at least 2, got 1"],
    ),
    "negative noise": (
        swap(DIGITS, "digits: {kind: digits, noise: -0.1}"),
        ["datasets.digits.noise: must be at least 0"],
    ),
    "infinite noise": (
        swap(DIGITS, "digits: {kind: digits, noise: .inf}"),
        ["datasets.digits.noise: must be a finite number"],
    ),
    "long name": (
        swap(MLP, "m" * 300 + ": {kind: mlp, depth: 3, width: 64}"),
        ["mmm: has more than 40 letters; write fewer"],
    ),
    "too many stages": (
        swap(MLP, f"mlp3: {{kind: resnet, width: 8, blocks: {[1] * 9}}}"),
        ["models.mlp3.blocks: has more than 8 values; write fewer"],
    ),
    "bad name": (
        swap(MLP, "MLP-3: {kind: mlp, depth: 3, width: 64}"),
        ["models.MLP-3: a name is lower case letters and digits", "for example mlp3"],
    ),
}
