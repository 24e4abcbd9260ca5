"""From cells to tables: status, edges, exponents, curves, similarity. Tables are polars frames."""
