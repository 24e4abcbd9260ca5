"""Write the page that shows all figures and links all tables."""

from pathlib import Path

import polars as pl

from gammascape.analysis.script import run_script
from gammascape.analysis.seal import SealTree
from gammascape.figures import TableEntry, read_figure, study_section, write_index

TABLES = {
    "cells": "One row for each cell: parameters, status, losses, accuracy.",
    "thresholds": "The edges of training for each gamma and seed, with the neighbouring etas.",
    "pooled_edges": "The edges for each gamma, seeds together.",
    "scaling": "Fitted exponents of the edges with intervals, beside the predicted ones.",
    "exponent_models": "How well the laws 2/L, 3/L, 2/(L+1) and a free exponent fit the upper edges.",
    "crossover": "The gamma at which each edge bends, and its slopes before and after.",
    "sensitivity": "How edges and exponents move when a threshold is halved or doubled.",
    "budget": "The edges at every shorter budget of steps that the runs contain.",
    "apex": "The gamma at which the window of learning rates closes, and the best gamma, at each budget.",
    "scores": "The best over eta of each gamma and seed: test accuracy and loss, steps until a loss.",
    "performance": "The same for each gamma, seeds together, with intervals.",
    "gain": "What the best gamma gains over gamma = 1, at equal steps and at equal loss, with intervals.",
    "dynamics": "What happened in each run: plateaus, drops, catapults, alignment, sharpening.",
    "dynamics_scaling": "Exponents of these against gamma, beside the predicted ones.",
    "collapse": "How well loss curves of different gamma collapse in tau = eta t / gamma.",
    "claims": "What the study says about each claim of the paper: estimate, interval, prediction, verdict.",
    "phenomena": "Loss, sharpness and alignment in time, of catapults and of runs at large gamma.",
    "regimes": "Exponents, prefactors, best gamma and gain of slices that differ in one factor.",
    "trends": "Lines through these along the factor.",
    "similarity": "Debiased linear CKA of hidden layers, at equal steps and at equal loss.",
    "function_similarity": "Correlation and R² of outputs, at equal steps and at equal loss.",
    "similarity_trend": "Similarity of networks of equal gamma against gamma, beside shuffled probes.",
    "similarity_summary": "Whether networks of equal gamma grow more alike with gamma, and how sure that is.",
    "observables": "What was measured during the runs: one row for each cell, step, observable and layer.",
}
PROVENANCE = "Where all of this comes from: code, versions, machines, times and cost."

with run_script(snakemake, "page"):
    sections = []
    for name, study in snakemake.params.studies.items():
        folder = Path("results") / name / "tables"
        claims, regimes = (
            pl.read_parquet(folder / f"{table}.parquet") if table in study["tables"] else None
            for table in ("claims", "regimes")
        )
        sections.append(
            study_section(
                name,
                study["description"],
                pl.read_parquet(folder / "cells.parquet"),
                [read_figure(stem) for stem in study["figures"]],
                [
                    *(TableEntry(folder / f"{t}.parquet", TABLES[t]) for t in study["tables"]),
                    TableEntry(folder.parent / "provenance.html", PROVENANCE),
                ],
                claims,
                regimes,
                SealTree().of_study(name),
            )
        )
    write_index(sections, snakemake.output[0])
