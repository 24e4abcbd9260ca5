"""From a study file to cells; light to import, since every job of the workflow does it again."""

from gammascape.study.cell import RUNTIME_KNOBS, Cell, Dtype
from gammascape.study.keys.config import Config, load_config
from gammascape.study.keys.datasets import (
    DatasetSpec,
    DigitsSpec,
    FactoryDatasetSpec,
    MnistSpec,
    TeacherSpec,
)
from gammascape.study.keys.file import Analysis, Span
from gammascape.study.keys.models import (
    CnnSpec,
    FactoryModelSpec,
    MlpSpec,
    ModelSpec,
    ResnetSpec,
    VitSpec,
)
from gammascape.study.reading.errors import StudyError
from gammascape.study.study import Slice, Study, load_study
from gammascape.theory.edges import EDGES, Edge, Loss, Regime, predicted_slope

__all__ = [
    "EDGES",
    "RUNTIME_KNOBS",
    "Analysis",
    "Cell",
    "CnnSpec",
    "Config",
    "DatasetSpec",
    "DigitsSpec",
    "Dtype",
    "Edge",
    "FactoryDatasetSpec",
    "FactoryModelSpec",
    "Loss",
    "MlpSpec",
    "MnistSpec",
    "ModelSpec",
    "Regime",
    "ResnetSpec",
    "Slice",
    "Span",
    "Study",
    "StudyError",
    "TeacherSpec",
    "VitSpec",
    "load_config",
    "load_study",
    "predicted_slope",
]
