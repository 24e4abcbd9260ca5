"""For each model, loss and gamma, the eta with the lowest final loss, and how the loss fell there.

python examples/load_results.py [results]
"""

import sys

import polars as pl

import gammascape

cells = gammascape.load(sys.argv[1] if len(sys.argv) > 1 else "results")
name = ["model", "model.factory", "model.depth", "model.width", "dataset", "loss", "gamma"]
best = (
    cells.filter(pl.col("status") != "diverged")
    .sort("relative_loss")
    .group_by(name, maintain_order=True)
    .first()
    .sort(name)
    .select(*name, "eta", "status", "relative_loss", "path")
    .collect()
)
# In pandas: pandas.DataFrame(best.to_dict(as_series=False)), or best.to_pandas() if pyarrow is installed.
for row in best.iter_rows(named=True):
    curve = gammascape.history(row["path"]).drop_nulls("loss")
    half = curve.filter(pl.col("loss") < 0.5 * curve["loss"][0])["step"]
    when = f"half of the first loss after {half[0]} steps" if len(half) else "never half"
    print(
        f"{row['model.factory'] or row['model']} of depth {row['model.depth']} and width {row['model.width']} "
        f"on {row['dataset']}, {row['loss']}, gamma = {row['gamma']:g}: "
        f"best eta = {row['eta']:g} ({row['status']}, {row['relative_loss']:.3f} of f = 0), {when}"
    )
