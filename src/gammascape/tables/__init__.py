"""Path from cells to tables: status, edges, exponents, curves, dynamics, similarity. Tables are polars frames."""
