"""Write the page that shows all figures and links all tables."""

from pathlib import Path

import polars as pl

from gammascape.figures.page.index import StudySection, TableEntry, read_figure, write_index
from gammascape.tables.seal import SealTree
from gammascape.workflow.catalogue import EXPLORER, FIGURES, PROVENANCE, TABLES, write_captions
from gammascape.workflow.script import run_script

with run_script(snakemake, "page"):
    sections = []
    for name, study in snakemake.params.studies.items():
        folder = Path("results") / name / "tables"
        claims, regimes, advice = (
            pl.read_parquet(folder / f"{table}.parquet") if table in study["tables"] else None
            for table in ("claims", "regimes", "advice")
        )
        sections.append(
            StudySection(
                name,
                study["description"],
                pl.read_parquet(folder / "cells.parquet"),
                [read_figure(stem) for stem in study["figures"]],
                [
                    *(
                        TableEntry(folder / f"{t}.parquet", TABLES[t].sentence)
                        for t in study["tables"]
                    ),
                    TableEntry(folder.parent / "provenance.html", PROVENANCE),
                ],
                claims,
                regimes,
                SealTree().seal_or_empty(name),
                TableEntry(folder.parent / "explorer.html", EXPLORER)
                if study["explorer"]
                else None,
                study["planned"],
                advice,
            )
        )
    themes = {
        name: (entry.label.format(factor=name), entry.sentence) for name, entry in FIGURES.items()
    }
    write_index(sections, snakemake.output[0], themes)
    # For a report that the same run makes, after figures that it has drawn.
    write_captions(str(figure.stem) for section in sections for figure in section.figures)
