"""Figures and the page that shows them: tables in, altair charts out, files written by `save`."""

from gammascape.figures.along import along_factor
from gammascape.figures.budget import budget
from gammascape.figures.curves import collapse, loss_curves
from gammascape.figures.dynamics import dynamics
from gammascape.figures.edges import edges
from gammascape.figures.exponents import exponents
from gammascape.figures.observables import observables
from gammascape.figures.page import (
    FigureEntry,
    StudySection,
    TableEntry,
    read_figure,
    study_section,
    write_index,
)
from gammascape.figures.performance import performance
from gammascape.figures.phenomena import phenomena
from gammascape.figures.portrait import portrait
from gammascape.figures.provenance import write_provenance
from gammascape.figures.quality import quality
from gammascape.figures.save import save
from gammascape.figures.sensitivity import sensitivity
from gammascape.figures.similarity import similarity
from gammascape.figures.similarity_trend import similarity_trend
from gammascape.origin.mark import FORMATS

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
