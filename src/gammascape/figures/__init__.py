"""Figures and the page that shows them: tables in, altair charts out, files written by `save`."""

from gammascape.figures.dynamics.against_gamma import dynamics
from gammascape.figures.dynamics.curves import collapse, loss_curves
from gammascape.figures.dynamics.observables import observables
from gammascape.figures.dynamics.phenomena import phenomena
from gammascape.figures.edges.against_gamma import edges
from gammascape.figures.edges.budget import budget
from gammascape.figures.edges.exponents import exponents
from gammascape.figures.edges.portrait import portrait
from gammascape.figures.edges.sensitivity import sensitivity
from gammascape.figures.factors import along_factor
from gammascape.figures.page.index import (
    FigureEntry,
    StudySection,
    TableEntry,
    read_figure,
    study_section,
    write_index,
)
from gammascape.figures.page.provenance import write_provenance
from gammascape.figures.performance import performance
from gammascape.figures.quality import quality
from gammascape.figures.similarity.along_gamma import similarity_trend
from gammascape.figures.similarity.map import similarity
from gammascape.figures.style.save import save
from gammascape.manifests.mark import FORMATS

__all__ = [
    "FORMATS",
    "FigureEntry",
    "StudySection",
    "TableEntry",
    "along_factor",
    "budget",
    "collapse",
    "dynamics",
    "edges",
    "exponents",
    "loss_curves",
    "observables",
    "performance",
    "phenomena",
    "portrait",
    "quality",
    "read_figure",
    "save",
    "sensitivity",
    "similarity",
    "similarity_trend",
    "study_section",
    "write_index",
    "write_provenance",
]
