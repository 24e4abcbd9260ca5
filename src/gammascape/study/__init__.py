"""From a study file to cells; light to import, since every job of the workflow repeats it."""

from gammascape.study.cell import Cell
from gammascape.study.keys.config import Config, load_config
from gammascape.study.keys.datasets import DatasetSpec, TeacherSpec
from gammascape.study.keys.file import Analysis, Span
from gammascape.study.keys.models import ModelSpec
from gammascape.study.reading.errors import StudyError
from gammascape.study.study import Slice, Study, load_study
from gammascape.theory.edges import EDGES, Edge, Regime, predicted_slope

__all__ = [
    "EDGES",
    "Analysis",
    "Cell",
    "Config",
    "DatasetSpec",
    "Edge",
    "ModelSpec",
    "Regime",
    "Slice",
    "Span",
    "Study",
    "StudyError",
    "TeacherSpec",
    "load_config",
    "load_study",
    "predicted_slope",
]
