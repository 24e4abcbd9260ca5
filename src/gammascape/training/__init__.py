"""Training of packs of cells: engine, checkpoints, artifacts, and the worker that serves them."""
