"""Tables and explorers of finished cells, while others are trained.

`python -m gammascape.provenance.so_far CONFIG` writes them below results/so-far when it reads a line. It answers
with a line of JSON: what it has written, processor seconds since its last answer, and those expected next time. It
ends with its input. No rule makes or reads these files, and `audit` leaves them aside.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gammascape.execution.so_far import FOLDER
from gammascape.figures.explorer.charts import charts
from gammascape.figures.explorer.page import write_explorer
from gammascape.layout import whole
from gammascape.manifests.manifest import FILE_NAME
from gammascape.manifests.paths import CELLS
from gammascape.runs.outcome import Thresholds
from gammascape.workflow.catalogue import CELL_FILES, Inputs, artifacts
from gammascape.workflow.plan import Plan, load_plan
from gammascape.workflow.script import Stage

TABLES = ("cells", "thresholds", "scaling", "budget")
"""Tables that an explorer needs."""


def write_so_far(plan: Plan, name: str) -> int:
    """Write tables and the explorer of a study's finished cells, if some are newer than shown.

    Returns:
        number of cells shown; 0 if nothing was written.

    Raises:
        TableError: if an artifact is damaged.
        OSError: if one disappears meanwhile.
    """
    place = FOLDER / name
    page = place / "explorer.html"
    manifests = [Path(CELLS, cell.path, FILE_NAME) for cell in plan.trained(name)]
    times = {path.parent: path.stat().st_mtime_ns for path in manifests if path.is_file()}
    newest = max(times.values(), default=0)
    final = Path(f"results/{name}/explorer.html")
    if newest <= next((file.stat().st_mtime_ns for file in (page, final) if file.is_file()), 0):
        return 0
    stage = Stage(None, Path(), ())
    for item in artifacts(plan, name):
        table = item.stem.split("/")[3:4]
        if item.kind == "table" and table and table[0] in TABLES:
            inputs: Inputs = {
                source: [path for path in paths if Path(path).parent in times]
                if source in CELL_FILES
                else paths
                for source, paths in item.inputs.items()
            }
            stage.tables[item.outputs[0]], _ = stage.call(replace(item, inputs=inputs))
    tables = {table: stage.tables[f"results/{name}/tables/{table}.parquet"] for table in TABLES}
    for key, frame in tables.items():
        with whole(place / f"{key}.parquet") as partial:
            frame.write_parquet(partial)
    write_explorer(
        name,
        tables,
        CELLS,
        Thresholds.from_analysis(plan.analysis(name)),
        page,
        planned=len(plan.studies[name].by_path),
        time=f"{datetime.now():%H:%M}",
    )
    os.utime(page, ns=(newest, newest))
    return tables["cells"]["cell"].n_unique()


@contextmanager
def _logged(name: str = "studies") -> Iterator[None]:
    """Log an error, which hides no other study."""
    try:
        yield
    except Exception as error:
        print(f"{name} not shown so far: {error!r}", file=sys.stderr, flush=True)


def _serve(config: Mapping[str, Any]) -> None:
    asked: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            asked.put(line)
        # The run has ended, whatever is being written.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    charts()
    last = 0.0
    while True:
        asked.get()
        begun, there = time.process_time(), {}
        with _logged():
            plan = load_plan(config)
            for name, study in plan.studies.items():
                with _logged(name):
                    if cells := write_so_far(plan, name):
                        there[name] = cells, len(study.by_path)
        now = time.process_time()
        print(json.dumps({"seconds": now - last, "again": now - begun, "cells": there}), flush=True)
        last = now


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
