"""Path from a study file to cells; light to import, since every job of the workflow repeats it."""

from gammascape.study.cell import Cell as Cell
from gammascape.study.keys.config import Config as Config
from gammascape.study.keys.config import load_config as load_config
from gammascape.study.keys.datasets import DatasetSpec as DatasetSpec
from gammascape.study.keys.datasets import TeacherSpec as TeacherSpec
from gammascape.study.keys.file import Analysis as Analysis
from gammascape.study.keys.file import Span as Span
from gammascape.study.keys.models import ModelSpec as ModelSpec
from gammascape.study.reading.errors import StudyError as StudyError
from gammascape.study.study import Slice as Slice
from gammascape.study.study import Study as Study
from gammascape.study.study import load_study as load_study
from gammascape.study.study import slice_key as slice_key
from gammascape.theory.edges import EDGES as EDGES
from gammascape.theory.edges import Edge as Edge
from gammascape.theory.edges import Regime as Regime
from gammascape.theory.edges import predicted_slope as predicted_slope
